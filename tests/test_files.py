"""Whole or not at all: files and folders while things go wrong."""

import os
import stat
from pathlib import Path

import pytest

from lrcn.errors import LrcnError
from lrcn.files import whole_file, whole_folder, write_whole


class Broken(Exception):
    pass


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_text_and_bytes_are_written(tmp_path):
    write_whole(tmp_path / "new" / "a.txt", "größer\n")
    write_whole(tmp_path / "new" / "a.bin", b"\x00\r\n")
    assert (tmp_path / "new" / "a.txt").read_text(encoding="utf-8") == "größer\n"
    assert (tmp_path / "new" / "a.bin").read_bytes() == b"\x00\r\n"
    assert names(tmp_path / "new") == ["a.bin", "a.txt"]


def test_the_old_file_stands_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "a.mp4"
    write_whole(path, "old")
    with whole_file(path) as temporary:
        assert temporary.suffix == ".mp4" and temporary.parent == tmp_path
        temporary.write_text("ne")
        assert path.read_text() == "old"
    assert path.read_text() == "ne"
    with pytest.raises(Broken), whole_file(path) as temporary:
        temporary.write_text("half of")
        raise Broken
    assert path.read_text() == "ne" and names(tmp_path) == ["a.mp4"]


def test_the_old_folder_stands_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "model"
    for content in ("old", "new"):
        with whole_folder(path) as temporary:
            (temporary / content).write_text(content)
            assert not path.exists() or names(path) == ["old"]
    assert names(path) == ["new"]
    with pytest.raises(Broken), whole_folder(path) as temporary:
        (temporary / "half").write_text("")
        raise Broken
    assert names(path) == ["new"] and names(tmp_path) == ["model"]


def test_a_folder_that_cannot_be_put_in_place_leaves_the_old_one(tmp_path, monkeypatch):
    path, replace = tmp_path / "model", Path.replace
    with whole_folder(path) as temporary:
        (temporary / "old").write_text("old")

    def failing(self, target):
        if self.name.startswith(".model.") and Path(target) == path:
            raise OSError(28, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises(LrcnError, match="No space left"), whole_folder(path) as temporary:
        (temporary / "new").write_text("new")
    assert names(path) == ["old"] and names(tmp_path) == ["model"]


def test_what_is_written_may_be_read_by_whom_the_umask_allows(tmp_path):
    mask = os.umask(0o027)
    try:
        write_whole(tmp_path / "a", "")
        with whole_folder(tmp_path / "b"):
            pass
    finally:
        os.umask(mask)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in "ab"]
    assert modes == [0o640, 0o750]


@pytest.mark.parametrize("writer", [whole_file, whole_folder])
def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path, writer):
    with pytest.raises(LrcnError) as raised, writer(tmp_path / "a"):
        raise OSError(28, "No space left on device")
    assert str(raised.value) == (
        f"Cannot write {tmp_path / 'a'}: No space left on device; choose another place or make room there."
    )
    assert names(tmp_path) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("kept")
    with pytest.raises(LrcnError, match="Cannot write .*file"):
        write_whole(tmp_path / "file" / "below", "")
    (tmp_path / "folder" / "full").mkdir(parents=True)
    with pytest.raises(LrcnError, match="Cannot write .*folder"):
        write_whole(tmp_path / "folder", "")
    assert names(tmp_path) == ["file", "folder"] and (tmp_path / "file").read_text() == "kept"


def test_a_pipe_or_an_open_file_is_written_to_and_stays_what_it_is(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    # Both ends at once, or opening it would wait for another.
    ends = os.open(pipe, os.O_RDWR)
    try:
        write_whole(pipe, "through\n")
        assert os.read(ends, 100) == b"through\n"
    finally:
        os.close(ends)
    assert stat.S_ISFIFO(pipe.stat().st_mode) and names(tmp_path) == ["pipe"]
    with (tmp_path / "taken").open("wb") as taken:
        if not Path(f"/dev/fd/{taken.fileno()}").exists():
            pytest.skip("this system does not name open files")
        write_whole(f"/dev/fd/{taken.fileno()}", "redirected\n")
    assert (tmp_path / "taken").read_text() == "redirected\n" and names(tmp_path) == ["pipe", "taken"]
