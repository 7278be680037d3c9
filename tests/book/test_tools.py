"""The tools that keep, execute and stage the chapters, on a chapter made here."""

import json
from pathlib import Path

import build
import nbformat
import notebooks
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output


@pytest.fixture
def chapter() -> nbformat.NotebookNode:
    printed = new_output("stream", text="2\n")
    left_over = {"tags": ["nbval-check-output"], "papermill": {"duration": 1}}
    return new_notebook(
        metadata={"a2i": {"worlds": ["faces", "birds"]}, "papermill": {"input_path": "here"}},
        cells=[
            new_markdown_cell("# Title\n\nWhat you will learn."),
            new_code_cell("1 + 1", outputs=[printed], execution_count=3),
            new_code_cell("print(2)", outputs=[printed], execution_count=4, metadata=left_over),
            new_code_cell("#@title Solution 1\n2", metadata={"tags": ["solution"]}),
        ],
    )


def test_tidy_writes_header_and_drops_outputs(chapter: nbformat.NotebookNode) -> None:
    title, setup, parameters, plain, checked, solution = notebooks.tidy(chapter, "01-a.ipynb").cells
    assert notebooks.address()["url"] in setup.source
    assert notebooks.colab_link("01-a.ipynb") in title.source
    assert title.source.endswith("What you will learn.")
    assert '"faces" or "birds"' in parameters.source
    assert plain.outputs == [] and len(checked.outputs) == 1
    assert plain.execution_count is checked.execution_count is None
    assert checked.metadata == {"tags": ["nbval-check-output"]}
    assert solution.metadata.cellView == "form" and solution.metadata.jupyter.source_hidden
    assert "papermill" not in chapter.metadata and "a2i" in chapter.metadata


def test_tidy_twice_is_tidy_once(chapter: nbformat.NotebookNode) -> None:
    once = nbformat.writes(notebooks.tidy(chapter, "01-a.ipynb"))
    assert nbformat.writes(notebooks.tidy(chapter, "01-a.ipynb")) == once


def test_a_new_address_reaches_button_and_setup(
    chapter: nbformat.NotebookNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    notebooks.tidy(chapter, "01-a.ipynb")
    moved = {"url": "https://github.com/else/where", "branch": "trunk"}
    monkeypatch.setattr(notebooks, "address", lambda: moved)
    notebooks.tidy(chapter, "01-a.ipynb")
    assert "git+https://github.com/else/where@trunk" in chapter.cells[1].source
    assert "/github/else/where/blob/trunk/book/01-a.ipynb" in chapter.cells[0].source
    assert chapter.cells[0].source.count("colab-badge") == 1


def test_a_chapter_without_title_is_refused() -> None:
    with pytest.raises(ValueError, match="01-a.ipynb: the first cell"):
        notebooks.tidy(new_notebook(cells=[new_code_cell("1")]), "01-a.ipynb")


def test_digest_follows_notebook_and_parameters(chapter: nbformat.NotebookNode) -> None:
    first = build.digest(chapter, {"seed": 0})
    assert build.digest(chapter, {"seed": 0}) == first
    assert build.digest(chapter, {"seed": 1}) != first
    chapter.cells[1].outputs = []
    assert build.digest(chapter, {"seed": 0}) == first
    chapter.cells[1].metadata["mystnb"] = {"image": {"alt": "A line that rises."}}
    described = build.digest(chapter, {"seed": 0})
    assert described != first
    chapter.cells[1].source = "1 + 2"
    assert build.digest(chapter, {"seed": 0}) not in (first, described)


def test_digest_follows_library_checkpoints_and_lock(
    chapter: nbformat.NotebookNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = ["requirements.lock", "a2i_lib/models/vae.py", "book/checkpoints/vae/card.json"]
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("before")
    monkeypatch.setattr(build, "ROOT", tmp_path)
    monkeypatch.setattr(build, "BOOK", tmp_path / "book")
    seen = {build.digest(chapter, {})}
    for name in files:
        (tmp_path / name).write_text("after")
        seen.add(build.digest(chapter, {}))
    assert len(seen) == 4


def test_an_unchanged_chapter_is_not_executed_again(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = new_notebook(
        metadata=notebooks.KERNEL,
        cells=[
            new_code_cell("seed = 0\nprofile = 'cpu'", metadata={"tags": ["parameters"]}),
            new_code_cell("print(profile)"),
        ],
    )
    path = tmp_path / "07-small.ipynb"
    nbformat.write(source, path)
    monkeypatch.setattr(build, "BOOK", tmp_path)
    first = build.execute(path, tmp_path / "out", "smoke", vary=False)
    again = build.execute(path, tmp_path / "out", "smoke", vary=False)
    assert not first["cached"] and again["cached"]
    assert "unchanged" in capsys.readouterr().out
    assert "smoke" in (tmp_path / "out" / path.name).read_text()
    source.cells[1].source = "print(seed)"
    nbformat.write(source, path)
    assert not build.execute(path, tmp_path / "out", "smoke", vary=False)["cached"]
    record = json.loads((tmp_path / "out" / "07-small.json").read_text())
    assert record["seconds"] > 0 and "PyTorch" in record["machine"]


def test_only_what_differs_is_injected(chapter: nbformat.NotebookNode) -> None:
    notebooks.tidy(chapter, "01-a.ipynb")
    chosen = build.chosen_parameters(chapter, "cpu", vary=True)
    assert chosen == {"profile": "cpu", "seed": 1, "world": "birds"}
    assert build.different(chapter, chosen) == {"seed": 1, "world": "birds"}


def test_a_staged_chapter_asks_for_no_outside_picture(
    chapter: nbformat.NotebookNode, tmp_path: Path
) -> None:
    nbformat.write(notebooks.tidy(chapter, "01-a.ipynb"), tmp_path / "in.ipynb")
    record = {"started": "now", "seconds": 3, "machine": "a loom", "parameters": {"profile": "cpu"}}
    build.stage_chapter(tmp_path / "in.ipynb", tmp_path / "out.ipynb", record)
    staged = notebooks.read(tmp_path / "out.ipynb")
    assert "colab-badge" not in staged.cells[0].source
    assert notebooks.colab_link("01-a.ipynb") in staged.cells[0].source
    assert "in 3 s" in staged.cells[-1].source and "a loom" in staged.cells[-1].source


def test_every_module_has_its_page() -> None:
    pages = "\n".join(build.api_pages().values())
    modules = [path for path in (build.ROOT / "a2i_lib").rglob("*.py") if path.stem[0] != "_"]
    assert modules
    for path in modules:
        name = ".".join(path.relative_to(build.ROOT).with_suffix("").parts)
        assert f".. automodule:: {name}\n" in pages
