"""`fetch`: a file from the first of its addresses that gives the right bytes.

While it comes, it lies beside its place as `NAME.part`; `NAME.part.json` says of which version, on
which server, that is the beginning. A download that is cut off, or killed, goes on from there. Only
a file of the right size and hash is renamed to NAME.
"""

from __future__ import annotations

import errno
import hashlib
import http.client
import json
import os
import re
import shutil
import ssl
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from a2i_lib.data.dataset import DataError
from a2i_lib.data.lock import only_one

USER_AGENT = "a2i_lib"
SILENCE = 30.0  # seconds without a byte after which a server counts as gone
ROUNDS = 4  # over all addresses that may still answer
GAIN = 2**20  # bytes that a cut connection must have brought to be taken up again at once
CHUNK = 2**18
HTML = re.compile(rb"(\xef\xbb\xbf)?\s*<(!doctype\s+html|html|head)", re.IGNORECASE)
CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


class DownloadError(DataError):
    """A file that could not be had; says from where, why, and what to do."""


class _Refused(Exception):
    """This address will not give the file, now or in a minute."""


class _CutOff(Exception):
    """This address may give the file another time."""


class _Changed(Exception):
    """What this address gives does not go behind what is there."""


@dataclass(frozen=True)
class RemoteFile:
    """A file of a data set.

    Args:
        name: under which it lies in the folder.
        addresses: official first, mirrors after it; all with the same bytes.
        sha256: as published, hexadecimal; None: nobody has published it.
        md5: likewise.
        size: in bytes, as published; another one is refused.
        about: bytes to expect where no size is published.
        gives: the folder that its archive holds; where that exists, the file is not needed.
        unpack: whether to unpack it; readers open some archives as they are.
        unpacked: bytes to expect on the disk once unpacked.
        lacking: what the data set lacks without this file; empty: it is nothing without it.
        by_hand: where a person finds it with a browser.

    Raises:
        ValueError: a name with a folder in it, no address, or one that is not http or https.
    """

    name: str
    addresses: tuple[str, ...]
    sha256: str | None = None
    md5: str | None = None
    size: int | None = None
    about: int = 0
    gives: str = ""
    unpack: bool = False
    unpacked: int = 0
    lacking: str = ""
    by_hand: str = ""

    def __post_init__(self) -> None:
        if Path(self.name).name != self.name:
            raise ValueError(f"{self.name!r} is not the name of a file")
        if not self.addresses or not all(re.match("https?://", a) for a in self.addresses):
            raise ValueError(f"{self.name}: its addresses must begin with http:// or https://")

    @property
    def expected(self) -> int:
        """Bytes, as published or about."""
        return self.about if self.size is None else self.size

    @property
    def check(self) -> str:
        """How it is checked, in words."""
        return "SHA-256" if self.sha256 else "MD5" if self.md5 else "no published hash"


def fetch(file: RemoteFile, folder: str | Path, progress: bool = True, pause: float = 2.0) -> Path:
    """Returns where the file lies, and fetches it if it is not there.

    Args:
        progress: show a bar, and say when an address fails.
        pause: seconds before the second round over the addresses; doubles for each further one.

    Raises:
        DownloadError: no address gives the right file; a file of that name is there and is not the
            published one.
        DataError: another process is fetching it.
        OSError: the disk is full or cannot be written; what has come is kept, and gone on from.
    """
    target = Path(folder) / file.name
    with only_one(target):
        if target.exists():
            wrong = what_is_wrong(file, target)
            if wrong:
                raise DownloadError(f"{target}: {wrong}; remove it to have it fetched")
            return target
        part = target.with_name(f"{file.name}.part")
        _from_any_address(file, part, progress, pause)
        os.replace(part, target)
        _note(part).unlink(missing_ok=True)
    return target


def what_is_wrong(file: RemoteFile, path: Path) -> str:
    """Why `path` is not the published file, empty if it is as far as can be known."""
    size = path.stat().st_size
    if file.size is not None and size != file.size:
        return f"it has {size:,} bytes, the published file {file.size:,}"
    if size == 0:
        return "it is empty"
    for name, published in (("sha256", file.sha256), ("md5", file.md5)):
        if published is not None:
            digest = _digest(path, name)
            if digest != published:
                return f"its {name.upper()} is {digest}, the published one {published}"
    return ""


