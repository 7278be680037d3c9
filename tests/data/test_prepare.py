"""`prepare` against the plain way in memory, whatever happens to it on the way.

Processes are killed for good here: `forked` runs a function in a child that shares nothing but
the disk, and which is sent SIGKILL at a line, or at a moment, drawn with a seed.
"""

import contextlib
import errno
import functools
import json
import multiprocessing
import os
import resource
import select
import shutil
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sources import Drawn, in_memory

from a2i_lib.data import AttributeImages, DataError, dataset, partial
from a2i_lib.data import prepare as prepare_module
from a2i_lib.data.lock import only_one
from a2i_lib.data.partial import partial_folder
from a2i_lib.data.prepare import prepare

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills processes that it forks")

N, SIZE = 60, 8


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Chunks of four rows, each in the journal at once; kills, unlike power cuts, need no fsync."""
    monkeypatch.setattr(partial, "BLOCK_BYTES", 4 * 4 * SIZE * SIZE)
    monkeypatch.setattr(partial, "COMMIT_SECONDS", 0.0)
    monkeypatch.setattr(os, "fsync", lambda number: None)


def made(source, out, size=SIZE, workers=1, **options):
    return prepare(source, out, size, workers=workers, progress=False, **options)


def contents(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def names(folder):
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def wanted(source, tmp_path, size=SIZE):
    """The files of the same data set, made in memory and saved the usual way."""
    folder = tmp_path / "wanted"
    files = contents(in_memory(source, size).save(folder, overwrite=True))
    return {name: data for name, data in files.items() if name.endswith(".npy")}


def arrays(folder):
    AttributeImages.load(folder, verify=True)
    return {name: data for name, data in contents(folder).items() if name.endswith(".npy")}


def forked(run):
    """Runs it in a child that ends without cleaning up; gives its process number."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        run()
        code = 0
    except KeyboardInterrupt:
        code = 130
    finally:
        os._exit(code)


def ended(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


class Counting(Drawn):
    """Notes which rows were asked for."""

    asked: list = []

    def picture(self, i):
        self.asked.append(i)
        return super().picture(i)


class Stopping(Drawn):
    """Raises, or does whatever `stop` does, at row 30."""

    def __init__(self, stop, **options):
        super().__init__(N, **options)
        self.stop = stop

    def picture(self, i):
        if i == 30:
            self.stop()
        return super().picture(i)


def interrupt():
    raise KeyboardInterrupt


def nothing():
    pass


def say_and_sleep(pipe, seconds):
    os.write(pipe, b"here")
    time.sleep(seconds)


# ---------------------------------------------------------------------- the result


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    "options", [{}, {"masks": False}, {"bad": [0, 17, 18, 59]}, {"gone": range(4, 9)}]
)
def test_the_files_are_those_made_in_memory(tmp_path, workers, options):
    source = Drawn(N, **options)
    data = made(source, tmp_path / "out", workers=workers, max_dropped=0.1)
    assert arrays(tmp_path / "out") == wanted(Drawn(N, **options), tmp_path)
    lost = len(source.bad) + len(source.gone)
    assert len(data) == N - lost == source.report.kept
    assert data.provenance == source.provenance | {"report": source.report.to_dict()}
    assert names(tmp_path) == ["out", "wanted"]


def test_the_number_of_workers_does_not_show(tmp_path):
    made(Drawn(N, bad=[5]), tmp_path / "one")
    made(Drawn(N, bad=[5]), tmp_path / "three", workers=3)
    assert contents(tmp_path / "one") == contents(tmp_path / "three")


def test_workers_that_are_spawned(tmp_path, monkeypatch):
    spawn = multiprocessing.get_context("spawn")
    monkeypatch.setattr(multiprocessing, "get_context", lambda method=None: spawn)
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None, raising=False)
    monkeypatch.setattr(sys.modules["__main__"], "__file__", None, raising=False)
    made(Drawn(N), tmp_path / "out", workers=2)
    assert arrays(tmp_path / "out") == wanted(Drawn(N), tmp_path)


@pytest.mark.parametrize("n", [1, 3, 4, 5])
def test_few_rows(tmp_path, n):
    made(Drawn(n), tmp_path / "out", workers=2)
    assert arrays(tmp_path / "out") == wanted(Drawn(n), tmp_path)


