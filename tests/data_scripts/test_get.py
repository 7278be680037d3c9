"""The scripts in data_scripts/, and `a2i data get`: asked before anything is fetched, then prepared
for the book."""

import argparse
import hashlib
import io
import runpy
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import layouts
import pyarrow.parquet
import pytest
from loopback import Reply, serving
from parquet_files import LFW_NAMES, lfw_columns, write_parquet

from a2i_lib.data import AttributeImages, DataError
from a2i_lib.data.catalogue import CATALOGUE, Collection
from a2i_lib.data.cli import add_data_parser
from a2i_lib.data.download import RemoteFile

SCRIPTS = Path(__file__).resolve().parents[2] / "data_scripts"


@pytest.fixture
def served(tmp_path, monkeypatch):
    """LFW in the table has one file, on a server of this machine, in the form that the reader of
    Parquet takes; the working folder is empty."""
    raw = write_parquet(tmp_path / "lfw.parquet", lfw_columns(), LFW_NAMES).read_bytes()
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    with serving() as server:
        file = RemoteFile("lfw.parquet", (server.put("lfw", Reply(raw)),), about=len(raw))
        entry = Collection("lfw", "Faces", "http://faces.example/", "research only", (), (file,))
        monkeypatch.setitem(CATALOGUE, "lfw", entry)
        yield server


@pytest.fixture(scope="module")
def table():
    """As it stands, before a test changes it."""
    return dict(CATALOGUE)


@pytest.fixture
def script(monkeypatch, capsys):
    def run(name, *words):
        path = str(SCRIPTS / f"get_{name}.py")
        monkeypatch.setattr(sys, "argv", [path, *map(str, words)])
        try:
            runpy.run_path(path, run_name="__main__")
            code = 0
        except SystemExit as end:
            code = end.code
        return code, capsys.readouterr()

    return run


@pytest.mark.parametrize("name", ["lfw", "celeba", "cub", "casia"])
def test_the_scripts_explain_themselves(name, script):
    code, shown = script(name, "--help")
    assert code == 0 and "research" in shown.out
    for option in ("--from", "--out", "--size", "--yes", "--download-only", "--folder"):
        assert option in shown.out


def test_nothing_is_fetched_unasked(served, script):
    code, shown = script("lfw", "--mirror")
    assert code == 1 and "get_lfw.py: nothing was fetched" in shown.err and "--yes" in shown.err
    assert "terms: research only" in shown.out and not served.asked
    assert not Path("datasets").exists()


@pytest.mark.parametrize(("answer", "fetched"), [("y\n", 1), ("n\n", 0), ("\n", 0)])
def test_a_person_is_asked(served, script, monkeypatch, answer, fetched):
    terminal = io.StringIO(answer)
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stdin", terminal)
    code, _ = script("lfw", "--mirror", "--download-only")
    assert code == 1 - fetched and len(served.asked) == fetched


def test_from_a_server_to_the_books_format(served, script):
    code, shown = script("lfw", "--mirror", "--yes", "--size", 8, "--limit", 10, "--out", "few")
    assert code == 0 and "few: lfw: 10 images 8x8" in shown.out
    assert len(AttributeImages.load("few", verify=True)) == 10
    code, shown = script("lfw", "--mirror", "--size", 8)  # all there: no question
    assert code == 0 and "lfw.parquet: there already" in shown.out
    assert len(AttributeImages.load("datasets/lfw-8")) == 40 and len(served.asked) == 1


def test_download_only(served, script):
    code, shown = script("lfw", "--mirror", "--yes", "--download-only", "--folder", "here")
    assert code == 0 and "a2i data lfw --from here/lfw.parquet" in shown.out
    assert pyarrow.parquet.read_table("here/lfw.parquet").num_rows == 40
    assert not Path("datasets").exists()


def test_what_is_there_is_prepared_without_fetching(served, script, tmp_path):
    code, _ = script("lfw", "--from", tmp_path / "lfw.parquet", "--size", 8, "--out", "o")
    assert code == 0 and len(AttributeImages.load("o")) == 40 and not served.asked


def test_slips_show_before_anything_is_fetched(served, script):
    code, shown = script("lfw", "--mirror", "--yes", "--sise", 8)
    assert code == 2 and "--sise" in shown.err
    code, shown = script("lfw", "--from", "x", "--download-only")
    assert code == 1 and "choose one" in shown.err
    assert not served.asked


def publish(server, entry, root, whole):
    """The entry, with its files made from a layout under `root` and served from this machine."""
    files = []
    for file in entry.files:
        if file.unpack:
            packed = io.BytesIO()
            with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as opened:
                for path in (root / name for name in (whole.get(file.name) or [file.gives])):
                    opened.add(path, path.name)
            content = packed.getvalue()
        else:
            content = (root / file.name).read_bytes()
        address = server.put(file.name, Reply(content))
        known = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
        files.append(replace(file, addresses=(address,), md5=None, **known))
    return replace(entry, files=tuple(files))


@pytest.mark.parametrize("name", ["lfw", "celeba", "cub"])
def test_a_download_becomes_a_data_set(name, served, script, tmp_path, monkeypatch, table):
    """Official names and layouts, from the server to a folder that training reads."""
    root = tmp_path / "official"
    if name == "lfw":
        layouts.lfw(root)
        layouts.lfw_parts(root, 5)
    elif name == "celeba":
        layouts.celeba(root)
        layouts.pack(root / "img_align_celeba")
    else:
        layouts.cub(root, segmented=True)
        (root / "CUB_200_2011" / "segmentations").rename(root / "segmentations")
    whole = {"CUB_200_2011.tgz": ["attributes.txt", "CUB_200_2011"]}
    monkeypatch.setitem(CATALOGUE, name, publish(served, table[name], root, whole))
    code, shown = script(name, "--yes", "--size", 16, "--workers", 1)
    assert code == 0, shown.err
    data = AttributeImages.load(f"datasets/{name}-16", verify=True)
    assert len(data) == {"lfw": 40, "celeba": 20, "cub": 18}[name]
    assert (data.masks is not None) == (name == "cub")
    assert "rows read" in shown.out and len(served.asked) == len(table[name].files)


@pytest.mark.parametrize("name", ["lfw", "celeba", "cub"])
def test_errors_are_one_line(name, script, tmp_path):
    code, shown = script(name, "--from", tmp_path / "no.parquet", "--out", tmp_path / "never")
    assert code == 1 and shown.err.startswith(f"get_{name}.py: ") and "no such file" in shown.err
    assert shown.err.count("\n") == 1


def test_casia_says_whom_to_ask(script, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, shown = script("casia", "--download-only")
    assert code == 1 and "no open official download" in shown.err
    assert "downloads/casia/CASIA-WebFace" in shown.err


def test_on_the_command_line(served, capsys):
    def run(*words):
        parser = argparse.ArgumentParser()
        add_data_parser(parser.add_subparsers())
        arguments = parser.parse_args(["data", "get", *words])
        arguments.run(arguments)

    with pytest.raises(DataError, match="add --yes"):
        run("lfw", "--mirror")
    assert not served.asked
    run("lfw", "--mirror", "--yes", "--no-progress")
    assert "a2i data lfw --from downloads/lfw/lfw.parquet" in capsys.readouterr().out
    with pytest.raises(DataError, match="did you mean 'lfw'"):
        run("lwf")
