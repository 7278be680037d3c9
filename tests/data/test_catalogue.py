"""The table of data sets, and `download`, which fetches one from it."""

import collections
import hashlib
import io
import re
import shutil
import tarfile
from importlib.util import find_spec
from pathlib import Path

import pytest
from loopback import Reply, serving

from a2i_lib.data import DataError
from a2i_lib.data.catalogue import CATALOGUE, Collection, download, find, missing, need, plan
from a2i_lib.data.download import DownloadError, RemoteFile


def source(package, file):
    """The text of a package's file, without the seconds that its import takes."""
    return (Path(find_spec(package).submodule_search_locations[0]) / file).read_text()


def test_the_table_agrees_with_those_who_published_its_hashes():
    text = source("torchvision", "datasets/lfw.py") + source("torchvision", "datasets/celeba.py")
    pairs = re.findall(r'"([\w.-]+\.(?:txt|tgz))"[:,] "([0-9a-f]{32})"', text)
    drive = re.findall(r'\("([\w-]+)", "([0-9a-f]{32})", "([\w.]+)"\)', text)
    published = dict(pairs) | {name: md5 for _, md5, name in drive}
    files = {file.name: file for entry in CATALOGUE.values() for file in entry.files}
    shared = files.keys() & published.keys()
    assert len(shared) == 7
    assert {name: files[name].md5 for name in shared} == {name: published[name] for name in shared}
    for key, _, name in drive:
        assert name not in files or files[name].addresses[0].endswith(f"&id={key}")
    text = source("sklearn", "datasets/_lfw.py")
    entry = text[text.index('filename="lfw-funneled.tgz"') :][:200]
    assert f'checksum="{files["lfw-funneled.tgz"].sha256}"' in entry
    assert f'url="{files["lfw-funneled.tgz"].addresses[1]}"' in entry


def test_the_table_can_be_used():
    assert list(CATALOGUE) == ["lfw", "celeba", "cub", "casia"]
    for name, entry in CATALOGUE.items():
        assert entry.name == name and entry.terms and entry.home.startswith("http")
        assert entry.files or (entry.by_hand and entry.places)
        for file in (*entry.files, *entry.mirror):
            assert file.expected > 0 and (not file.unpack or file.unpacked > 0 < len(file.gives))
            assert all(
                re.fullmatch("[0-9a-f]+", value) for value in (file.sha256, file.md5) if value
            )
            assert len(file.sha256 or "0" * 64) == 64 and len(file.md5 or "0" * 32) == 32
    assert len({file.name for file in CATALOGUE["celeba"].mirror}) == 25
    with pytest.raises(DataError, match="unknown data set 'celebA': did you mean 'celeba'"):
        find("celebA")


@pytest.fixture
def server():
    with serving() as server:
        yield server


