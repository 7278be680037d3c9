"""The form in which every chapter is committed; run as a script, it puts all chapters into it.

A chapter begins with
    a Markdown cell: the title, and the line with the Colab button;
    a code cell tagged `setup`, which installs the library where it is missing (Colab);
    a code cell tagged `parameters`: profile, world, seed.
Button and setup cell carry the repository's address; it stands in `_config.yml` and nowhere else.
Stored outputs stay only in cells tagged `nbval-check-output`; building the book makes the others.
A cell tagged `solution` is folded away in JupyterLab, Colab and the rendered page alike.
"""

import sys
from pathlib import Path

import nbformat
import yaml
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

ROOT = Path(__file__).parents[2]
BOOK = ROOT / "book"

BADGE = "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
SETUP = """\
# Where the library is missing, as on Colab, this installs it.
import importlib.util

if importlib.util.find_spec("a2i_lib") is None:
    %pip install -q "a2i-lib @ git+{url}@{branch}"
"""
PARAMETERS = """\
profile = "cpu"  # "smoke" (seconds), "cpu" (minutes on two cores) or "gpu" (the papers' sizes)
world = "faces"  # a drawn world: {worlds}
seed = 0
"""
KERNEL = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
KEPT_CELL_METADATA = {"tags", "mystnb", "cellView", "jupyter"}


def chapters() -> list[Path]:
    """The chapters' notebooks, in reading order."""
    return sorted(BOOK.glob("[0-9][0-9]-*.ipynb"))


def address() -> dict[str, str]:
    """`url` and `branch` of the public repository, from `_config.yml`."""
    repository = yaml.safe_load((ROOT / "_config.yml").read_text())["repository"]
    return {"url": repository["url"], "branch": repository["branch"]}


def colab_link(name: str) -> str:
    """Where the chapter of this file name opens in Colab."""
    owner = address()["url"].removeprefix("https://github.com/")
    return (
        f"https://colab.research.google.com/github/{owner}/blob/{address()['branch']}/book/{name}"
    )


def tags(cell: NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


def worlds(notebook: NotebookNode) -> list[str]:
    """The worlds that the chapter runs on, first its own: notebook metadata `a2i.worlds`."""
    return notebook.metadata.get("a2i", {}).get("worlds", ["faces"])


def write_header(notebook: NotebookNode, name: str) -> None:
    """Set the Colab button and the setup cell; add the parameters cell where it is missing."""
    first = notebook.cells[0]
    if first.cell_type != "markdown" or not first.source.startswith("# "):
        raise ValueError(f"{name}: the first cell must be Markdown and start with '# Title'")
    title, *rest = first.source.splitlines()
    text = "\n".join(line for line in rest if not line.startswith(BADGE)).strip("\n")
    first.source = f"{title}\n\n{BADGE}({colab_link(name)})\n\n{text}".rstrip("\n")

    code = {tag: cell for cell in notebook.cells for tag in tags(cell)}
    if "setup" not in code:
        code["setup"] = new_code_cell(metadata={"tags": ["setup"]})
        notebook.cells.insert(1, code["setup"])
    code["setup"].source = SETUP.format(**address()).rstrip("\n")
    if "parameters" not in code:
        source = PARAMETERS.format(worlds=" or ".join(f'"{w}"' for w in worlds(notebook)))
        cell = new_code_cell(source.rstrip("\n"), metadata={"tags": ["parameters"]})
        notebook.cells.insert(notebook.cells.index(code["setup"]) + 1, cell)


def fold_solutions(notebook: NotebookNode) -> None:
    """Hide the source of every cell tagged `solution`, in each of the three places it is read."""
    for cell in notebook.cells:
        if "solution" in tags(cell):
            cell.metadata.tags = sorted({*tags(cell), "hide-cell"})
            cell.metadata.update(
                cellView="form",
                jupyter={"source_hidden": True},
                mystnb=cell.metadata.get("mystnb", {})  # with the picture's description
                | {"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide it"},
            )


def strip(notebook: NotebookNode) -> None:
    """Drop outputs that are not checked, counts, and what the machine left behind."""
    kept = {"a2i": notebook.metadata["a2i"]} if "a2i" in notebook.metadata else {}
    notebook.metadata = nbformat.from_dict(KERNEL | kept)
    for cell in notebook.cells:
        cell.metadata = {k: v for k, v in cell.metadata.items() if k in KEPT_CELL_METADATA}
        if cell.cell_type == "code":
            cell.execution_count = None
            if "nbval-check-output" not in tags(cell):
                cell.outputs = []
            for output in cell.outputs:
                output.pop("execution_count", None)
                if output.output_type == "execute_result":
                    output.execution_count = None


def tidy(notebook: NotebookNode, name: str) -> NotebookNode:
    """The notebook in its committed form, changed in place."""
    write_header(notebook, name)
    strip(notebook)
    fold_solutions(notebook)
    nbformat.validate(notebook)
    return notebook


def read(path: Path) -> NotebookNode:
    return nbformat.read(path, as_version=4)


def main(names: list[str]) -> None:
    for path in [Path(name) for name in names] or chapters():
        before = path.read_text()
        nbformat.write(tidy(read(path), path.name), path)
        if path.read_text() != before:
            print(f"changed {path}")


if __name__ == "__main__":
    main(sys.argv[1:])
