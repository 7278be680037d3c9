"""The setting of the C library."""

from __future__ import annotations

import ctypes
import platform

import pytest

from a2i_lib import memory


def test_it_is_asked_for_once_and_says_whether_it_holds(monkeypatch):
    asked = []

    class Library:
        def mallopt(self, parameter: int, value: int) -> int:
            asked.append((parameter, value))
            return 1

    monkeypatch.setattr(ctypes, "CDLL", lambda name: Library())
    memory.keep_freed_memory.cache_clear()
    assert memory.keep_freed_memory() and memory.keep_freed_memory()
    assert [parameter for parameter, _ in asked] == [-1, -3]
    memory.keep_freed_memory.cache_clear()


def test_a_library_without_the_setting_is_left_alone(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    memory.keep_freed_memory.cache_clear()
    assert not memory.keep_freed_memory()
    memory.keep_freed_memory.cache_clear()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has mallopt")
def test_glibc_takes_it():
    memory.keep_freed_memory.cache_clear()
    assert memory.keep_freed_memory()