@pytest.fixture
def toys(server):
    """A list, an optional file and an archive, on a server of this machine; a mirror."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as opened:
        member = tarfile.TarInfo("pictures/1.jpg")
        member.size = 3
        opened.addfile(member, io.BytesIO(b"one"))
    archive = packed.getvalue()
    return Collection(
        "toys",
        "Toys: one picture",
        "http://toys.example/",
        "for play only",
        (
            RemoteFile("list.txt", (server.put("list", Reply(b"1\n")),), about=2_000),
            RemoteFile(
                "masks.txt", (server.put("masks", Reply(status=404)),), about=1, lacking="masks"
            ),
            RemoteFile(
                "pictures.tgz",
                (server.put("pictures", Reply(archive)),),
                sha256=hashlib.sha256(archive).hexdigest(),
                size=len(archive),
                gives="pictures",
                unpack=True,
                unpacked=4_000_000,
            ),
        ),
        (RemoteFile("all.parquet", (server.put("all", Reply(b"PAR1")),), about=5_000_000),),
    )


def get(entry, folder, **options):
    return download(entry, folder, progress=False, pause=0.01, **options)


def test_the_plan_says_what_how_large_and_under_which_terms(toys, tmp_path):
    text = plan(toys, tmp_path)
    assert "Toys: one picture" in text and "terms: for play only" in text
    assert "list.txt: about 2 kB, no published hash" in text
    assert "pictures.tgz: 0 kB, SHA-256\n    from http://127.0.0.1" in text
    assert "; without it, no masks" in text and "needs 4 MB of disk" in text
    assert "refused: --mirror, 1 Parquet files, 5 MB" in text
    assert "all.parquet: about 5 MB" in plan(toys, tmp_path, mirror=True)


def test_a_data_set_is_fetched_and_unpacked_once(toys, tmp_path, server, capsys):
    server.put("masks", Reply(b"0"))
    folder = tmp_path / "toys"
    assert get(toys, folder) == [folder]
    assert (folder / "pictures" / "1.jpg").read_bytes() == b"one"
    asked = len(server.asked)
    assert get(toys, folder) == [folder] and len(server.asked) == asked == 3
    (folder / "pictures.tgz").unlink()  # to make room
    assert missing(toys.files, folder) == [] and need(toys.files, folder) == (0, 0)
    assert "pictures.tgz: there already" in plan(toys, folder)
    assert get(toys, folder) == [folder] and len(server.asked) == asked


def test_the_mirror_is_another_form_of_the_whole(toys, tmp_path):
    assert get(toys, tmp_path, mirror=True) == [tmp_path / "all.parquet"]


def test_one_can_do_without_what_is_not_needed(toys, tmp_path, capsys):
    get(toys, tmp_path)
    assert "masks.txt could not be fetched" in (shown := capsys.readouterr().out)
    assert "Going on without it: there will be no masks" in shown


def test_one_cannot_do_without_the_rest(toys, tmp_path, server):
    server.put("list", Reply(status=404))
    with pytest.raises(DownloadError, match=r"list\.txt could not be fetched"):
        get(toys, tmp_path)
    assert not (tmp_path / "pictures").exists()  # the small ones come first


def test_a_file_put_there_by_hand_is_taken_if_it_is_the_right_one(toys, tmp_path, server):
    (tmp_path / "list.txt").write_bytes(b"mine\n")
    (tmp_path / "masks.txt").write_bytes(b"")
    with pytest.raises(DownloadError, match=r"masks\.txt: it is empty; remove it"):
        get(toys, tmp_path)
    (tmp_path / "masks.txt").write_bytes(b"0")
    (tmp_path / "pictures.tgz").write_bytes(b"a page")
    with pytest.raises(DownloadError, match=r"pictures\.tgz: it has 6 bytes, the published"):
        get(toys, tmp_path)
    assert not server.asked and (tmp_path / "pictures.tgz").read_bytes() == b"a page"


def test_an_archive_that_is_too_large_is_not_taken(toys, tmp_path, server):
    small = RemoteFile(**{**vars(toys.files[2]), "unpacked": 0})
    with pytest.raises(DataError, match="unpacks to more than 0 bytes"):
        get(Collection("t", "t", "http://t/", "t", (small,)), tmp_path)


def test_room_is_looked_for_before_anything_is_fetched(toys, tmp_path, server, monkeypatch):
    usage = collections.namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 3_000_000))
    with pytest.raises(OSError, match="toys needs 4 MB, 3 MB are free"):
        get(toys, tmp_path)
    assert not server.asked


def test_what_cannot_be_fetched_says_whom_to_ask_and_where_to_put_it(tmp_path):
    with pytest.raises(DataError) as caught:
        get(find("casia"), tmp_path)
    assert "arXiv:1411.7923" in str(caught.value)
    assert f"Put it at {tmp_path / 'CASIA-WebFace'} or" in str(caught.value)
    with pytest.raises(DataError, match="without --mirror"):
        get(find("casia"), tmp_path, mirror=True)
    (tmp_path / "CASIA-WebFace").mkdir()
    assert get(find("casia"), tmp_path) == [tmp_path / "CASIA-WebFace"]
