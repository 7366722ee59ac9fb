"""Hashes change when, and only when, what they stand for does."""

import os
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from lrcn.errors import LrcnError
from lrcn.fingerprint import fingerprint, fingerprint_file


@dataclass(frozen=True)
class Style:
    size: int = 3
    speed: tuple[float, float] = (0.1, 0.2)


@dataclass(frozen=True)
class Other:
    size: int = 3
    speed: tuple[float, float] = (0.1, 0.2)


def test_equal_parts_hash_alike_and_others_do_not():
    parts = [
        (),
        (None,),
        (0,),
        ("0",),
        (0.5,),
        (True,),
        ("a", "b"),
        ("ab",),
        (["a"], "b"),
        ({"a": 1},),
        ({"a": 2},),
        (Style(),),
        (replace(Style(), size=4),),
        (replace(Style(), speed=(0.1, 0.3)),),
        (Other(),),
    ]
    hashes = [fingerprint(*part) for part in parts]
    assert len(set(hashes)) == len(parts)
    assert all(len(value) == 32 and int(value, 16) >= 0 for value in hashes)
    assert hashes == [fingerprint(*part) for part in parts]


def test_a_file_that_a_setting_names_counts(tmp_path):
    @dataclass(frozen=True)
    class Named:
        path: str

        @property
        def files(self):
            return (Path(self.path),)

    one = Named(str(tmp_path / "weights"))
    with pytest.raises(LrcnError, match="weights"):
        fingerprint(one)
    Path(one.path).write_bytes(b"before")
    before = fingerprint([one])
    assert before == fingerprint([replace(one)])
    Path(one.path).write_bytes(b"and after")
    assert before != fingerprint([one])


def test_a_field_that_is_added_later_changes_no_hash():
    @dataclass(frozen=True)
    class Whole:
        path: str
        style: Style = field(default_factory=Style)
        more: Style | None = None

    def earlier(path, **given):
        @dataclass(frozen=True)
        class Whole:
            path: str
            style: Style = field(default_factory=Style)

        return Whole(path, **given)

    assert fingerprint(Whole("a")) == fingerprint(earlier("a")) != fingerprint(earlier("b"))
    assert fingerprint(Whole("a", Style(4))) == fingerprint(earlier("a", style=Style(4)))
    hashes = [
        fingerprint(Whole("a", *given))
        for given in ((), (Style(4),), (Style(), Style()), (Style(), Style(4)))
    ]
    assert len(set(hashes)) == 4


def test_the_order_of_names_and_the_kind_of_path_do_not_count():
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert fingerprint(Path("a/b")) == fingerprint("a/b")


def test_another_process_finds_the_same_hash():
    program = "from lrcn.fingerprint import fingerprint; print(fingerprint('clip', 1, {'x': (0.1, None)}))"
    environment = os.environ | {"PYTHONHASHSEED": "77"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stdout.strip() == fingerprint("clip", 1, {"x": (0.1, None)})


def test_what_has_no_lasting_value_is_refused():
    for part in (object(), {1, 2}, Style):
        with pytest.raises(TypeError, match="no fingerprint"):
            fingerprint(part)


def test_a_file_changes_with_its_name_size_and_time(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"abc")
    os.utime(path, ns=(10**18, 10**18))
    seen = {fingerprint_file(path)}
    assert fingerprint_file(str(path)) in seen
    os.utime(path, ns=(10**18, 10**18 + 1))
    seen.add(fingerprint_file(path))
    path.write_bytes(b"abcd")
    os.utime(path, ns=(10**18, 10**18))
    seen.add(fingerprint_file(path))
    path.rename(tmp_path / "b.mp4")
    seen.add(fingerprint_file(tmp_path / "b.mp4"))
    assert len(seen) == 4


def test_a_folder_changes_with_any_file_in_it(tmp_path):
    seen = set()
    for name in ("1.png", "2.png"):
        (tmp_path / name).write_bytes(b"x")
        seen.add(fingerprint_file(tmp_path))
    (tmp_path / "1.png").write_bytes(b"xy")
    seen.add(fingerprint_file(tmp_path))
    (tmp_path / "2.png").unlink()
    seen.add(fingerprint_file(tmp_path))
    assert len(seen) == 4


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(LrcnError, match=r"Cannot read .*none\.mp4"):
        fingerprint_file(tmp_path / "none.mp4")
