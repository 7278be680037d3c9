"""What readers of folders share: files in a folder or inside a .zip, text tables as they come out
of the wild, rows joined with their pictures, and the `Source` that comes of it.

No archive is unpacked: a picture inside a .zip is read from there, and each process opens the
archive for itself.
"""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, Self

import numpy as np
from PIL import Image

from a2i_lib.attributes import AttributeSchema, UnknownAttribute
from a2i_lib.data.dataset import DataError
from a2i_lib.data.parquet import LARGEST
from a2i_lib.data.pictures import open_picture
from a2i_lib.data.source import EXAMPLES, Report, Source

MAX_DROPPED = 0.05  # share of rows, and of pictures, that a reader may lose before it stops
PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".ppm", ".bmp", ".gif", ".tif", ".tiff")
# What zipfile raises over a damaged, encrypted or exotic member
ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError)
HASHED_SPLIT = (
    "the SHA-256 of its name or number, first 8 bytes as a big-endian number, modulo 10: 0 val, 1"
    " test, else train; so it does not depend on what else is in the data"
)

Crop = Callable[[Image.Image], Image.Image]


# -------------------------------------------------------------------------------------- files


class Files:
    """The files under a folder, or inside a .zip, by their path from there, with "/".

    Hidden files and those that macOS adds to archives are left out, and so are members of an
    archive whose path leads out of it. A folder that is a link is followed, once.

    Raises:
        DataError: neither a folder nor a .zip that can be read.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        if self.root.is_dir():
            names = _walk(self.root)
        elif self.root.is_file():
            names = [info.filename for info in self._zip().infolist() if not info.is_dir()]
            self.__dict__.pop("_opened")[1].close()  # a large directory, read again where needed
        else:
            raise DataError(f"{self.root}: no such folder or file")
        self.names = sorted(set(filter(_is_wanted, names)))

    def __getstate__(self) -> dict[str, Any]:
        return {"root": self.root, "names": []}  # workers ask for paths that they were given

    def where(self, name: str) -> str:
        return f"{self.root}/{name}"

    def read(self, name: str) -> bytes:
        """The content of a file.

        Raises:
            DataError: a member of an archive that is damaged.
            OSError: the file cannot be read.
        """
        if self.root.is_dir():
            return (self.root / name).read_bytes()
        try:
            return self._zip().read(name)
        except KeyError:
            raise DataError(f"{self.where(name)} is not in the archive") from None
        except ZIP_ERRORS as error:
            raise DataError(f"{self.where(name)}: damaged in the archive ({error})") from None

    def _zip(self) -> zipfile.ZipFile:
        """The archive, opened by this process: a handle that came over a fork shares its place
        in the file with the parent's.
        """
        mine = self.__dict__.get("_opened")
        if mine is None or mine[0] != os.getpid():
            try:
                mine = (os.getpid(), zipfile.ZipFile(self.root))
            except ZIP_ERRORS as error:
                packed = self.root.name.lower().endswith((".tgz", ".gz", ".tar", ".7z", ".rar"))
                raise DataError(
                    f"{self.root} is neither a folder nor a readable .zip ({error}); "
                    + ("unpack it" if packed else "if the download was cut, fetch it again")
                ) from None
            self.__dict__["_opened"] = mine
        return mine[1]

    def named(self, name: str) -> str | None:
        """The file called `name` that lies least deep, None if there is none."""
        found = [n for n in self.names if n == name or n.endswith("/" + name)]
        return min(found, key=lambda n: (n.count("/"), n), default=None)

    def under(self, folder: str) -> list[str]:
        """Every file that has a folder of that name above it."""
        return [n for n in self.names if f"/{folder}/" in f"/{n}"]


def _walk(root: Path) -> list[str]:
    names, seen = [], set()
    for place, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        above = Path(place).relative_to(root).as_posix()
        names += [name if above == "." else f"{above}/{name}" for name in files]
    return names


def _is_wanted(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return bool(parts) and not any(p.startswith((".", "__MACOSX")) or p == "/" for p in parts)


class Layout:
    """A download as it lies on the disk: a folder with everything, or the folder or archive of its
    pictures with the rest beside it.
    """

    def __init__(self, root: str | Path) -> None:
        self.files = Files(root)
        self.read: list[Table] = []

    def find(self, name: str) -> Table | None:
        """The text file of that name: least deep inside, else right beside; None if missing."""
        inside, beside = self.files.named(name), self.files.root.absolute().parent / name
        if inside is not None:
            self.read.append(Table(self.files.where(inside), self.files.read(inside)))
        elif beside.is_file():
            self.read.append(Table(str(beside), beside.read_bytes()))
        else:
            return None
        return self.read[-1]

    def provenance(self) -> list[dict[str, str]]:
        """Names and SHA-256 of the text files that were read."""
        return [table.provenance() for table in self.read]

    def table(self, name: str, hint: str) -> Table:
        """As `find`; raises DataError that shows what there is instead, and `hint`."""
        table = self.find(name)
        if table is None:
            tops = sorted({n.partition("/")[0] for n in self.files.names})
            shown = ", ".join(tops[:6]) + (", ..." if len(tops) > 6 else "")
            raise DataError(
                f"{self.files.root}: no {name}, neither in it nor beside it (there are: "
                f"{shown or 'no files'}); {hint}"
            )
        return table

    def pictures(self, *folders: str) -> tuple[Files, list[str]]:
        """The picture files below the first of these folders that is found: inside, beside, or in
        an archive FOLDER.zip. ([] if there is none.)
        """
        root = self.files.root.absolute()
        for folder in folders:
            if root.name in (folder, f"{folder}.zip"):
                return self.files, pictures_among(self.files.names)
            if found := pictures_among(self.files.under(folder)):
                return self.files, found
            archive = self.files.named(f"{folder}.zip")
            for place in ([root / archive] if archive and root.is_dir() else []) + [
                root.parent / folder,
                root.parent / f"{folder}.zip",
            ]:
                if place.exists():
                    files = Files(place)
                    return files, pictures_among(files.names)
        return self.files, []


def pictures_among(names: Sequence[str]) -> list[str]:
    return [name for name in names if name.lower().endswith(PICTURES)]


def by_stem(names: Sequence[str]) -> dict[str, str]:
    """File name without folders and suffix -> path; of two, the first."""
    return {PurePosixPath(name).stem: name for name in reversed(names)}


def by_name(names: Sequence[str]) -> dict[str, str]:
    """File name without folders -> path; of two, the first."""
    return {PurePosixPath(name).name: name for name in reversed(names)}


# -------------------------------------------------------------------------------------- tables


class Table:
    """A text file in memory: UTF-8 with or without a byte order mark, any kind of line ending.

    Args:
        path: for messages.
        data: its bytes.
    """

    def __init__(self, path: str, data: bytes) -> None:
        self.path, self.data = path, data

    def where(self, line: int) -> str:
        return f"{self.path}, line {line}"

    def provenance(self) -> dict[str, str]:
        """Name and SHA-256 of the file."""
        return {"name": Path(self.path).name, "sha256": hashlib.sha256(self.data).hexdigest()}

    def open(self) -> IO[str]:
        """As text, with its line endings as they are."""
        return io.TextIOWrapper(io.BytesIO(self.data), encoding="utf-8-sig", newline="")

    def lines(self) -> Iterator[tuple[int, str]]:
        """Line numbers, from 1, and lines that are not blank, without their ends.

        Raises:
            DataError: the file is no UTF-8 text.
        """
        try:
            with io.TextIOWrapper(io.BytesIO(self.data), encoding="utf-8-sig") as text:
                for number, line in enumerate(text, 1):
                    if line.strip():
                        yield number, line.rstrip("\n")
        except UnicodeDecodeError:
            raise self.not_text() from None

    def not_text(self) -> DataError:
        """What to raise where text was expected; names the line."""
        line = 1
        try:
            self.data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line += self.data[: error.start].count(b"\n")
        return DataError(
            f"{self.where(line)}: not UTF-8 text; save it as UTF-8 (in a spreadsheet: 'CSV UTF-8'),"
            " or fetch it again"
        )

    def pairs(self, report: Report) -> dict[str, tuple[int, str]]:
        """Of lines with a key, blanks and a value: key -> (line, value). Lines without a value,
        and a key's second line, are noted in the report.
        """
        found: dict[str, tuple[int, str]] = {}
        bad = Noted()
        for line, text in self.lines():
            key, *rest = text.split(None, 1)
            if not rest:
                bad.add("no value", line)
            elif key in found:
                bad.add(f"a second line for {key}", line)
            else:
                found[key] = (line, rest[0].rstrip())
        bad.tell(report, self)
        return found


class Noted:
    """Counts what is odd in a table that is not the one whose rows the report counts."""

    def __init__(self) -> None:
        self.count: Counter[str] = Counter()
        self.first: dict[str, list[int]] = {}

    def add(self, what: str, line: int) -> None:
        what = what if len(self.count) < 20 or what in self.count else "and others"
        self.count[what] += 1
        self.first.setdefault(what, []).append(line)
        del self.first[what][EXAMPLES:]

    def tell(self, report: Report, table: Table) -> None:
        for what, count in self.count.items():
            lines = ", ".join(map(str, self.first[what]))
            report.note(f"{table.path}: {count:,} lines left out: {what} (line {lines})")


# ------------------------------------------------------------------------------ rows and pictures


class Join:
    """Rows of a table joined with pictures: counts what has no partner.

    Args:
        table: whose rows are read.
        pictures: key -> path of the picture.
        report: rows read and dropped are counted here.
    """

    def __init__(self, table: Table, pictures: Mapping[str, str], report: Report) -> None:
        self.table, self.pictures, self.report = table, pictures, report
        self.keys: dict[str, int] = {}  # -> line

    def drop(self, reason: str, line: int) -> None:
        """A row that cannot be used."""
        self.report.read += 1
        self.report.drop(reason, self.table.where(line))

    def add(self, key: str, line: int) -> bool:
        """Counts a good row; False if it has no picture, or is the second of its picture."""
        if key in self.keys:
            self.drop("a second row for the same picture", line)
        elif key not in self.pictures:
            self.drop("its picture is missing", line)
            self.keys[key] = line
        else:
            self.report.read += 1
            self.keys[key] = line
            return True
        return False

    def finish(self, max_dropped: float) -> None:
        """Notes pictures that no row names.

        Raises:
            DataError: more than the share `max_dropped` of the rows is dropped, or of the pictures
                without a row.
        """
        without = [path for key, path in self.pictures.items() if key not in self.keys]
        if without:
            first = ", ".join(sorted(without)[:EXAMPLES])
            text = (
                f"{len(without):,} of {len(self.pictures):,} pictures have no usable row in "
                f"{self.table.path} ({first})"
            )
            if len(without) > max_dropped * len(self.pictures):
                raise DataError(
                    f"{text}, more than {max_dropped:.0%}; is it the right table? If it is:"
                    f" --max-dropped 1\n{self.report}"
                )
            self.report.note(text)
        require(self.report, self.table.path, max_dropped)


def require(report: Report, path: str, max_dropped: float) -> None:
    """Raises DataError if nothing is left, or more than `max_dropped` of the rows is dropped."""
    if report.read == 0:
        raise DataError(f"{path}: no rows; was the download cut?")
    if report.kept == 0:
        raise DataError(f"{path}: none of its rows can be used:\n{report}")
    try:
        report.require(max_dropped)
    except DataError as error:
        raise DataError(f"{path}: {error}\n  if that is as it should be: --max-dropped 1") from None


def note_count(table: Table, line: int, text: str, rows: int, report: Report) -> None:
    """Compares the number of rows that a table's own line states with those that are there."""
    if text.strip().isdigit() and int(text.strip()) != rows:
        report.note(f"{table.where(line)} says {int(text):,} rows, there are {rows:,}")


