"""The benchmarks run: what they measure is not looked at, only that they still can."""

import importlib

import pytest

SMALL = {
    "training": "--width 0.125 --batch 4 --steps 1 --rounds 1 --device cpu",
    "inference": "--images 2 --steps 1 --few 1 --rounds 1 --width 0.125 --size 32 --device cpu",
    "streaming": "--images 64 --steps 1 --rounds 1",
    "worlds": "--size 32 --n 8 --rounds 1 --device cpu",
    "preparing": "--n 40 --size 32 --workers 1",
}


@pytest.mark.parametrize("name", SMALL)
def test_a_benchmark_runs(name, root, monkeypatch, capsys):
    monkeypatch.syspath_prepend(root / "benchmarks")
    monkeypatch.setattr("sys.argv", [f"{name}.py", *SMALL[name].split()])
    module = importlib.import_module(name)
    if name == "preparing":
        monkeypatch.setattr(module, "drawn_in_another_process", module.drawn_jpegs)
        monkeypatch.setattr(module, "DIFFERENT", 2)
    module.main()
    shown = capsys.readouterr().out
    assert "images/s" in shown or "ms a step and image" in shown


def test_each_benchmark_is_run(root):
    assert {path.stem for path in (root / "benchmarks").glob("*.py")} == set(SMALL)