def _digest(path: Path, name: str) -> str:
    with open(path, "rb") as opened:
        # MD5 here finds damage, not forgery; systems that forbid it for the other use allow this
        return hashlib.file_digest(
            opened, lambda: hashlib.new(name, usedforsecurity=False)
        ).hexdigest()


# ---------------------------------------------------------------- addresses


def _from_any_address(file: RemoteFile, part: Path, progress: bool, pause: float) -> None:
    begun = _read_note(part).get("address")
    left = sorted(file.addresses, key=lambda address: address != begun)
    why: dict[str, str] = {}
    for k in range(ROUNDS):
        if k:
            time.sleep(pause * 2 ** (k - 1))
        for address in list(left):
            try:
                _complete(file, address, part, progress)
            except (_Refused, _CutOff) as error:
                why[address] = str(error)
                if isinstance(error, _Refused):
                    left.remove(address)
                if progress:
                    tqdm.write(f"{file.name}: {address}: {error}", file=sys.stderr)
            else:
                return
        if not left:
            break
    reasons = "".join(f"\n  {address}: {why[address]}" for address in file.addresses)
    raise DownloadError(
        f"{file.name} could not be fetched:{reasons}\nRun the command again later; or download the"
        f" file with a browser ({file.by_hand or file.addresses[0]}), put it at"
        f" {part.with_suffix('')}, and run the command again"
    )


def _complete(file: RemoteFile, address: str, part: Path, progress: bool) -> None:
    """Fills `part` from one address with the file, checked."""
    afresh = False
    while True:
        before = _size(part)
        try:
            _receive(file, address, part, progress)
            wrong = what_is_wrong(file, part)
        except _CutOff:
            if _size(part) < before + GAIN:
                raise
            continue
        except _Changed as error:
            wrong = str(error)
        if not wrong:
            return
        part.unlink(missing_ok=True)
        _note(part).unlink(missing_ok=True)
        if before == 0 or afresh:
            raise _Refused(wrong)
        afresh = True  # two versions in one file, perhaps: once more from the first byte


def _receive(file: RemoteFile, address: str, part: Path, progress: bool) -> None:
    """One answer of a server, put behind what is there.

    Raises:
        _Refused, _CutOff, _Changed: the server's doing.
        OSError: the disk's.
    """
    note = _read_note(part)
    validator = note.get("validator") if note.get("address") == address else None
    # Two halves can be known to be of one file by the server's word, or by the hash in the end.
    resumable = bool(note) and bool(validator or file.sha256 or file.md5)
    have = _size(part) if resumable else 0
    if have and note.get("total") == have:
        return  # killed between the last byte and the check
    with _open(address, have, validator) as answer:
        start = _start(answer, have)
        total = _total(answer)
        given = _validator(answer)
        if start and (total != note.get("total") or (validator and given not in (None, validator))):
            raise _Changed("the file is not the one whose first part was fetched")
        if file.size is not None and total not in (None, file.size):
            raise _Refused(f"has {total:,} bytes to give, the published file has {file.size:,}")
        first = _read(answer)
        if not start:
            _refuse_page(answer, first)
        _require_room(part, (total or file.expected) - have)
        _write_note(part, {"address": address, "validator": given or validator, "total": total})
        _append(file, answer, first, part, start, total, progress)


def _append(
    file: RemoteFile,
    answer: http.client.HTTPResponse,
    chunk: bytes,
    part: Path,
    start: int,
    total: int | None,
    progress: bool,
) -> None:
    """Writes what comes behind the first `start` bytes of `part`, until it ends."""
    bar = tqdm(
        desc=file.name,
        total=total or file.expected or None,
        initial=start,
        unit="B",
        unit_scale=True,
        disable=not progress,
    )
    with bar, open(part, "r+b" if start else "wb") as out:
        out.seek(start)
        out.truncate()
        have = start
        while chunk:
            have += len(chunk)
            if file.size is not None and have > file.size:
                raise _Changed(f"gives more than the {file.size:,} bytes of the published file")
            _to_disk(out, chunk, part)
            bar.update(len(chunk))
            chunk = _read(answer)
        out.flush()
        os.fsync(out.fileno())
    end = file.size if total is None else total
    if end is not None and have < end:
        raise _CutOff(f"the connection ended after {have:,} of {end:,} bytes")


