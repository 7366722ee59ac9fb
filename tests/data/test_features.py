"""Features made elsewhere: any of three kinds of file gives the same steps, and nothing a file says is believed."""

import io
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch

from lrcn.data import features
from lrcn.data.features import FeatureClips, FeatureError, located, open_features, span_of
from lrcn.data.manifest import Row
from lrcn.data.sampling import Sampling

VALUES = np.arange(21, dtype=np.float32).reshape(7, 3) / 8


def written(folder, suffix, values=VALUES, name="clip"):
    path = folder / f"{name}{suffix}"
    if suffix == ".npy":
        np.save(path, values)
    elif suffix == ".npz":
        np.savez_compressed(path, **{name: values, "other": values[:1] + 9})
    else:
        save_file({name: np.ascontiguousarray(values), "other": values[:1] + 9}, path)
    return path


@pytest.mark.parametrize("suffix", features.SUFFIXES)
@pytest.mark.parametrize("dtype", ["float32", "float16", "float64", "int32"])
def test_all_kinds_of_files_give_the_same(tmp_path, suffix, dtype):
    values = (VALUES * 8).astype(dtype)
    array = open_features(written(tmp_path, suffix, values), ["nobody", "clip"])
    assert (array.steps, array.size) == (7, 3)
    expected = torch.from_numpy((VALUES * 8).astype(np.float32))
    assert torch.equal(array.read(), expected)
    assert torch.equal(array.read(2, 5), expected[2:5])
    assert torch.equal(torch.cat(list(array.pieces(3, 1))), expected[1:])
    assert array.read().dtype == torch.float32


@pytest.mark.parametrize("suffix", features.SUFFIXES)
def test_one_vector_is_one_step_and_pooled_maps_lose_their_ones(tmp_path, suffix):
    one = open_features(written(tmp_path, suffix, VALUES[2]), ["clip"])
    assert (one.steps, one.size) == (1, 3) and torch.equal(one.read(), torch.from_numpy(VALUES[2:3]))
    maps = open_features(written(tmp_path, suffix, VALUES[:, :, None, None]), ["clip"])
    assert torch.equal(maps.read(1, 3), torch.from_numpy(VALUES[1:3]))


def test_bfloat16(tmp_path):
    save_torch({"a": torch.from_numpy(VALUES).bfloat16()}, tmp_path / "a.safetensors")
    assert torch.equal(open_features(tmp_path / "a.safetensors").read(), torch.from_numpy(VALUES))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.zeros((2, 3, 4)), r"has shape \(2, 3, 4\): features are numbers"),
        (np.zeros((0, 3)), "features are numbers"),
        (np.array(["a", "b"]), "features are numbers"),
        (np.zeros((2, 2), complex), "features are numbers"),
        (np.array([{"a": 1}], dtype=object), "features are numbers"),
    ],
)
def test_what_is_no_features_is_refused(tmp_path, values, said):
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(FeatureError, match=said):
        open_features(tmp_path / "a.npy")


def test_nothing_pickled_is_loaded(tmp_path):
    np.savez(tmp_path / "a.npz", a=np.array([{"a": 1}], dtype=object))
    with pytest.raises(FeatureError, match="features are numbers"):
        open_features(tmp_path / "a.npz")
    (tmp_path / "b.npy").write_bytes(b"\x80\x04\x95 a pickle")
    with pytest.raises(FeatureError, match=r"b.npy cannot be read as features"):
        open_features(tmp_path / "b.npy")


def header_of(shape):
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return buffer.getvalue()


def test_headers_that_promise_too_much_or_nonsense_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.npy", header_of((10**6, 10**4)) + bytes(1000))
    with pytest.raises(FeatureError, match="more than 1024 MiB: write it as .npy"):
        open_features(tmp_path / "bomb.npz")
    (tmp_path / "short.npy").write_bytes(header_of((10**4, 10**3)) + bytes(1000))
    array = open_features(tmp_path / "short.npy")
    with pytest.raises(FeatureError, match="cannot be read as features"):
        array.read()
    (tmp_path / "vast.npy").write_bytes(header_of((10**6, 10**4)) + bytes(1000))
    with pytest.raises(FeatureError, match="more than 1024 MiB: give start and end"):
        open_features(tmp_path / "vast.npy").read()
    (tmp_path / "minus.npy").write_bytes(header_of((-2, 3)))
    with pytest.raises(FeatureError):
        open_features(tmp_path / "minus.npy").read()


