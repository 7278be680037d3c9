"""`fetch`, against a server that cuts, lies, refuses and changes its mind."""

import collections
import hashlib
import multiprocessing
import os
import random
import resource
import shutil
import signal
import time

import pytest
from loopback import Reply, serving

from a2i_lib.data import DataError, download
from a2i_lib.data.download import DownloadError, RemoteFile
from a2i_lib.data.lock import only_one

BODY = random.Random(0).randbytes(3 * 2**20)
OTHER = random.Random(1).randbytes(len(BODY))
SHA256 = hashlib.sha256(BODY).hexdigest()
QUOTA = (
    b"<!DOCTYPE html><html><head><title>Google Drive - Quota exceeded</title></head><body>Sorry,"
    b" you can&#39;t view or download this file at this time. Too many users have viewed or"
    b" downloaded this file recently.</body></html>"
)
VIRUS = (
    b"<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning</title></head><body>"
    b"Google Drive can't scan this file for viruses.</body></html>"
)


@pytest.fixture(scope="module")
def running():
    with serving() as server:
        yield server


@pytest.fixture
def server(running):
    running.pages.clear()
    running.asked.clear()
    return running


def fetch(file, folder):
    return download.fetch(file, folder, progress=False, pause=0.01)


def names(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def file_at(*addresses, **known):
    return RemoteFile("x.bin", addresses, **known)


def test_a_file_comes_whole_and_once(server, tmp_path):
    file = file_at(server.put("a", Reply(BODY)), sha256=SHA256, size=len(BODY))
    assert fetch(file, tmp_path / "new").read_bytes() == BODY
    assert fetch(file, tmp_path / "new").read_bytes() == BODY
    assert names(tmp_path / "new") == ["x.bin"] and len(server.asked) == 1


def test_a_cut_connection_is_taken_up_where_it_broke(server, tmp_path):
    address = server.put("a", Reply(BODY, cut=2 * 2**20), Reply(BODY))
    assert fetch(file_at(address), tmp_path).read_bytes() == BODY
    assert server.ranges("a") == [None, f"bytes={2 * 2**20}-"]


def test_many_cuts(server, tmp_path):
    replies = [Reply(BODY, cut=400_000) for _ in range(3)]  # too little to go on at once
    assert fetch(file_at(server.put("a", *replies, Reply(BODY))), tmp_path).read_bytes() == BODY
    assert server.ranges("a")[1:] == [f"bytes={k}-" for k in (400_000, 800_000, 1_200_000)]


def test_a_server_that_gives_nothing_in_the_end_is_left(server, tmp_path):
    address = server.put("a", Reply(BODY, cut=100))
    with pytest.raises(DownloadError, match=r"the connection ended after 400 of 3,145,728 bytes"):
        fetch(file_at(address, sha256=SHA256), tmp_path)
    assert len(server.asked) == download.ROUNDS


@pytest.mark.parametrize(
    "second",
    [
        Reply(BODY, ranges=False),
        Reply(BODY, content_range="bytes 5-3145727/3145728"),
        Reply(BODY, content_range="rubbish"),
        Reply(BODY, content_range=f"bytes {2**21}-3145799/3145800"),
        Reply(BODY[:-9], tag='"2"', heed_if_range=False),
        Reply(BODY[:1000], heed_if_range=False),
        Reply(BODY, tag=None, ranges=False),
    ],
    ids=["ignored", "wrong start", "rubbish", "wrong total", "shorter", "416", "no tag"],
)
def test_a_range_that_is_not_honoured_starts_afresh(server, tmp_path, second):
    address = server.put("a", Reply(BODY, cut=2**21), second, Reply(BODY, tag=second.tag))
    got = fetch(file_at(address), tmp_path).read_bytes()
    assert got in (BODY, second.give)  # one version or the other, never a mixture
    assert server.asked[1][1] == f"bytes={2**21}-"


@pytest.mark.parametrize("heeds", [True, False])
def test_a_file_that_changed_meanwhile_starts_afresh(server, tmp_path, heeds):
    new = Reply(OTHER, tag='"2"', heed_if_range=heeds)
    address = server.put("a", Reply(BODY, cut=2**21), new)
    assert fetch(file_at(address), tmp_path).read_bytes() == OTHER


def test_two_versions_under_one_tag_are_found_by_the_hash(server, tmp_path):
    address = server.put("a", Reply(OTHER, cut=2**21), Reply(BODY))
    assert fetch(file_at(address, sha256=SHA256), tmp_path).read_bytes() == BODY
    assert server.ranges("a") == [None, f"bytes={2**21}-", None]


def test_without_tag_or_hash_nothing_is_pieced_together(server, tmp_path):
    address = server.put("a", Reply(BODY, tag=None, cut=2**21), Reply(OTHER, tag=None))
    assert fetch(file_at(address), tmp_path).read_bytes() == OTHER
    assert server.ranges("a") == [None, None]


def test_a_mirror_goes_on_where_the_official_server_broke(server, tmp_path):
    official = server.put("a", Reply(BODY, cut=2**19))
    mirror = server.put("b", Reply(BODY, tag='"mirror"'))
    assert fetch(file_at(official, mirror, sha256=SHA256), tmp_path).read_bytes() == BODY
    assert server.ranges("b") == [f"bytes={2**19}-"]


@pytest.mark.parametrize(
    "first",
    [
        Reply(status=404),
        Reply(status=403),
        Reply(OTHER),
        Reply(BODY[:-1]),
        Reply(BODY + b"x"),
        Reply(BODY + b"x", length=-1),
        Reply(b""),
        Reply(QUOTA, kind="text/html; charset=utf-8"),
        Reply(QUOTA),
        Reply(b"", kind="text/html"),
        Reply(status=302, location="ftp://127.0.0.1:1/x"),
        Reply(status=302, location="file:///etc/hostname"),
    ],
    ids="404 403 hash short long endless empty html page nothing ftp local".split(),
)
def test_a_mirror_helps_out_at_once(server, tmp_path, first):
    official, mirror = server.put("a", first), server.put("b", Reply(BODY))
    file = file_at(official, mirror, sha256=SHA256, size=len(BODY))
    assert fetch(file, tmp_path).read_bytes() == BODY
    assert len(server.ranges("b")) == 1 and names(tmp_path) == ["x.bin"]


def test_md5_is_compared_where_there_is_no_sha256(server, tmp_path):
    address, good = server.put("a", Reply(OTHER)), hashlib.md5(OTHER).hexdigest()
    assert fetch(file_at(address, md5=good), tmp_path / "good").read_bytes() == OTHER
    with pytest.raises(DownloadError, match=f"its MD5 is {good}, the published one 0000"):
        fetch(file_at(address, md5="0" * 32), tmp_path / "bad")
    assert names(tmp_path / "bad") == []


def test_an_error_names_every_address_the_reason_and_what_to_do(server, tmp_path):
    first, second = server.put("a", Reply(status=404)), server.put("b", Reply(OTHER))
    file = file_at(first, second, sha256=SHA256, by_hand="the shelf")
    with pytest.raises(DownloadError) as caught:
        fetch(file, tmp_path)
    text = str(caught.value)
    assert isinstance(caught.value, DataError)
    assert f"{first}: HTTP 404 Not Found" in text and f"{second}: its SHA256 is" in text
    assert f"browser (the shelf), put it at {tmp_path / 'x.bin'}, and run" in text


@pytest.mark.parametrize(
    ("page", "says"),
    [
        (QUOTA, "daily quota"),
        (VIRUS, "confirmation"),
        (b"<html>Hm</html>", "a web page (no title)"),
    ],
)
def test_a_page_in_place_of_the_file_is_named(server, tmp_path, page, says):
    with pytest.raises(DownloadError) as caught:
        fetch(file_at(server.put("a", Reply(page, kind="text/html"))), tmp_path)
    assert says in str(caught.value) and names(tmp_path) == []


def test_a_page_does_not_spoil_the_part_that_is_there(server, tmp_path):
    page = Reply(QUOTA, kind="text/html", ranges=False)
    address = server.put("a", Reply(BODY, cut=2**21), page)
    with pytest.raises(DownloadError):
        fetch(file_at(address, sha256=SHA256), tmp_path)
    server.put("a", Reply(BODY))
    assert fetch(file_at(address, sha256=SHA256), tmp_path).read_bytes() == BODY
    assert server.ranges("a")[-1] == f"bytes={2**21}-"


def test_a_busy_server_is_asked_again(server, tmp_path):
    busy = [Reply(status=status) for status in (503, 429, 500)]
    assert fetch(file_at(server.put("a", *busy, Reply(BODY))), tmp_path).read_bytes() == BODY
    assert len(server.asked) == 4


def test_redirects_are_followed_but_not_for_ever(server, tmp_path):
    server.put("b", Reply(BODY))
    address = server.put("a", Reply(status=302, location="/b"))
    assert fetch(file_at(address), tmp_path / "good").read_bytes() == BODY
    loop = server.put("c", Reply(status=302, location="/c"))
    with pytest.raises(DownloadError, match="HTTP 302"):
        fetch(file_at(loop), tmp_path / "loop")


def test_a_length_that_is_not_said(server, tmp_path):
    address = server.put("a", Reply(BODY, length=-1))
    assert fetch(file_at(address, size=len(BODY)), tmp_path / "a").read_bytes() == BODY
    server.put("a", Reply(BODY, length=-1, cut=2**20 + 5), Reply(BODY, length=-1))
    assert fetch(file_at(address, size=len(BODY)), tmp_path / "b").read_bytes() == BODY


def test_silence_is_not_waited_for(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "SILENCE", 0.1)
    address = server.put("a", Reply(BODY, silent=0.4), Reply(BODY))
    assert fetch(file_at(address), tmp_path).read_bytes() == BODY


def test_nobody_there(tmp_path):
    with pytest.raises(DownloadError, match=r"does not answer \(.*refused"):
        fetch(file_at("http://127.0.0.1:9/x"), tmp_path)


def test_a_file_that_is_there_and_wrong_is_left_to_its_owner(server, tmp_path):
    (tmp_path / "x.bin").write_bytes(BODY[:100])
    file = file_at(server.put("a", Reply(BODY)), sha256=SHA256)
    with pytest.raises(DownloadError, match=r"x\.bin: its SHA256 is .*remove it"):
        fetch(file, tmp_path)
    assert not server.asked and (tmp_path / "x.bin").read_bytes() == BODY[:100]


def test_room_is_looked_for_first(server, tmp_path, monkeypatch):
    usage = collections.namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 2**20))
    with pytest.raises(OSError, match=r"needs 3\.1 MB, 1\.0 MB are free"):
        fetch(file_at(server.put("a", Reply(BODY))), tmp_path)
    assert names(tmp_path) == []


