"""`unpack`, against archives that are cut, damaged, too large, or want to get out."""

import gzip
import io
import multiprocessing
import os
import signal
import stat
import tarfile
import time
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from a2i_lib.data import DataError, archives
from a2i_lib.data.archives import unpack

FILES = {"set/a/1.jpg": b"one" * 100, "set/a/2.jpg": b"", "set/list.txt": b"x\n", "names.txt": b"y"}
KINDS = ["set.zip", "set.tgz", "set.tar.gz"]
MANY_KINDS = pytest.mark.parametrize("kind", KINDS)


def tar_member(name, content=b"", type=tarfile.REGTYPE, link=""):
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.size = type, link, len(content)
    return member, content


def tar(path, *members, files=FILES):
    with tarfile.open(path, "w:gz", compresslevel=1) as opened:
        for member, content in [*(tar_member(*pair) for pair in files.items()), *members]:
            opened.addfile(member, io.BytesIO(content))
    return path


def zip_member(name, mode=0):
    member = zipfile.ZipInfo(name)
    member.external_attr = mode << 16
    return member


def zip_(path, *members, files=FILES):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in [*files.items(), *members]:
            opened.writestr(name, content)
    return path


def make(path, files=FILES):
    return zip_(path, files=files) if path.suffix == ".zip" else tar(path, files=files)


def out(archive, **options):
    options = {"gives": "set", "limit": 10**6, "progress": False} | options
    return unpack(archive, archive.parent / "out", **options)


def there(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith(".lock")
    }


def refused(archive, says, **options):
    """Refused, and nothing left: neither in the folder nor beside it."""
    beside = {path.name for path in archive.parent.iterdir()}
    with pytest.raises(DataError, match=says):
        out(archive, **options)
    assert there(archive.parent / "out") == {}
    assert {path.name for path in archive.parent.iterdir()} == beside | {"out"}


@MANY_KINDS
def test_an_archive_is_unpacked_once(kind, tmp_path):
    archive = make(tmp_path / kind)
    (tmp_path / "out" / f".{kind}.unpacking").mkdir(parents=True)  # of a run that was killed
    (tmp_path / "out" / f".{kind}.unpacking" / "old").write_bytes(b"")
    assert out(archive) == tmp_path / "out" / "set" and there(tmp_path / "out") == FILES
    archive.unlink()
    assert out(archive) == tmp_path / "out" / "set"


