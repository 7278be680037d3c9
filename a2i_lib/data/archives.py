"""`unpack`: a zip or tar.gz archive, of which nothing gets out of its folder."""

from __future__ import annotations

import errno
import gzip
import os
import re
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from tqdm.auto import tqdm

from a2i_lib.data.dataset import DataError
from a2i_lib.data.lock import only_one

MOST_FILES = 1_000_000
# A path that is a file and a folder in one archive, as the disk reports it.
CLASH = (FileExistsError, NotADirectoryError, IsADirectoryError)


def unpack(
    archive: str | Path, folder: str | Path, gives: str, limit: int, progress: bool = True
) -> Path:
    """Unpacks an archive beside its place and moves it there when it is complete.

    Files and folders only: links within the archive are left out.

    Args:
        folder: where what is in the archive goes.
        gives: the folder in the archive that matters. It is moved last, so where it exists all is
            there, and nothing is done.
        limit: bytes that the archive may unpack to.

    Returns:
        `folder / gives`.

    Raises:
        DataError: a truncated or damaged archive; a path, or a link, that leaves the folder; a
            device; more bytes than `limit` or a million files; no `gives` in it; another process
            is unpacking it.
        OSError: the disk is full or cannot be written.
    """
    archive, folder = Path(archive), Path(folder)
    target = folder / gives
    with only_one(target):
        if target.exists():
            return target
        partial = folder / f".{archive.name}.unpacking"
        shutil.rmtree(partial, ignore_errors=True)  # of a run that was killed
        partial.mkdir()
        try:
            _fill(partial, archive, limit, progress)
            if not (partial / gives).is_dir():
                raise DataError(f"{archive}: holds no folder {gives!r}")
            _move(partial, folder, gives)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return target


def _fill(partial: Path, archive: Path, limit: int, progress: bool) -> None:
    kinds = {".zip": _unzip, ".tgz": _untar, ".gz": _untar}
    if archive.suffix not in kinds:
        raise DataError(f"{archive}: expected .zip, .tgz or .tar.gz")
    total = files = 0
    try:
        names = kinds[archive.suffix](archive, partial)
        for name, size in tqdm(names, f"unpacking {archive.name}", disable=not progress):
            total, files = total + size, files + 1
            if total > limit or files > MOST_FILES:
                raise DataError(
                    f"{archive}: unpacks to more than {limit:,} bytes or {MOST_FILES:,} files, the"
                    " most that it may hold; nothing was unpacked"
                )
            _require_inside(archive, name)
    except DataError:
        raise
    except (gzip.BadGzipFile, *CLASH) as error:
        raise _damaged(archive, error) from None
    except OSError as error:
        if error.errno != errno.EINVAL:  # a place before the file's beginning
            raise
        raise _damaged(archive, error) from None
    except Exception as error:  # the formats' readers raise whatever they trip over
        raise _damaged(archive, error) from None


def _damaged(archive: Path, error: Exception) -> DataError:
    why = str(error) or type(error).__name__
    return DataError(f"{archive} is truncated or damaged ({why}); remove it and fetch it again")


def _unzip(archive: Path, partial: Path) -> Iterator[tuple[str, int]]:
    """Yields name and size of each member, and unpacks it when asked for the next."""
    with zipfile.ZipFile(archive) as opened:
        for member in opened.infolist():
            yield member.filename, member.file_size
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind == stat.S_IFLNK:
                target = opened.read(member).decode() if member.file_size < 4096 else ".."
                _require_inside(archive, os.path.dirname(member.filename), target)
            elif kind in (0, stat.S_IFREG, stat.S_IFDIR):
                opened.extract(member, partial)
            else:
                raise DataError(f"{archive}: {member.filename!r} is a device")


def _untar(archive: Path, partial: Path) -> Iterator[tuple[str, int]]:
    """Like `_unzip`."""
    if not hasattr(tarfile, "data_filter"):
        raise DataError(
            f"{archive}: Python before 3.11.4 cannot unpack safely; take a later one, or unpack it"
            f" yourself in {partial.parent}"
        )
    with gzip.open(archive) as stream:
        with tarfile.open(fileobj=stream, mode="r|") as opened:
            for member in opened:
                yield member.name, member.size
                if member.issym():
                    _require_inside(archive, os.path.dirname(member.name), member.linkname)
                elif member.islnk():
                    _require_inside(archive, member.linkname)
                elif member.isreg() or member.isdir():
                    opened.extract(member, partial, filter="data")
                else:
                    raise DataError(f"{archive}: {member.name!r} is a device")
        while stream.read(2**20):  # to the end, where the checksum is
            pass


def _require_inside(archive: Path, *parts: str) -> None:
    """Raises DataError if a path, relative to the archive's root, may lead out of it."""
    for part in parts:
        if part.startswith(("/", "\\")) or re.match("[A-Za-z]:", part) or "\0" in part:
            raise DataError(f"{archive}: {part!r} leads out of the archive; do not trust it")
    path = "/".join(filter(None, parts))
    depth = 0
    for step in PurePosixPath(path.replace("\\", "/")).parts:
        depth += -1 if step == ".." else 1
        if depth < 0:
            raise DataError(f"{archive}: {path!r} leads out of the archive; do not trust it")


def _move(partial: Path, folder: Path, gives: str) -> None:
    """What lies beside `gives` first; a folder that is there already stays."""
    for path in sorted(partial.iterdir()):
        if path.name != gives and not (folder / path.name).is_dir():
            os.replace(path, folder / path.name)
    os.rename(partial / gives, folder / gives)