def _to_disk(out: Any, chunk: bytes, part: Path) -> None:
    try:
        out.write(chunk)
        out.flush()
    except OSError as error:
        raise OSError(
            error.errno, f"{error.strerror}; make room and run the command again", str(part)
        ) from None


# ---------------------------------------------------------------- the server


def _open(address: str, have: int, validator: str | None) -> http.client.HTTPResponse:
    """Asks for the file from byte `have` on, provided that it is still the same one."""
    headers = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if validator:
            headers["If-Range"] = validator
    request = urllib.request.Request(address, headers=headers)
    try:
        return urllib.request.urlopen(request, timeout=SILENCE)
    except urllib.error.HTTPError as error:
        with error:
            raise _refusal(address, error) from None
    except urllib.error.URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            raise _Refused(f"its certificate is not valid ({error.reason.reason})") from None
        raise _CutOff(f"does not answer ({error.reason})") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _CutOff(f"does not answer ({error or type(error).__name__})") from None


def _refusal(address: str, error: urllib.error.HTTPError) -> Exception:
    says = f"HTTP {error.code} {error.reason}"
    if error.code == 416:
        return _Changed("the file is shorter than the part that was fetched")
    if error.code in (408, 425, 429) or error.code >= 500:
        return _CutOff(says)
    if re.match(r"https?://(drive|docs)\.(usercontent\.)?google\.com/", address):
        return _Refused(f"{says}: Google Drive asks for a login, or its quota is used up")
    return _Refused(says)


def _read(answer: http.client.HTTPResponse) -> bytes:
    try:
        return answer.read1(CHUNK)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _CutOff(f"the connection broke ({error or type(error).__name__})") from None


def _start(answer: http.client.HTTPResponse, have: int) -> int:
    """The number of the answer's first byte: `have`, or 0 from a server that ignores ranges."""
    if answer.status != 206:
        return 0
    match = CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    if not match or int(match[1]) != have:
        raise _Changed("the server gives another part than it was asked for")
    return have


def _total(answer: http.client.HTTPResponse) -> int | None:
    """Bytes of the whole file as the server has it, if it says so."""
    if answer.status != 206:
        return answer.length
    match = CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    return int(match[3]) if match and match[3] != "*" else None


def _validator(answer: http.client.HTTPResponse) -> str | None:
    """What `If-Range` can ask for: a strong ETag, or a date."""
    tag = answer.headers.get("ETag", "")
    return tag if tag.startswith('"') else answer.headers.get("Last-Modified")


def _refuse_page(answer: http.client.HTTPResponse, first: bytes) -> None:
    """A page for a person, where the file should be: Google Drive is known for it."""
    if answer.headers.get_content_type() != "text/html" and not HTML.match(first):
        return
    page = first
    while len(page) < CHUNK and (more := _read(answer)):
        page += more
    text = page.decode("utf-8", "replace")
    if re.search("quota exceeded|too many users have viewed or downloaded", text, re.IGNORECASE):
        raise _Refused("Google Drive's daily quota for this file is used up")
    if re.search("virus scan|scan this file for viruses", text, re.IGNORECASE):
        raise _Refused(
            "Google Drive asks for a person's confirmation: the file is too large for its virus"
            " scan"
        )
    title = re.search(r"<title[^>]*>\s*([^<]{1,80})", text, re.IGNORECASE)
    raise _Refused(f"a web page ({title[1].strip() if title else 'no title'}), not the file")


# ---------------------------------------------------------------- the part


def _note(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _read_note(part: Path) -> dict[str, Any]:
    """Of what `part` is the beginning; empty if that is not known."""
    try:
        note = json.loads(_note(part).read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return note if isinstance(note, dict) and part.exists() else {}


def _write_note(part: Path, note: dict[str, Any]) -> None:
    fresh = _note(part).with_suffix(".new")
    fresh.write_text(json.dumps(note))
    os.replace(fresh, _note(part))


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _require_room(part: Path, need: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if need > free:
        raise OSError(
            errno.ENOSPC, f"needs {need / 1e6:,.1f} MB, {free / 1e6:,.1f} MB are free", str(part)
        )
