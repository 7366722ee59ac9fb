"""The allocator's setting: it may only save time, never change an answer or stop a program."""

import sys

import pytest

from lrcn import memory


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(
        memory.ctypes, "CDLL", lambda _: pytest.fail("the allocator of another system was touched")
    )
    memory.keep_freed_memory()


def test_a_c_library_without_mallopt_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda _: object())
    memory.keep_freed_memory()


def test_what_is_only_kept_for_speed_takes_a_quarter_of_the_memory_at_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes = {"SC_PHYS_PAGES": 1 << 20, "SC_PAGE_SIZE": 4096}  # 4 GiB
    monkeypatch.setattr(memory.os, "sysconf", sizes.__getitem__, raising=False)
    assert memory.to_spare(8 << 30) == 1 << 30
    assert memory.to_spare(1 << 20) == 1 << 20
    monkeypatch.delattr(memory.os, "sysconf")
    assert memory.to_spare(8 << 30) == 2 << 30
