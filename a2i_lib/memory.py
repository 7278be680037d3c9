"""One setting of the C library that makes work on large tensors on a CPU faster."""

from __future__ import annotations

import ctypes
from functools import cache

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