@dataclass
class FolderSource:
    """A `Source` whose pictures are files of a folder or of a .zip.

    Args:
        files, paths: where the N pictures are.
        table, lines: whose line says what the i-th picture shows; None where there is no table.
        crop: takes the upright picture, or its mask, gives the square that is used; None: all of
            it, which must be square.
        mask_files, mask_paths: where their masks are; None without masks.
        read_mask: bytes of a mask file -> mode L, 255 on the subject.
    """

    name: str
    schema: AttributeSchema
    attributes: np.ndarray
    split: np.ndarray
    provenance: dict[str, Any]
    report: Report
    files: Files
    paths: list[str]
    crop: Crop | None = None
    table: str | None = None
    lines: np.ndarray | None = None
    mask_files: Files | None = None
    mask_paths: list[str] | None = None
    read_mask: Callable[[bytes], Image.Image] | None = None
    has_masks: bool = False

    def __post_init__(self) -> None:
        self.has_masks = self.mask_paths is not None

    def __len__(self) -> int:
        return len(self.paths)

    def thin(self, limit: int | None) -> Self:
        """Keeps at most `limit` rows, evenly spaced.

        Raises:
            DataError: a limit below one.
        """
        if limit is not None and limit < 1:
            raise DataError(f"limit {limit}: at least one row")
        n = len(self)
        if limit is not None and limit < n:
            self.take(np.arange(limit) * n // limit)
            self.report.note(f"{limit:,} of them taken, evenly spaced, as asked")
        return self

    def keep(self, good: np.ndarray, reason: str, max_dropped: float) -> Self:
        """Drops the rows that are not `good`, (N,) bool, for that reason.

        Raises:
            DataError: more than the share `max_dropped` of all rows is dropped by now.
        """
        for i in np.flatnonzero(~good):
            self.report.drop(reason, self.where(int(i)))
        self.take(np.flatnonzero(good))
        require(self.report, self.table or str(self.files.root), max_dropped)
        return self

    def take(self, rows: np.ndarray) -> None:
        """Keeps the rows with these positions."""
        self.attributes, self.split = self.attributes[rows], self.split[rows]
        self.paths = [self.paths[i] for i in rows]
        if self.lines is not None:
            self.lines = self.lines[rows]
        if self.mask_paths is not None:
            self.mask_paths = [self.mask_paths[i] for i in rows]

    def where(self, i: int) -> str:
        place = self.files.where(self.paths[i])
        if self.table is None or self.lines is None:
            return place
        return f"{place} ({self.table}, line {self.lines[i]})"

    def whole(self, i: int) -> Image.Image:
        """The i-th picture, RGB, upright, uncropped."""
        return open_picture(self.files.read(self.paths[i]))

    def picture(self, i: int) -> Image.Image:
        """See `Source`."""
        return self._cut(self.whole(i))

    def mask(self, i: int) -> Image.Image:
        """See `Source`."""
        return self._cut(self.whole_mask(i))

    def _cut(self, picture: Image.Image) -> Image.Image:
        return picture if self.crop is None else self.crop(picture)

    def whole_mask(self, i: int) -> Image.Image:
        """The mask of `whole(i)`: mode L, 255 on the subject.

        Raises:
            DataError: there is none, or it cannot be read.
        """
        if self.mask_files is None or self.mask_paths is None or self.read_mask is None:
            raise DataError(f"{self.name}: there are no masks")
        try:
            return self.read_mask(self.mask_files.read(self.mask_paths[i]))
        except ValueError as error:
            raise DataError(f"its mask: {error}") from None


def hashed_split(key: str) -> int:
    """0 train, 1 val, 2 test, for about eight, one and one in ten keys: see `HASHED_SPLIT`."""
    digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
    return {0: 1, 1: 2}.get(int.from_bytes(digest[:8], "big") % 10, 0)


def numbers(fields: Sequence[str]) -> list[float] | None:
    """The fields as finite numbers; None if one is none."""
    try:
        values = [float(field) for field in fields]
    except ValueError:
        return None
    return values if all(abs(value) < LARGEST for value in values) else None  # nan is not


def refuse_twice(names: Sequence[str], where: str) -> None:
    """Raises DataError if a name is empty or there twice."""
    for name, count in Counter(names).items():
        if count > 1 or not name:
            raise DataError(f"{where}: attribute {name!r} is named {count} times; rename one")


def square_of(box: tuple[int, int, int, int], picture: Image.Image) -> Image.Image:
    """The part of a picture in `box` (left, upper, right, lower), squeezed to a square of its
    longer side where it is none.

    Raises:
        ValueError: the box is empty or lies outside.
    """
    left, upper = max(0, box[0]), max(0, box[1])
    right, lower = min(picture.width, box[2]), min(picture.height, box[3])
    if right <= left or lower <= upper:
        raise ValueError("the part to be cut out lies outside the picture")
    part = picture.crop((left, upper, right, lower))  # first: `resize(box=...)` looks outside it
    side = max(part.size)
    if part.size == (side, side):
        return part
    return part.resize((side, side), Image.Resampling.LANCZOS)


def choose_attributes(source: Source, wanted: Sequence[str], why: str = "chosen by name") -> None:
    """Keeps these attributes of a source, in this order.

    Raises:
        DataError: a name that is not there, with the closest, or a name twice.
    """
    try:
        positions = [source.schema.index(name) for name in wanted]
        schema = AttributeSchema([source.schema[k] for k in positions])
    except (UnknownAttribute, ValueError) as error:
        raise DataError(f"{source.name}: {error}") from None
    if not positions:
        raise DataError(f"{source.name}: no attribute is named")
    source.attributes = np.ascontiguousarray(source.attributes[:, positions])
    source.schema = schema
    source.provenance["attributes_kept"] = f"{len(positions)}: {why}"
