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
