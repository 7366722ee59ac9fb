"""How many threads compute: as asked while it lasts, and as before after it."""

from concurrent.futures import ThreadPoolExecutor

import cv2
import pytest
import torch

from lrcn.threads import threads


def counts():
    return cv2.getNumThreads(), torch.get_num_threads()


@pytest.mark.parametrize("number", [1, 2])
def test_all_threads_compute_on_so_many_until_it_is_left(number):
    before = counts()
    with threads(number):
        assert counts() == (number, number)
        with ThreadPoolExecutor(1) as other:
            assert other.submit(torch.get_num_threads).result() == number
    assert counts() == before


def test_a_failure_leaves_them_as_they_were():
    before = counts()
    with pytest.raises(KeyError), threads(1):
        raise KeyError
    assert counts() == before
