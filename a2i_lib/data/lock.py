"""One at a time: a file or folder is fetched, unpacked or prepared by one process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from a2i_lib.data.dataset import DataError


@contextmanager
def only_one(target: Path) -> Iterator[None]:
    """Holds a file or folder that is to be made, against other processes and threads.

    The system lets go of it when this process ends, however it ends. `.NAME.lock` stays beside it,
    empty: a lock file that is removed can be held twice.

    Raises:
        DataError: another one holds it.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with filelock.FileLock(target.with_name(f".{target.name}.lock"), timeout=0):
            yield
    except filelock.Timeout:
        raise DataError(
            f"{target}: another process is at work on it; wait for that to end"
        ) from None
