"""How many of the processor's cores a network takes."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Torch and OpenCV take `number` threads for each thing they compute, until this is left.

    The threads that share one layer wait for the last of them. Where other programs are at work, that one stands in a
    queue, layer after layer: a network that reads one frame at a time is then far slower on all cores than on one.
    """
    import cv2
    import torch

    before = cv2.getNumThreads(), torch.get_num_threads()
    cv2.setNumThreads(number)
    torch.set_num_threads(number)
    try:
        yield
    finally:
        cv2.setNumThreads(before[0])
        torch.set_num_threads(before[1])
