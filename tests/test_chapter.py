"""What chapters do with their page: code shown as it runs, tables, weights and data or why not."""

import torch

from a2i_lib.chapter import find_data, find_release, find_table, show_source, table
from a2i_lib.data.dataset import AttributeImages
from a2i_lib.gaussians import DiagonalGaussian
from a2i_lib.worlds import get_world


def test_the_code_that_is_shown_is_the_code_that_runs():
    shown = show_source(DiagonalGaussian.kl)
    assert shown.data.startswith("def kl(self") and shown.language == "python"


def test_a_table_is_markdown():
    shown = table(["model", 8], [["CVAE", 0.5], ["disCVAE", "no"]])
    assert shown.data == "| model | 8 |\n| --- | --- |\n| CVAE | 0.5 |\n| disCVAE | no |"


def test_a_bar_in_a_cell_ends_no_cell():
    head, _, line = table(["p(x | y)", "nats"], [["log p(x | z)", "|-3|"]]).data.splitlines()
    assert head == r"| p(x \| y) | nats |" and line == r"| log p(x \| z) | \|-3\| |"


def test_a_release_or_why_there_is_none(capsys):
    schema = get_world("faces").schema
    assert find_release("classifier-faces", schema).schema.names == schema.names
    assert capsys.readouterr().out == ""
    assert find_release("clasifier-faces", schema) is None
    assert "did you mean 'classifier-faces'" in capsys.readouterr().out


def test_a_stored_run_or_the_command_that_makes_it(tmp_path, monkeypatch, capsys):
    assert find_table("debbagh-table1")["runs"]
    monkeypatch.setenv("A2I_CHECKPOINTS", str(tmp_path))
    assert find_table("debbagh-table1") is None
    assert "a2i reproduce debbagh-table1 --data" in capsys.readouterr().out


def test_data_beside_the_chapter_or_above_it(tmp_path, monkeypatch, capsys):
    drawn = AttributeImages.from_world(get_world("faces"), 10, size=32, progress=False)
    drawn.save(tmp_path / "datasets" / "faces-32")
    chapters = tmp_path / "book"
    chapters.mkdir()
    for place in (tmp_path, chapters):
        monkeypatch.chdir(place)
        assert torch.equal(find_data("faces-32").attributes, drawn.attributes)
    assert find_data("lfw-64") is None
    assert "no datasets/lfw-64 here" in capsys.readouterr().out
