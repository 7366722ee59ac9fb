import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lrcn.errors import LrcnError
from lrcn.models.folder import read_weights
from lrcn.models.weights import load_weights, weight_files, write_weights


def tensors(*sizes: int) -> dict[str, torch.Tensor]:
    return {f"w{number}": torch.arange(size, dtype=torch.float32) for number, size in enumerate(sizes)}


@given(sizes=st.lists(st.integers(1, 60), min_size=1, max_size=8), largest=st.integers(4, 400))
def test_parts_give_back_the_whole_and_none_is_too_large(tmp_path_factory, sizes, largest):
    folder = tmp_path_factory.mktemp("model")
    whole = tensors(*sizes)
    write_weights(whole, folder, largest)
    back = load_weights(folder)
    assert set(back) == set(whole)
    assert all(torch.equal(back[name], whole[name]) for name in whole)
    for path in weight_files(folder):
        header = int.from_bytes(path.read_bytes()[:8], "little") + 8
        assert path.stat().st_size - header <= max(largest, 4 * max(sizes))


def test_small_weights_are_one_file(tmp_path):
    write_weights(tensors(3, 4), tmp_path)
    assert [path.name for path in weight_files(tmp_path)] == ["model.safetensors"]


def test_a_part_that_is_missing_is_named(tmp_path):
    write_weights(tensors(10, 10, 10), tmp_path, largest=50)
    assert len(weight_files(tmp_path)) == 3
    (tmp_path / "model-2-of-3.safetensors").unlink()
    with pytest.raises(LrcnError, match=r"model-2-of-3\.safetensors is missing"):
        read_weights(tmp_path)
