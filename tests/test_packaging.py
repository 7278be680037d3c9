"""pyproject.toml, requirements.lock and environment.yml say the same; the library stays light."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
CORE = [Requirement(r) for r in PROJECT["dependencies"]]
EXTRAS = [Requirement(r) for rs in PROJECT["optional-dependencies"].values() for r in rs]
LOCK = (ROOT / "requirements.lock").read_text()
PYTHONS = ["3.11", "3.12", "3.13"]


def locked(python: str) -> dict[str, str]:
    """Package -> version that the lock installs under this Python on this platform."""
    environment = default_environment() | {
        "python_version": python,
        "python_full_version": f"{python}.9",
    }
    pins = [Requirement(line.rstrip(" \\")) for line in LOCK.splitlines() if re.match(r"\w", line)]
    return {
        pin.name: str(pin.specifier).removeprefix("==")
        for pin in pins
        if pin.marker is None or pin.marker.evaluate(environment)
    }


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("requirement", CORE + EXTRAS, ids=lambda r: r.name)
def test_lock_satisfies_pyproject(requirement: Requirement, python: str) -> None:
    pins = locked(python)
    assert requirement.name in pins, f"{requirement.name} is not in requirements.lock: make lock"
    assert requirement.specifier.contains(pins[requirement.name], prereleases=True)


def test_lock_is_exact_and_hashed() -> None:
    blocks = re.findall(r"^(\w[^\n]*)\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)*)", LOCK, re.M)
    assert len(blocks) > 50
    for pin, hashes in blocks:
        assert re.match(r"[\w.-]+==\S+( ;[^\n]*)? \\$", pin), pin
        assert hashes, f"{pin} has no hash"


def test_lock_names_no_host() -> None:
    assert not re.search(r"https?:|//|index-url|find-links|@", LOCK)


def test_environment_lists_the_same() -> None:
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert f"python{PROJECT['requires-python']},<3.14" in conda
    listed = next(entry["pip"] for entry in conda if isinstance(entry, dict))
    assert listed[-1] == "-e ."
    assert {str(Requirement(r)) for r in listed[:-1]} == {str(r) for r in CORE + EXTRAS}


def imported_packages(*, top_level_only: bool) -> set[str]:
    """Names of the foreign packages that a2i_lib's files import."""
    found: set[str] = set()
    for file in (ROOT / "a2i_lib").rglob("*.py"):
        tree = ast.parse(file.read_text())
        for node in tree.body if top_level_only else ast.walk(tree):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                found.add((node.module or "").split(".")[0])
    return found - set(sys.stdlib_module_names) - {"a2i_lib"}


def distributions(modules: set[str]) -> set[str]:
    known = packages_distributions()
    missing = modules - known.keys()
    assert not missing, f"imported but not installed: {sorted(missing)}"
    return {known[module][0].lower().replace("_", "-") for module in modules}


def test_imports_are_declared() -> None:
    declared = {r.name.lower().replace("_", "-") for r in CORE + EXTRAS} | {"ipython"}
    assert distributions(imported_packages(top_level_only=False)) <= declared


IMPORT_PROBE = """
import socket, sys
def refuse(*a, **k): raise OSError("import a2i_lib must not touch the network")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
import a2i_lib
torch = sys.modules.get("torch")
assert torch is None or not torch.cuda.is_initialized()
print(" ".join(sys.modules))
"""


def test_import_is_light() -> None:
    """`import a2i_lib` brings no notebook package and touches neither network nor GPU."""
    run = subprocess.run(
        [sys.executable, "-c", IMPORT_PROBE], capture_output=True, text=True, cwd=ROOT
    )
    assert run.returncode == 0, run.stderr
    loaded = {name.split(".")[0] for name in run.stdout.split()}
    assert "a2i_lib" in loaded
    assert not loaded & {"IPython", "ipykernel", "ipywidgets", "notebook", "jupyterlab", "pyarrow"}


def test_colab_can_satisfy_the_ranges() -> None:
    """What Colab installed in early 2026; the ranges must stay below it."""
    colab = {"torch": "2.9.0", "torchvision": "0.24.0", "numpy": "2.0.2", "matplotlib": "3.10.0"}
    for requirement in CORE:
        if requirement.name in colab:
            assert requirement.specifier.contains(colab[requirement.name]), requirement


def test_every_package_and_the_released_weights_are_shipped():
    setuptools = PYPROJECT["tool"]["setuptools"]
    folders = {p.parent for p in (ROOT / "a2i_lib").rglob("__init__.py")}
    ours = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    assert set(setuptools["packages"]) == ours | {"a2i_lib.checkpoints"}
    shipped = ROOT / setuptools["package-dir"]["a2i_lib.checkpoints"]
    patterns = setuptools["package-data"]["a2i_lib.checkpoints"]
    assert all(any(file.match(p) for p in patterns) for file in shipped.iterdir())
