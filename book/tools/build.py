"""Execute the chapters and render the book.

    build.py --profile cpu --out _build          executes what changed, renders _build/html
    build.py --profile smoke --prepare FOLDER    only writes parameterised copies, for nbval

Executed chapters are kept under OUT/executed with a record of what went in; one whose inputs are
the same as in its record is not executed again.
"""

import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import nbformat
import papermill
import psutil
import yaml
from kernels import FOR_NBVAL, STARTS, fork_kernels
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell
from notebooks import BADGE, BOOK, ROOT, chapters, read, tags, worlds
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook

CELL_SECONDS = 1800  # a cell that takes longer hangs
NOT_STAGED = shutil.ignore_patterns("tools", "checkpoints", "*.ipynb", ".*", "__*")


def machine() -> str:
    """The processor, cores, memory, Python and PyTorch of this machine, in words."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    model = models[0] if models else platform.processor() or platform.machine()
    memory = round(psutil.virtual_memory().total / 2**30)
    software = f"Python {platform.python_version()}, PyTorch {version('torch')}"
    return f"{os.cpu_count()} cores of {model}, {memory} GiB, {software}"


# ---------------------------------------------------------------- executing


def chosen_parameters(notebook: NotebookNode, profile: str, vary: bool) -> dict[str, object]:
    """What to inject: the profile, and for a varied run another seed and the last world."""
    chosen: dict[str, object] = {"profile": profile}
    if vary:
        chosen |= {"seed": 1, "world": worlds(notebook)[-1]}
    return chosen


def input_files() -> Iterator[Path]:
    yield ROOT / "requirements.lock"
    for folder, pattern in [(ROOT / "a2i_lib", "*.py"), (BOOK / "checkpoints", "*")]:
        yield from sorted(file for file in folder.rglob(pattern) if file.is_file())


def digest(notebook: NotebookNode, parameters: dict[str, object]) -> str:
    """SHA-256 over everything that decides what the chapter's run gives, and how it is shown."""
    cells = [(cell.cell_type, cell.source, cell.metadata) for cell in notebook.cells]
    total = hashlib.sha256(json.dumps([cells, parameters, sys.version]).encode())
    for file in input_files():
        total.update(str(file.relative_to(ROOT)).encode())
        total.update(hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()


def different(notebook: NotebookNode, parameters: dict[str, object]) -> dict[str, object]:
    """Those parameters whose value differs from what the chapter's own cell says."""
    stated: dict[str, object] = {}
    for cell in notebook.cells:
        if "parameters" in tags(cell):
            exec(cell.source, stated)
    return {name: value for name, value in parameters.items() if stated.get(name) != value}


def execute(chapter: Path, folder: Path, profile: str, vary: bool) -> dict:
    """Run one chapter into `folder` unless its inputs are unchanged; returns the run's record."""
    notebook = read(chapter)
    parameters = chosen_parameters(notebook, profile, vary)
    inputs = digest(notebook, parameters)
    target, record_file = folder / chapter.name, folder / f"{chapter.stem}.json"
    if target.exists() and record_file.exists():
        record = json.loads(record_file.read_text())
        if record["inputs"] == inputs:
            print(f"{chapter.stem}: unchanged, not executed again")
            return record | {"cached": True}

    folder.mkdir(parents=True, exist_ok=True)
    print(f"{chapter.stem}: executing with {parameters}", flush=True)
    partial = folder / f"{chapter.stem}.partial.ipynb"
    started, clock = datetime.now(UTC), time.perf_counter()
    run_notebook(chapter, partial, different(notebook, parameters))
    record = {
        "chapter": chapter.stem,
        "inputs": inputs,
        "parameters": parameters,
        "started": started.strftime("%Y-%m-%d %H:%M UTC"),
        "seconds": round(time.perf_counter() - clock, 1),
        "machine": machine(),
    }
    record_file.unlink(missing_ok=True)
    partial.replace(target)
    record_file.write_text(json.dumps(record, indent=1))
    return record | {"cached": False}


def run_notebook(chapter: Path, out: Path, parameters: dict[str, object]) -> None:
    """Papermill, and again where the kernel did not come to life."""
    for left in reversed(range(STARTS)):
        try:
            papermill.execute_notebook(
                chapter,
                out,
                parameters=parameters,
                kernel_name="python3",
                cwd=BOOK,
                execution_timeout=CELL_SECONDS,
                progress_bar=sys.stderr.isatty(),
                request_save_on_cell_execute=False,
            )
            return
        except RuntimeError as error:
            if not left or "died before replying" not in str(error):
                raise


def execute_all(folder: Path, profile: str, vary: bool, jobs: int) -> list[dict]:
    """All chapters' records, in the book's order; `jobs` run at once and share the cores."""
    if jobs > 1:  # kernels inherit it
        os.environ["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // jobs))
    with ProcessPoolExecutor(jobs) as pool:  # papermill changes the working directory
        runs = [pool.submit(execute, chapter, folder, profile, vary) for chapter in chapters()]
        try:
            return [run.result() for run in runs]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


# ---------------------------------------------------------------- rendering


def run_note(record: dict) -> str:
    profile = record["parameters"]["profile"]
    return (
        f"*Executed on {record['started']} in {record['seconds']:.0f} s, profile `{profile}`, "
        f"on {record['machine']}.*"
    )


def stage_chapter(executed: Path, target: Path, record: dict) -> None:
    """The executed chapter as the page shows it: local images only, and a note on its run."""
    notebook = read(executed)
    notebook.metadata.pop("papermill", None)
    for cell in notebook.cells:
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
    first = notebook.cells[0]
    first.source = first.source.replace(BADGE, "[Open in Colab]")
    notebook.cells.append(new_markdown_cell(f"---\n\n{run_note(record)}"))
    nbformat.write(notebook, target)


def colophon(records: list[dict]) -> str:
    """A page that says when, how long, with what and on what machine each chapter ran."""
    rows = ""
    for record in records:
        given = ", ".join(f"{name} = {value}" for name, value in record["parameters"].items())
        rows += (
            f"| [{record['chapter']}]({record['chapter']}.ipynb) | {record['started']} "
            f"| {record['seconds']:.0f} s | {given} | {record['machine']} |\n"
        )
    used = ", ".join(f"{p} {version(p)}" for p in ("torch", "torchvision", "numpy", "matplotlib"))
    return f"""\
# Colophon

Every picture and number in a chapter was made by the cell above it when this book was built. These
are the runs that you are reading, with {used}.

| Chapter | Started | Took | Parameters | On |
| --- | --- | --- | --- | --- |
{rows}"""


def api_pages() -> dict[str, str]:
    """Page name -> Markdown, one page for each module or package right under `a2i_lib`."""
    library = ROOT / "a2i_lib"
    pages: dict[str, str] = {}
    for top in sorted(library.iterdir()):
        if top.name.startswith("_") or (top.suffix != ".py" and not (top / "__init__.py").exists()):
            continue
        files = [top] if top.suffix == ".py" else sorted(top.rglob("*.py"))
        text = ""
        for file in files:
            parts = file.relative_to(ROOT).with_suffix("").parts
            module = ".".join(parts).removesuffix(".__init__")
            level = "#" if not text else "##"
            text += f"{level} {module}\n\n```{{eval-rst}}\n.. automodule:: {module}\n```\n\n"
        pages[f"api-{top.stem}"] = text
    return pages


def stage(source: Path, executed: Path, records: list[dict]) -> None:
    """Everything that Jupyter Book reads, in one fresh folder."""
    from gallery import draw_gallery  # with it come PyTorch and Matplotlib

    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(BOOK, source, ignore=NOT_STAGED)
    for record in records:
        name = f"{record['chapter']}.ipynb"
        stage_chapter(executed / name, source / name, record)
    draw_gallery(source / "gallery")
    (source / "colophon.md").write_text(colophon(records))
    api = api_pages()
    for name, text in api.items():
        (source / f"{name}.md").write_text(text)
    toc = yaml.safe_load((BOOK / "_toc.yml").read_text())
    for entry in (entry for part in toc["parts"] for entry in part["chapters"]):
        if entry["file"] == "api":
            entry["sections"] = [{"file": name} for name in api]
    (source / "_toc.yml").write_text(yaml.safe_dump(toc, sort_keys=False))


def check_contents() -> None:
    """Every chapter is listed in `_toc.yml`."""
    toc = yaml.safe_load((BOOK / "_toc.yml").read_text())
    listed = {entry["file"] for part in toc["parts"] for entry in part["chapters"]}
    missing = [chapter.name for chapter in chapters() if chapter.stem not in listed]
    if missing:
        sys.exit(f"book/_toc.yml does not list {', '.join(missing)}")


def render(out: Path, records: list[dict]) -> Path:
    """Build the HTML, warnings as errors; `out/html` is replaced only by a whole book."""
    source, html = out / "source", out / "html"
    stage(source, out / "executed", records)
    command = [Path(sys.executable).with_name("jupyter-book"), "build", source, "--all"]
    command += ["-W", "-n", "--keep-going", "--quiet", "--path-output", out]
    command += ["--config", ROOT / "_config.yml", "--toc", source / "_toc.yml"]
    if subprocess.run(command, cwd=ROOT).returncode != 0:
        sys.exit("The book did not build: see the warnings above, each counts as an error.")
    built = out / "_build" / "html"
    missing = [r["chapter"] for r in records if not (built / f"{r['chapter']}.html").exists()]
    if missing:
        sys.exit(f"No page was made for {', '.join(missing)}")
    shutil.rmtree(html, ignore_errors=True)
    built.replace(html)
    shutil.rmtree(out / "_build")
    return html


def prepare(folder: Path, profile: str) -> None:
    """Copies of all chapters with the profile injected, stored outputs kept, not executed."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "conftest.py").write_text(FOR_NBVAL)
    for chapter in chapters():
        notebook = load_notebook_node(str(chapter))
        parameters = different(notebook, {"profile": profile})
        for cell in notebook.cells:
            if cell.get("outputs"):
                cell.execution_count = 1  # nbval takes a stored output for stale without a count
        nbformat.write(parameterize_notebook(notebook, parameters), folder / chapter.name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", choices=["smoke", "cpu", "gpu"], default="cpu")
    parser.add_argument("--vary", action="store_true", help="another seed, and another world")
    parser.add_argument("--out", type=Path, default=ROOT / "_build")
    parser.add_argument(
        "--jobs", type=int, default=1, help="chapters executed at once (default: 1)"
    )
    parser.add_argument(
        "--fork", action="store_true", help="start kernels by forking: see kernels.py"
    )
    parser.add_argument("--prepare", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    if options.prepare:
        prepare(options.prepare, options.profile)
        return

    out = options.out.resolve()
    check_contents()
    os.environ.pop("MPLBACKEND", None)  # a kernel that inherits it keeps its figures to itself
    if options.fork:
        fork_kernels()
    records = execute_all(out / "executed", options.profile, options.vary, options.jobs)
    clock = time.perf_counter()
    html = render(out, records)
    print("\nTime by chapter:")
    for record in records:
        cached = "  (earlier run, inputs unchanged)" if record["cached"] else ""
        print(f"  {record['chapter']:24} {record['seconds']:7.1f} s{cached}")
    print(f"  {'rendering':24} {time.perf_counter() - clock:7.1f} s")
    print(f"\nThe book is at {html / 'index.html'}")


if __name__ == "__main__":
    main()