def test_the_header_is_the_one_that_save_writes(tmp_path):
    data = made(Drawn(N), tmp_path / "out")
    assert contents(data.save(tmp_path / "saved")) == contents(tmp_path / "out")


def test_chunks_are_as_large_as_they_may_be(tmp_path, monkeypatch):
    monkeypatch.undo()
    for size, rows in ((8, 256), (64, 256), (256, 16), (2048, 1)):
        work = partial.Partial(tmp_path / f"{size}", "x", 3, size, True)
        assert work.chunk == rows
        work.close()


# ---------------------------------------------------------------------- what is refused


def test_a_folder_that_exists(tmp_path):
    made(Drawn(8), tmp_path / "out")
    with pytest.raises(DataError, match="exists already"):
        made(Drawn(12), tmp_path / "out")
    assert len(made(Drawn(12), tmp_path / "out", overwrite=True)) == 12
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("years of work")
    with pytest.raises(DataError, match="not a data set of this library"):
        made(Drawn(8), tmp_path / "thesis", overwrite=True)
    assert names(tmp_path) == ["out", "thesis"]


def broken(**changes):
    source = Counting(N)
    for name, value in changes.items():
        setattr(source, name, value)
    return source


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        (broken(attributes=np.full((N, 2), np.nan, np.float32)), {}, "row 0, 'Smiling' is nan"),
        (broken(attributes=np.zeros((N, 3), np.float32)), {}, "attributes is .*expected"),
        (broken(split=np.full(N, 7, np.int8)), {}, "split has values"),
        (broken(provenance={"crop": Path}), {}, "provenance cannot be written as JSON"),
        (broken(n=0, attributes=np.zeros((0, 2), np.float32), split=np.zeros(0, np.int8)), {},
         "no images"),
        (broken(), {"size": 0}, "size 0"),
        (broken(), {"workers": 0}, "workers 0"),
        (broken(where=lambda i: f"{i}"), {"workers": 2}, "cannot be sent to other processes"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_before_anything_is_decoded(tmp_path, source, options, message):
    Counting.asked.clear()
    with pytest.raises(DataError, match=message):
        made(source, tmp_path / "out", **options)
    assert not Counting.asked and not (tmp_path / "out").exists()


# ---------------------------------------------------------------------- dropped rows


def test_too_many_dropped_rows_stop_it_and_are_reported(tmp_path):
    source = Counting(N, bad=[3, 9], gone=[20, 21])
    Counting.asked.clear()
    with pytest.raises(DataError) as raised:
        made(source, tmp_path / "out")
    shown = str(raised.value)
    assert "the pictures of 4 of 60 rows cannot be used, more than 5%" in shown
    assert (
        "2 dropped: picture unusable: bytes that are no image (drawn, row 3; drawn, row 9)" in shown
    )
    assert "2 dropped: picture unusable: No such file or directory (drawn, row 20; drawn" in shown
    assert str(partial_folder(tmp_path / "out")) in shown and max(Counting.asked) < 30
    assert not (tmp_path / "out").exists()
    assert len(made(source, tmp_path / "out", max_dropped=0.07)) == 56


def test_rows_put_right_are_fetched_and_no_others(tmp_path):
    with pytest.raises(DataError, match="6 of 60"):
        made(Drawn(N, bad=[3, 9, 10, 20, 21, 22]), tmp_path / "out")
    Counting.asked.clear()
    made(Counting(N), tmp_path / "out")
    assert Counting.asked == [3, 9, 10, 20, 21, 22, *range(24, 60)]
    assert arrays(tmp_path / "out") == wanted(Drawn(N), tmp_path)


def test_not_one_picture(tmp_path):
    for _ in range(2):
        with pytest.raises(DataError, match="8 of 8 rows"):
            made(Drawn(8, bad=range(8)), tmp_path / "out", max_dropped=1)
    assert not (tmp_path / "out").exists()


def test_two_sizes_of_one_source_count_each_drop_once(tmp_path):
    source = Drawn(N, bad=[7])
    source.report.drop("no attributes", "row 99")
    source.report.read = N + 1
    for size in (8, 12):
        data = made(source, tmp_path / f"{size}", size)
        report = data.provenance["report"]
        assert report == source.report.to_dict() and report["kept"] == 59 and report["read"] == 61


def test_reasons_that_differ_in_every_row_stay_readable(tmp_path):
    class Various(Drawn):
        def picture(self, i):
            raise ValueError(f"strange thing {i}") if i % 2 else KeyError(i)

    source = Various(N)
    with pytest.raises(DataError, match="strange thing 1"):
        made(source, tmp_path / "out", max_dropped=1)
    assert len(source.report.dropped) <= prepare_module.REASONS + 1
    assert "KeyError: 0" in str(source.report) and "other reasons" in str(source.report)


# ---------------------------------------------------------------------- continuing


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize(("stop", "code"), [(interrupt, 130), (kill, -signal.SIGKILL)])
def test_a_stopped_run_continues_where_it_was(tmp_path, stop, code):
    out = tmp_path / "out"
    assert ended(forked(lambda: made(Stopping(stop), out))) == code and not out.exists()
    Counting.asked.clear()
    made(Counting(N), out)
    assert Counting.asked == list(range(28, N))
    assert arrays(out) == wanted(Drawn(N), tmp_path)


def stopped(out, **options):
    with pytest.raises(KeyboardInterrupt):
        made(Stopping(interrupt, **options), out)


def change(name, value):
    return lambda source: setattr(source, name, value)


@pytest.mark.parametrize(
    "other",
    [
        change("attributes", np.ones((N, 2), np.float32)),
        change("split", np.ones(N, np.int8)),
        change("provenance", {"source": "other random numbers"}),
        change("where", lambda i: f"elsewhere, row {i}"),
        change("has_masks", False),
        change("name", "renamed"),
    ],
)
def test_another_source_starts_afresh(tmp_path, other):
    stopped(tmp_path / "out")
    source = Counting(N)
    other(source)
    Counting.asked.clear()
    made(source, tmp_path / "out")
    assert Counting.asked == list(range(N))
    assert arrays(tmp_path / "out") == wanted(source, tmp_path)


def test_another_size_starts_afresh(tmp_path):
    stopped(tmp_path / "out")
    made(Stopping(nothing), tmp_path / "out", 6)
    assert arrays(tmp_path / "out") == wanted(Drawn(N), tmp_path, 6)


@pytest.mark.parametrize("damage", ["cut", "zeros", "rubbish", "no images", "short images"])
def test_a_damaged_working_folder_is_never_believed(tmp_path, damage):
    out, folder = tmp_path / "out", partial_folder(tmp_path / "out")
    files = wanted(Drawn(N, bad=[9]), tmp_path)
    stopped(out, bad=[9])
    kept = contents(folder)
    journal = kept["journal"]
    ends = range(0, len(journal), 83) if damage == "cut" else [len(journal) // 2]
    for end in ends:
        folder.mkdir(exist_ok=True)
        for name, data in kept.items():
            (folder / name).write_bytes(data)
        if damage == "cut":
            (folder / "journal").write_bytes(journal[:end])
        elif damage == "zeros":  # as some file systems leave a file after a power cut
            (folder / "journal").write_bytes(journal[:end] + bytes(300))
        elif damage == "rubbish":
            (folder / "journal").write_bytes(journal[:end] + b"[1]\n" + journal[end:])
        elif damage == "no images":
            (folder / "images.npy").unlink()
        else:
            (folder / "images.npy").write_bytes(kept["images.npy"][:-1])
        made(Stopping(nothing, bad=[9]), out)
        assert arrays(out) == files
        shutil.rmtree(out)


# ---------------------------------------------------------------------- kills


def at_line(number):
    """SIGKILL for this process when it comes to that line executed in the modules that write."""
    files = {module.__file__ for module in (partial, prepare_module, dataset)}
    count = 0

    def trace(frame, event, argument):
        nonlocal count
        if frame.f_code.co_filename not in files:
            return None
        count += event == "line"
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)
    return lambda: count


def lines_of(run):
    """How many lines a run has."""
    read, write = os.pipe()

    def count():
        lines = at_line(-1)
        run()
        sys.settrace(None)
        os.write(write, str(lines()).encode())

    assert ended(forked(count)) == 0
    os.close(write)
    with open(read) as file:
        return int(file.read())


def state_of(out, new, old=None):
    """What a kill has left: nothing, the old data set, or the new one complete."""
    if not out.exists():
        return "absent"
    files = arrays(out)
    assert files in (new, old)
    return "new" if files == new else "old"


@pytest.mark.parametrize("replace", [False, True])
def test_killed_at_any_line(tmp_path, replace):
    """Each kill hits a fresh preparation, and what it has left is then continued, or hit again."""
    source, out = Drawn(24, bad=[9]), tmp_path / "out"
    old, new = wanted(Drawn(8), tmp_path), wanted(source, tmp_path)
    generator = np.random.default_rng(int(replace))
    run = {"max_dropped": 0.1, "overwrite": replace}
    total = lines_of(lambda: made(Drawn(24, bad=[9]), tmp_path / "count", **run))
    last = total - generator.integers(0, 300, 8)  # finishing and renaming, closely
    moments = [*generator.integers(1, total, 7), *last]
    seen = set()
    for moment in moments:
        if replace:
            made(Drawn(8), out, overwrite=True)
        for again in (0, moment // 2):
            child = forked(
                lambda m=moment - again: (at_line(m), made(Drawn(24, bad=[9]), out, **run))
            )
            assert ended(child) in (-signal.SIGKILL, 0)
            seen.add(state_of(out, new, old))
            if state_of(out, new, old) == "new":
                break
        else:
            made(source, out, **run)
        assert state_of(out, new) == "new"
        assert {*names(tmp_path)} - {".out.partial"} == {"out", "wanted", "count"}
        if not replace:
            shutil.rmtree(out)
    assert seen >= {"old", "new"} if replace else {"absent", "new"}


@pytest.mark.parametrize("seed", range(2))
def test_killed_at_random_moments_until_it_is_done(tmp_path, seed):
    """With processes under it; a kill, the next start, and so on."""
    out, generator = tmp_path / "out", np.random.default_rng(seed)
    new = wanted(Slow(24, bad=[9]), tmp_path)
    for kills in range(60):
        child = forked(lambda: made(Slow(24, bad=[9]), out, workers=2))
        with contextlib.suppress(ProcessLookupError):
            time.sleep(generator.uniform(0, 0.04 * (kills + 1)))  # ever later: it ends some day
            os.kill(child, signal.SIGKILL)
        if ended(child) == 0 or state_of(out, new) == "new":
            break
    assert kills > 0 and state_of(out, new) == "new"


class Slow(Drawn):
    def picture(self, i):
        time.sleep(0.004)
        return super().picture(i)


def test_workers_end_when_their_parent_is_killed(tmp_path):
    """They hold the writing end of a pipe, whose reading end then comes to its end."""
    read, write = os.pipe()

    def run():
        os.close(read)
        made(Stopping(functools.partial(say_and_sleep, write, 60)), tmp_path / "out", workers=2)

    child = forked(run)
    os.close(write)
    assert os.read(read, 4) == b"here"
    os.kill(child, signal.SIGKILL)
    ended(child)
    made(Drawn(8), tmp_path / "out")  # the lock has died with it
    assert select.select([read], [], [], 10)[0] and os.read(read, 1) == b""
    os.close(read)


def test_a_worker_that_dies_is_an_error_and_the_rest_is_kept(tmp_path):
    with pytest.raises(DataError, match="a decoding process ended unexpectedly"):
        made(Stopping(functools.partial(os._exit, 9)), tmp_path / "out", workers=2)
    assert not (tmp_path / "out").exists()
    made(Stopping(nothing), tmp_path / "out", workers=2)
    assert arrays(tmp_path / "out") == wanted(Drawn(N), tmp_path)


def test_ctrl_c_with_workers(tmp_path):
    """The signal goes to the whole group of processes, as from a terminal."""
    read, write = os.pipe()

    def run():
        os.setpgid(0, 0)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        made(Stopping(functools.partial(say_and_sleep, write, 0.3)), out, workers=2)

    out = tmp_path / "out"
    child = forked(run)
    os.close(write)
    assert os.read(read, 4) == b"here"
    os.killpg(child, signal.SIGINT)
    assert ended(child) == 130 and not out.exists()
    journal = (partial_folder(out) / "journal").read_bytes().splitlines()
    assert all(json.loads(line) for line in journal)
    os.close(read)


# ---------------------------------------------------------------------- at once


def test_a_second_preparation_of_the_same_folder_stops(tmp_path):
    out = tmp_path / "out"
    ready, go = os.pipe(), os.pipe()
    child = forked(
        lambda: made(Stopping(lambda: (os.write(ready[1], b"x"), os.read(go[0], 1))), out)
    )
    os.read(ready[0], 1)
    before = contents(partial_folder(out))
    with pytest.raises(DataError, match="another process is at work on it"):
        made(Drawn(N), out)
    assert contents(partial_folder(out)) == before
    made(Drawn(N), tmp_path / "other")  # another folder is nobody's business
    os.write(go[1], b"x")
    assert ended(child) == 0 and arrays(out) == arrays(tmp_path / "other")
    for end in (*ready, *go):
        os.close(end)


def test_the_lock_holds_against_this_process_too(tmp_path):
    with only_one(tmp_path / "a" / "b"):
        with pytest.raises(DataError, match="another process"):
            with only_one(tmp_path / "a" / "b"):
                pass
        with only_one(tmp_path / "a" / "c"):
            pass
    with only_one(tmp_path / "a" / "b"):
        pass


def test_many_at_once_and_one_gets_it(tmp_path):
    out, new = tmp_path / "out", wanted(Drawn(16), tmp_path)
    children = [forked(lambda: made(Drawn(16), out)) for _ in range(6)]
    codes = [ended(child) for child in children]
    assert codes.count(0) == 1 and codes.count(1) == 5 and arrays(out) == new
    assert names(tmp_path) == ["out", "wanted"]


# ---------------------------------------------------------------------- the disk


@pytest.mark.parametrize("what", ["write", "fsync"])
@pytest.mark.parametrize("number", [*range(1, 40, 8), *range(42, 60, 3)])
def test_a_full_disk(tmp_path, monkeypatch, what, number):
    """The disk takes half of a write and then no more; when there is room, it goes on."""
    source, out, calls = Drawn(24, bad=[9]), tmp_path / "out", []
    new = wanted(source, tmp_path)
    write, fsync = partial.write_all, os.fsync

    def full(real, *arguments):
        calls.append(1)
        if len(calls) < number:
            return real(*arguments)
        if real is write:
            file, data = arguments
            file.write(bytes(data)[: len(bytes(data)) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(partial, "write_all", lambda *a: full(write, *a)) if what == "write" else (
            patch.setattr(os, "fsync", lambda *a: full(fsync, *a))
        )
        try:
            made(source, out)
        except OSError as error:
            assert error.errno == errno.ENOSPC and "the disk is full; what is done" in str(error)
            assert not out.exists() or arrays(out) == new
        else:
            assert len(calls) < number
    if not out.exists():
        made(source, out)
    assert arrays(out) == new


def test_the_journal_speaks_of_nothing_that_is_not_on_the_disk(tmp_path, monkeypatch):
    """Seen from the disk: which files were changed since they were last made sure of."""
    dirty, written = set(), []
    write = partial.write_all

    def name(number):
        return Path(os.readlink(f"/proc/self/fd/{number}")).name

    def note(file, data):
        write(file, data)
        if name(file.fileno()) == "journal" and len(data):
            assert not dirty, f"{data} while {dirty} are on their way"
            written.append(data)
        dirty.add(name(file.fileno()))

    monkeypatch.setattr(partial, "write_all", note)
    monkeypatch.setattr(os, "fsync", lambda number: dirty.discard(name(number)))
    made(Drawn(N, bad=[9]), tmp_path / "out")
    assert len(written) == N // 4 + 1 and b"finished" in written[-1] and not dirty


def test_other_errors_of_the_disk_are_told_as_they_are(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        made(Drawn(8), tmp_path / "file" / "out")


# ---------------------------------------------------------------------- memory


class Plain(Drawn):
    """Fast, so that there can be many."""

    def picture(self, i):
        if i in self.bad:
            raise ValueError("bad")
        return Image.new("RGB", (64, 64), (i % 256, 0, 0))


def test_memory_does_not_grow_with_the_rows(tmp_path, monkeypatch):
    monkeypatch.undo()
    n = 6000  # 74 MB of pixels
    read, write = os.pipe()

    def run():
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        made(Plain(n, bad=range(0, n, 100), masks=False), tmp_path / "out", 64)
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        os.write(write, str((after - before) / 1024).encode())

    assert ended(forked(run)) == 0
    grown = float(os.read(read, 100))
    assert grown < 30, f"{grown:.0f} MB"
    data = AttributeImages.load(tmp_path / "out")
    rows = torch.tensor([i for i in range(n) if i % 100])
    assert torch.equal(data.images[:, 0, 5, 5], (rows % 256).to(torch.uint8))
    for end in (read, write):
        os.close(end)