def test_a_disk_that_fills_up_keeps_what_has_come(server, tmp_path):
    file = file_at(server.put("a", Reply(BODY)), sha256=SHA256)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**21, before[1]))
    try:
        with pytest.raises(OSError, match="make room and run the command again") as caught:
            fetch(file, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not isinstance(caught.value, DataError)
    assert caught.value.filename == str(tmp_path / "x.bin.part")
    assert fetch(file, tmp_path).read_bytes() == BODY
    assert server.ranges("a")[1] == f"bytes={2**21}-"


def test_killed_again_and_again(server, tmp_path):
    """SIGKILL in mid-download; each further one goes on, and nobody else may come between."""
    address = server.put("a", Reply(BODY, slow=0.03))
    file, part = file_at(address, sha256=SHA256), tmp_path / "x.bin.part"
    forked = multiprocessing.get_context("fork")
    kept = [0]
    for k in range(4):
        child = forked.Process(target=fetch, args=(file, tmp_path))
        child.start()
        deadline = time.monotonic() + 20
        while not part.exists() or part.stat().st_size <= kept[-1]:
            assert child.is_alive() and time.monotonic() < deadline
            time.sleep(0.001)
        if k == 0:
            with pytest.raises(DataError, match="another process"):
                fetch(file, tmp_path)
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        assert not (tmp_path / "x.bin").exists()
        kept.append(part.stat().st_size)
    server.put("a", Reply(BODY))
    assert fetch(file, tmp_path).read_bytes() == BODY
    assert server.ranges("a") == [None, *(f"bytes={size}-" for size in kept[1:])]


@pytest.mark.parametrize("note", [b"", b"[]", b'{"address": 5}', b"\xff", b'{"total": "x"}'])
def test_a_damaged_note_starts_afresh(server, tmp_path, note):
    (tmp_path / "x.bin.part").write_bytes(OTHER[:500])
    (tmp_path / "x.bin.part.json").write_bytes(note)
    assert fetch(file_at(server.put("a", Reply(BODY))), tmp_path).read_bytes() == BODY


def test_killed_between_the_last_byte_and_the_name(server, tmp_path):
    address = server.put("a", Reply(BODY))
    (tmp_path / "x.bin.part").write_bytes(BODY)
    note = f'{{"address": "{address}", "validator": "\\"1\\"", "total": {len(BODY)}}}'
    (tmp_path / "x.bin.part.json").write_text(note)
    assert fetch(file_at(address), tmp_path).read_bytes() == BODY
    assert not server.asked and names(tmp_path) == ["x.bin"]


def test_one_at_a_time(tmp_path):
    with only_one(tmp_path / "x.bin"):
        with pytest.raises(DataError, match="another process is at work on it"):
            fetch(file_at("http://127.0.0.1:9/x"), tmp_path)


@pytest.mark.parametrize(
    ("name", "addresses"),
    [("../x", ("http://a/x",)), ("a/b", ("http://a/x",)), ("x", ()), ("x", ("file:///etc/x",))],
)
def test_a_slip_in_the_table_is_refused(name, addresses):
    with pytest.raises(ValueError, match="name of a file|must begin with"):
        RemoteFile(name, addresses)


def test_a_bar_and_what_went_wrong_are_shown(server, tmp_path, capsys):
    file = file_at(server.put("a", Reply(status=404)), server.put("b", Reply(BODY)))
    download.fetch(file, tmp_path)
    shown = capsys.readouterr().err
    assert "x.bin: 100%" in shown and "3.15M" in shown and "/a: HTTP 404 Not Found" in shown
