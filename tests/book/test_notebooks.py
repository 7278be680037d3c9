"""Every chapter keeps the form that CONTRIBUTING.md describes."""

import re
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode
from notebooks import BADGE, PARAMETERS, SETUP, address, chapters, colab_link, read, tags, tidy

CHAPTERS = chapters()


def test_there_are_chapters() -> None:
    assert [chapter.stem for chapter in CHAPTERS][:3] == ["01-attributes", "02-vae", "03-cvae"]


@pytest.fixture(params=CHAPTERS, ids=lambda path: path.stem)
def chapter(request: pytest.FixtureRequest) -> Path:
    return request.param


@pytest.fixture
def notebook(chapter: Path) -> NotebookNode:
    return read(chapter)


def markdown(notebook: NotebookNode) -> list[str]:
    return [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]


def code(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_committed_form(chapter: Path, notebook: NotebookNode) -> None:
    """Address, header, no outputs but the checked ones: what `make strip` writes."""
    assert chapter.read_text() == nbformat.writes(tidy(notebook, chapter.name)) + "\n", (
        f"run `make strip` to put {chapter.name} into its committed form"
    )


def test_address_comes_from_the_configuration(chapter: Path, notebook: NotebookNode) -> None:
    title, _, button, *_ = notebook.cells[0].source.splitlines()
    assert title.startswith("# ")
    assert button == f"{BADGE}({colab_link(chapter.name)})"
    assert colab_link(chapter.name).endswith(f"/blob/{address()['branch']}/book/{chapter.name}")
    everything = "\n".join(cell.source for cell in notebook.cells)
    links = re.findall(r"github\.com/[\w.-]+/[\w.-]+|/github/[\w.-]+/[\w.-]+", everything)
    own = address()["url"].removeprefix("https://github.com/")
    assert all(link.endswith(own) for link in links if own.split("/")[0] in link)


def test_setup_then_parameters(notebook: NotebookNode) -> None:
    setup, parameters, *_ = code(notebook)
    assert tags(setup) == ["setup"]
    assert setup.source == SETUP.format(**address()).rstrip("\n")
    assert tags(parameters) == ["parameters"]
    names: dict[str, object] = {}
    exec(parameters.source, names)
    assert names["profile"] == "cpu"
    assert {"world", "seed"} <= names.keys()
    assert list(re.findall(r"^(\w+) = ", PARAMETERS, re.M)) == ["profile", "world", "seed"]


def test_every_exercise_has_a_worked_solution(notebook: NotebookNode) -> None:
    _, _, text = "\n".join(markdown(notebook)).partition("Exercises\n")
    exercises = re.findall(r"^(?:### Exercise |\*\*)(\d+)[.:]", text, re.M)
    solutions = [cell for cell in code(notebook) if "solution" in tags(cell)]
    titles = [re.match(r"# ?@title Solution (\d+)\n", cell.source) for cell in solutions]
    assert all(titles), "a solution's first line is '# @title Solution k'"
    assert exercises == [match[1] for match in titles if match]
    assert 3 <= len(exercises) <= 6


def test_reads_well_outside_the_book(notebook: NotebookNode) -> None:
    """No MyST directives or roles: JupyterLab and Colab would show them raw."""
    for text in markdown(notebook):
        assert not re.search(r"^(```+|:::+)\{|\{[\w:-]+\}`", text, re.M), text[:200]


def test_widgets_live_without_a_kernel(notebook: NotebookNode) -> None:
    """An Output widget stays empty in the page, and can hang papermill: draw into an Image."""
    for cell in code(notebook):
        assert not re.search(r"\b(widgets\.Output|interact\w*)\(", cell.source), cell.source


def test_identities_are_checked(notebook: NotebookNode) -> None:
    checked = [cell for cell in code(notebook) if "nbval-check-output" in tags(cell)]
    assert checked, "no cell is tagged nbval-check-output"
    assert all(cell.outputs for cell in checked), "a checked cell has no stored output"


def test_no_stored_error(notebook: NotebookNode) -> None:
    for cell in code(notebook):
        assert all(output.output_type != "error" for output in cell.outputs)