@pytest.mark.parametrize("suffix", features.SUFFIXES)
@given(data=st.data())
def test_a_damaged_file_is_one_sentence(tmp_path_factory, suffix, data):
    path = written(tmp_path_factory.mktemp("damaged"), suffix)
    content = bytearray(path.read_bytes())
    cut = data.draw(st.integers(0, len(content)))
    place, value = data.draw(st.integers(0, len(content) - 1)), data.draw(st.integers(0, 255))
    content[place] = value
    path.write_bytes(bytes(content[:cut]))
    try:
        assert open_features(path, ["clip"]).read().isfinite().all()
    except FeatureError as error:
        told = str(error)
        assert str(path) in told, told
        assert "\n" not in told


def test_values_that_are_no_numbers_are_refused(tmp_path):
    path = written(tmp_path, ".npy", np.array([[1.0, np.nan]]))
    with pytest.raises(FeatureError, match="no numbers: make them again"):
        open_features(path).read()


def test_missing_files_and_names_are_told(tmp_path):
    with pytest.raises(FeatureError, match="Cannot read .*a.npy: No such file"):
        open_features(tmp_path / "a.npy")
    with pytest.raises(FeatureError, match="no file of features: give .npy, .npz, .safetensors"):
        open_features(tmp_path / "a.pkl")
    with pytest.raises(FeatureError, match=r"holds no array b: it has clip, other \(2\)"):
        open_features(written(tmp_path, ".npz"), ["b"])


# ---- rows ----


def test_rows_find_their_features(tmp_path):
    (tmp_path / "many").mkdir()
    written(tmp_path / "many", ".npy", VALUES[:2], "video.7")
    written(tmp_path / "many", ".safetensors", VALUES[:3], "b")
    row = Row("/somewhere/b.mp4", id="video.7")
    assert located(row, tmp_path / "many").steps == 2
    assert located(Row("/somewhere/b.mp4"), tmp_path / "many").steps == 3
    assert located(Row("x/clip.mp4"), written(tmp_path, ".npz")).steps == 7
    assert located(Row(str(written(tmp_path, ".npy")))).steps == 7
    with pytest.raises(FeatureError, match=r"There are no features of c in .*, such as c.npy"):
        located(Row("c.mp4", id="c"), tmp_path / "many")
    # A name cannot lead out of the folder.
    with pytest.raises(FeatureError, match="There are no features"):
        located(Row("c.mp4", id="../clip"), tmp_path / "many")


def test_times_choose_among_the_steps_of_a_whole_video(tmp_path):
    path = str(written(tmp_path, ".npy"))
    rows = [Row(path), Row(path, start=1.0, end=2.2), Row(path, start=3.4), Row(path, start=99.0, end=100.0)]
    clips = FeatureClips(rows, rate=2.0)
    taken = [clips.item(index, 0)["maps"] for index in range(len(rows))]
    expected = torch.from_numpy(VALUES)
    for one, part in zip(taken, (slice(0, 7), slice(2, 5), slice(6, 7), slice(6, 7)), strict=True):
        assert torch.equal(one, expected[part])
    assert len(FeatureClips(rows).item(1, 0)["maps"]) == 7
    assert span_of(rows[1], 7, 0.0) == (0, 7)


def test_draws_follow_from_the_seed_and_keys_from_the_file(tmp_path):
    path = written(tmp_path, ".npy")
    rows, sampling = [Row(str(path))], Sampling(frames=3)
    clips = FeatureClips(rows, sampling=sampling, train=True, seed=1)
    again = FeatureClips(rows, sampling=sampling, train=True, seed=1)
    assert len(clips) == 1 and len({float(clips.item(0, view)["maps"][0, 0]) for view in range(12)}) > 2
    assert torch.equal(clips[0, 3]["maps"], again.item(0, 3)["maps"])
    assert clips.key(0, 3) == again.key(0, 3) != clips.key(0, 4)
    fixed = FeatureClips(rows, sampling=Sampling(frames=3, spread="uniform"))
    assert torch.equal(fixed.item(0, 0)["maps"], torch.from_numpy(VALUES[[1, 3, 5]]))
    before = fixed.key(0, 0)
    written(tmp_path, ".npy", VALUES[:4])
    assert fixed.key(0, 0) != before