@MANY_KINDS
def test_a_truncated_archive(kind, tmp_path):
    archive = make(tmp_path / kind)
    whole = archive.read_bytes()
    for length in [*range(0, len(whole), len(whole) // 12), len(whole) - 1]:
        archive.write_bytes(whole[:length])
        refused(archive, "is truncated or damaged .*fetch it again")


@pytest.mark.parametrize("name", ["../x", "set/../../x", "/tmp/x", "C:\\x", "..\\x", "\\x", "c:x"])
def test_a_path_that_leaves_the_archive(name, tmp_path):
    refused(tar(tmp_path / "set.tgz", tar_member(name, b"!")), "leads out of the archive")
    refused(zip_(tmp_path / "set.zip", (name, b"!")), "leads out of the archive")


@pytest.mark.parametrize("link", ["../../x", "/etc/passwd", "../.."])
def test_a_link_that_leaves_the_archive(link, tmp_path):
    symbolic = tar_member("set/link", type=tarfile.SYMTYPE, link=link)
    refused(tar(tmp_path / "set.tgz", symbolic), "leads out of the archive")
    hard = tar_member("set/link", type=tarfile.LNKTYPE, link=link)
    refused(tar(tmp_path / "set.tgz", hard), "leads out of the archive")
    member = zip_member("set/link", stat.S_IFLNK | 0o777)
    refused(zip_(tmp_path / "set.zip", (member, link)), "leads out of the archive")


def test_links_within_the_archive_are_left_out(tmp_path):
    symbolic = tar_member("set/link", type=tarfile.SYMTYPE, link="../names.txt")
    hard = tar_member("set/twin", type=tarfile.LNKTYPE, link="names.txt")
    out(tar(tmp_path / "set.tgz", symbolic, hard))
    assert there(tmp_path / "out") == FILES


def test_no_way_out_through_a_link(tmp_path):
    """A link to the outside by two steps that each look harmless, and a file written through it."""
    links = [
        tar_member("set/b", type=tarfile.SYMTYPE, link="."),
        tar_member("set/b/c", type=tarfile.SYMTYPE, link=".."),
        tar_member("set/b/c/d", type=tarfile.SYMTYPE, link=".."),
    ]
    out(tar(tmp_path / "set.tgz", *links, tar_member("set/b/c/d/x", b"!")))
    assert there(tmp_path / "out") == FILES | {"set/b/c/d/x": b"!"}
    assert not any(path.is_symlink() for path in (tmp_path / "out").rglob("*"))


def test_devices(tmp_path):
    for kind in (tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE):
        refused(tar(tmp_path / "set.tgz", tar_member("set/x", type=kind)), "is a device")
    member = zip_member("set/x", stat.S_IFIFO | 0o600)
    refused(zip_(tmp_path / "set.zip", (member, b"")), "is a device")


@MANY_KINDS
def test_a_bomb(kind, tmp_path):
    archive = make(tmp_path / kind, files=FILES | {"set/zeros": bytes(5 * 2**20)})
    assert archive.stat().st_size < 50_000
    refused(archive, "unpacks to more than 1,000,000 bytes")
    out(archive, limit=6 * 2**20)


@MANY_KINDS
def test_a_bomb_of_many_files(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MOST_FILES", 3)
    refused(make(tmp_path / kind), "or 3 files")


@MANY_KINDS
def test_an_archive_of_something_else(kind, tmp_path):
    refused(make(tmp_path / kind), "holds no folder 'sets'", gives="sets")
    refused(make(tmp_path / kind), "holds no folder 'names.txt'", gives="names.txt")
    refused(make(tmp_path / kind).rename(tmp_path / "set.rar"), r"expected \.zip, \.tgz")


@MANY_KINDS
def test_a_file_that_is_also_a_folder(kind, tmp_path):
    refused(make(tmp_path / kind, files=FILES | {"set/list.txt/x": b""}), "damaged")


def test_an_encrypted_archive(tmp_path):
    archive = zip_(tmp_path / "set.zip")
    raw = bytearray(archive.read_bytes())
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(raw.replace(b"PK\x03\x04\x14\x00\x00", b"PK\x03\x04\x14\x00\x01", 1))
    refused(archive, "encrypted")


def test_what_is_there_already_stays(tmp_path):
    (tmp_path / "out" / "extra").mkdir(parents=True)
    (tmp_path / "out" / "extra" / "mine").write_bytes(b"mine")
    out(make(tmp_path / "set.tgz", files=FILES | {"extra/theirs": b""}))
    assert there(tmp_path / "out") == FILES | {"extra/mine": b"mine"}


def test_a_full_disk_is_the_disks_error(tmp_path, monkeypatch):
    def full(*words, **options):
        raise OSError(28, "No space left on device")

    archive = make(tmp_path / "set.tgz")
    monkeypatch.setattr(tarfile.TarFile, "extract", full)
    with pytest.raises(OSError, match="No space left"):
        out(archive)
    assert there(tmp_path / "out") == {}


def test_killed_while_unpacking(tmp_path):
    """Whenever it is killed, the folder is not there or complete, and the next run makes it."""
    files = {f"set/{k}": bytes(1000) for k in range(600)} | {"names.txt": b"y"}
    archive = make(tmp_path / "set.zip", files)
    forked = multiprocessing.get_context("fork")
    for k in range(6):
        child = forked.Process(target=out, args=(archive,))
        child.start()
        time.sleep(0.002 + 0.02 * k)
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        if (tmp_path / "out" / "set").exists():
            assert there(tmp_path / "out") == files
            break
    out(archive)
    assert there(tmp_path / "out") == files


QUICK = settings(
    max_examples=100,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
CHANGES = st.lists(st.tuples(st.floats(0, 0.9999), st.integers(0, 255)), min_size=1, max_size=12)


def damage(raw: bytes, changes: list[tuple[float, int]]) -> bytes:
    damaged = bytearray(raw)
    for where, byte in changes:
        damaged[int(where * len(raw))] = byte
    return bytes(damaged)


def survives(archive: Path, raw: bytes) -> None:
    """Only DataError comes out; nothing is written but below `out`."""
    archive.write_bytes(raw)
    beside = {path.name for path in archive.parent.iterdir()} | {"out"}
    try:
        out(archive)
    except DataError as error:
        assert str(archive) in str(error)
    except OSError as error:  # a name that the disk does not take
        assert error.errno in (36, 92)
    for path in sorted((archive.parent / "out").rglob("*"), reverse=True):
        assert not path.is_symlink() and (path.is_file() or path.is_dir())
        path.rmdir() if path.is_dir() else path.unlink()
    assert {path.name for path in archive.parent.iterdir()} <= beside


@QUICK
@given(changes=CHANGES)
@example(changes=[(0.9921875, 1)])  # the list of files would begin before the file
def test_damaged_zip(tmp_path, changes):
    survives(tmp_path / "set.zip", damage(make(tmp_path / "set.zip").read_bytes(), changes))


@QUICK
@given(changes=CHANGES)
def test_damaged_gzip(tmp_path, changes):
    survives(tmp_path / "set.tgz", damage(make(tmp_path / "set.tgz").read_bytes(), changes))


@QUICK
@given(changes=CHANGES)
def test_damaged_tar_in_a_sound_gzip(tmp_path, changes):
    raw = gzip.decompress(make(tmp_path / "set.tgz").read_bytes())[: 512 * 9]
    survives(tmp_path / "set.tgz", gzip.compress(damage(raw, changes), 1))


@QUICK
@given(raw=st.binary(max_size=400), kind=st.sampled_from(KINDS), packed=st.booleans())
def test_any_bytes(tmp_path, raw, kind, packed):
    survives(tmp_path / kind, gzip.compress(raw, 1) if packed else raw)
