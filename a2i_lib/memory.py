"""What the system is told about memory: which of it to keep, and which will be wanted soon."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable
from functools import cache

from torch import Tensor

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # from glibc's malloc.h
_NEVER = 2**31 - 1


@cache
def keep_freed_memory() -> bool:
    """Tells glibc to keep freed memory for the next tensor; True where that could be told.

    By default glibc returns blocks of the size of our planes and activations to the kernel as
    soon as they are freed, and the next operation faults the same pages in again. Keeping them
    draws about half as many pictures again a second (`benchmarks/worlds.py`). It holds for the
    whole process and is asked for once; other C libraries are left as they are.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # not glibc: musl, macOS, Windows
        return False
    return bool(mallopt(_M_TRIM_THRESHOLD, _NEVER) and mallopt(_M_MMAP_THRESHOLD, _NEVER))


def read_ahead(array: Tensor, rows: Tensor) -> None:
    """Asks the system to have rows of a tensor on the CPU in memory soon; does not wait for it.

    Of a memory-mapped file it begins to read just these. By itself it reads a row when it is
    looked at, while everything waits, and a long stretch around it, in case the next is looked at
    next, which in a shuffled epoch it is not: up to a hundred times the bytes. Where nothing has
    to be read, or the system cannot be asked (Windows), nothing happens.
    """
    madvise = _madvise()
    if madvise is None:
        return
    size = array.stride(0) * array.element_size()
    for row in rows.tolist():
        start = array.data_ptr() + row * size
        page = start - start % mmap.PAGESIZE
        madvise(page, start + size - page, mmap.MADV_WILLNEED)


@cache
def _madvise() -> Callable[[int, int, int], int] | None:
    try:
        madvise = ctypes.CDLL(None).madvise
    except (AttributeError, OSError, TypeError):
        return None
    madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return madvise
