import json
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from lrcn.data.check import Duplicate, check_manifest
from lrcn.data.importers.folder import import_folder
from lrcn.data.manifest import Row


def video(path: Path, frames: int = 6, seed: int = 0) -> str:
    """A video at 10 frames per second, of noise: its size in bytes grows with every frame."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (frames, 32, 48, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        for picture in noise:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return str(path)


def frames_folder(path: Path, frames: int = 3, seed: int = 0) -> str:
    path.mkdir(parents=True)
    noise = np.random.default_rng(seed).integers(0, 256, (frames, 8, 8, 3), dtype=np.uint8)
    for number, picture in enumerate(noise):
        Image.fromarray(picture).save(path / f"{number:04}.png")
    return str(path)


def good_rows(folder: Path) -> list[Row]:
    return [
        Row(video(folder / f"{label}{i}.mp4", seed=10 * n + i), label, split=split, group=f"{label}{i}")
        for n, label in enumerate("ab")
        for i, split in enumerate(["train", "train", "test"])
    ]


@pytest.mark.parametrize("decode", [True, False])
def test_good_data_are_ready(tmp_path: Path, decode: bool) -> None:
    rows = [*good_rows(tmp_path), Row(frames_folder(tmp_path / "frames"), "a", split="train")]
    calls: list[tuple[int, int, threading.Thread]] = []
    report = check_manifest(
        rows,
        decode=decode,
        progress=lambda done, total: calls.append((done, total, threading.current_thread())),
    )
    assert report.ok
    assert (report.classes, report.splits) == ({"a": 4, "b": 3}, {"train": 5, "test": 2})
    assert report.lines()[0].startswith("7 rows of 2 classes; 5 train, 2 test (")
    assert report.lines()[-1] == "The data are ready."
    assert calls == [(n, 7, threading.main_thread()) for n in range(1, 8)]


@pytest.mark.parametrize("decode", [True, False])
def test_broken_files_are_told_once_each_and_stop_nothing(tmp_path: Path, decode: bool) -> None:
    rows = good_rows(tmp_path)
    noise, nothing, text = tmp_path / "noise.mp4", tmp_path / "nothing.mp4", tmp_path / "photo.jpg"
    noise.write_bytes(np.random.default_rng(0).bytes(4000))
    nothing.touch()
    text.write_text("not a photo")
    broken = [str(noise), str(nothing), str(tmp_path / "none.mp4"), str(tmp_path), str(text)]
    rows += [Row(path, "a", split="train") for path in broken]
    rows += [Row(str(noise), "a", split="train", start=1.0)]
    report = check_manifest(rows, decode=decode)
    assert not report.ok
    assert [problem.path for problem in report.unreadable] == broken
    assert report.unreadable[2].reason == "the file does not exist"
    assert all("\n" not in problem.reason for problem in report.unreadable)
    lines = report.lines(most=2)
    assert "Unreadable (5):" in lines
    assert f"  {noise}: {report.unreadable[0].reason}" in lines
    assert "  and 3 more" in lines
    assert lines[-1] == "The data need mending."


@pytest.mark.parametrize("suffix", [".mkv", ".avi"])
def test_a_file_that_is_cut_off_is_damaged(tmp_path: Path, suffix: str) -> None:
    path = Path(video(tmp_path / f"whole{suffix}", frames=30))
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    report = check_manifest([Row(str(path), "a"), Row(str(cut), "a")])
    assert [problem.path for problem in report.damaged] == [str(cut)]
    assert report.unreadable == ()
    assert not report.ok


def test_short_and_empty_clips_go_by_the_row_and_not_by_the_file(tmp_path: Path) -> None:
    ten, one = video(tmp_path / "ten.mp4", 10), video(tmp_path / "one.mp4", 1)
    photo = tmp_path / "photo.png"
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(photo)
    rows = [
        Row(ten, "a"),
        Row(one, "a"),
        Row(str(photo), "a"),
        Row(ten, "a", start=0.2, end=0.4),
        Row(ten, "a", start=0.2, end=0.3),
        Row(ten, "a", start=0.85),
        Row(ten, "a", start=1.0),
        Row(ten, "a", start=7.0, end=8.0),
    ]
    report = check_manifest(rows)
    assert [(problem.path, problem.reason) for problem in report.short] == [
        (one, "1 frame"),
        (ten, "1 frame"),
    ]
    assert [problem.reason for problem in report.empty] == [
        "no frame from 1 s to its end",
        "no frame from 7 s to 8 s",
    ]
    assert not report.ok
    assert not check_manifest(rows[3:4], min_frames=3).ok
    opened = check_manifest(rows, decode=False)
    assert [problem.reason for problem in opened.empty] == [
        "no frame from 1 s to its end",
        "no frame from 7 s to 8 s",
    ]


def test_copies_are_found_by_their_bytes(tmp_path: Path) -> None:
    rows = good_rows(tmp_path)
    first = Path(rows[0].path)
    shutil.copy(first, tmp_path / "copy.mp4")
    same = [rows[0], Row(str(tmp_path / "copy.mp4"), "a", split="train")]
    report = check_manifest([*rows, same[1]])
    assert report.duplicates == (Duplicate((same[0].path, same[1].path)),)
    assert report.ok
    assert f"The same bytes: {first}, {tmp_path / 'copy.mp4'}." in report.lines()

    report = check_manifest([*rows, replace(same[1], split="test")])
    assert report.duplicates[0].splits == ("test", "train")
    assert not report.ok
    assert any(line.startswith("The same bytes in test and train: ") for line in report.lines())

    report = check_manifest([*rows, replace(same[1], label="b")])
    assert report.duplicates[0].labels == ("a", "b")
    assert not report.ok
    assert any(line.startswith("The same bytes under the labels a and b: ") for line in report.lines())


def test_files_of_one_size_are_not_copies_and_folders_of_frames_can_be(tmp_path: Path) -> None:
    first, second = frames_folder(tmp_path / "1"), frames_folder(tmp_path / "2", seed=1)
    for name in ("0000.png", "0001.png", "0002.png"):
        size = max(Path(folder, name).stat().st_size for folder in (first, second))
        for folder in (first, second):
            with Path(folder, name).open("ab") as stream:
                stream.write(b"\0" * (size - stream.tell()))
    shutil.copytree(first, tmp_path / "3")
    report = check_manifest([Row(path, "a") for path in (first, second, str(tmp_path / "3"))])
    assert [duplicate.paths for duplicate in report.duplicates] == [(first, str(tmp_path / "3"))]


def test_one_stretch_under_two_labels_is_a_contradiction_and_two_stretches_are_not(tmp_path: Path) -> None:
    path = video(tmp_path / "a.mp4", 10)
    first, second = Row(path, "a", start=0.0, end=0.5), Row(path, "b", start=0.5, end=1.0)
    assert check_manifest([first, first, second]).duplicates == ()
    report = check_manifest([first, replace(first, label="b", start=None)])
    assert report.duplicates == (Duplicate((path,), labels=("a", "b")),)
    assert f"The same clip under the labels a and b: {path}." in report.lines()


def test_what_makes_numbers_dishonest_is_told(tmp_path: Path) -> None:
    rows = good_rows(tmp_path)
    leaking = [*rows, Row(video(tmp_path / "leak.mp4", 7), "a", split="test", group="a0")]
    assert check_manifest(leaking).leaking == ("a0",)
    assert "Groups in more than one split (1): a0." in check_manifest(leaking).lines()
    new = Row(video(tmp_path / "new.mp4", 8), "c", split="test", group="c")
    report = check_manifest([*rows, new])
    assert (report.untrained, report.single) == (("c",), ("c",))
    assert {"Classes that train lacks: c.", "Classes of one clip: c."} <= set(report.lines())
    assert not report.ok
    assert check_manifest([*rows, replace(new, split="train")]).ok


def test_the_report_is_json(tmp_path: Path) -> None:
    rows = [*good_rows(tmp_path), Row(str(tmp_path / "none\udce9.mp4"), "c")]
    record = json.loads(check_manifest(rows).to_json())
    assert record["ok"] is False
    assert record["rows"] == 7
    assert record["unreadable"] == [{"path": rows[-1].path, "reason": "the file does not exist"}]
    assert record["classes"] == {"a": 3, "b": 3, "c": 1}


@pytest.mark.real
@pytest.mark.parametrize("name", ["fights", "msr-action3d", "miracl-words"])
def test_real_clips_open_and_are_no_copies(shared_data: Path, name: str) -> None:
    rows, _ = import_folder(shared_data / name)
    report = check_manifest(rows, decode=False)
    assert report.ok, report.lines()
    assert report.duplicates == ()
