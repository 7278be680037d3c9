"""Chapters and the stored tables that they speak of: what is printed is what is stored, and what
is said of it is so.
"""

import json
from collections.abc import Callable
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import pytest
from notebooks import chapters, read

from a2i_lib import released
from a2i_lib.evaluation.verdict import verdict
from a2i_lib.reproduce import TABLES

STORED = {
    name: json.loads(path.read_text())
    for name in TABLES
    if (path := released.folder() / f"{name}.json").exists()
}


def told(values: list[float], form: str) -> str:
    return f"{mean(values):{form}} ± {stdev(values):{form.lstrip('+')}}"


def runs(table: str, **wanted: Any) -> list[dict[str, Any]]:
    return [r for r in STORED[table]["runs"] if all(r[k] == v for k, v in wanted.items())]


def leads(table: str, **wanted: Any) -> list[float]:
    return [r["nats"] for r in STORED[table]["leads"] if all(r[k] == v for k, v in wanted.items())]


def prose(stem: str) -> str:
    chapter = next(path for path in chapters() if path.stem == stem)
    return "\n".join(c.source for c in read(chapter).cells if c.cell_type == "markdown")


@pytest.mark.parametrize("name", STORED)
def test_a_chapter_reads_each_stored_table(name: str) -> None:
    code = {c.stem: "\n".join(cell.source for cell in read(c).cells) for c in chapters()}
    assert [stem for stem, text in code.items() if f'find_table("{name}")' in text]


# ---------------------------------------------------------------- what the pages print


def debbagh() -> str:
    found = runs("debbagh-table1", data="celeba", beta=0.25)
    return told([run["test"]["squared_error"] for run in found], ".1f")


def completed() -> str:
    """By how much disCVAE's eyes are nearer to LFW's than the CVAE's, a value, times 1,000."""
    worse, better = (
        [r["tasks"]["eye"]["each"] for r in runs("attribute2image-table1", data="lfw", model=m)]
        for m in ("cvae", "discvae")
    )
    pairs = zip(worse, better, strict=True)
    return told([1e3 * (mean(a) - mean(b)) for a, b in pairs], "+.2f")


def faithful() -> str:
    found = runs("attribute2image-table2", model="cvae")
    return told([r["rows"]["published units"]["model"]["cosine"] for r in found], ".4f")


def edited() -> str:
    return f"{runs('cmma-edits', model='cmma')[0]['edits']['all']['pasted']['share']:.1%}"


PRINTED: dict[tuple[str, str], Callable[[], str]] = {
    ("debbagh-table1", "04-beta"): debbagh,
    ("attribute2image-table1", "06-inference"): completed,
    ("attribute2image-table2", "07-faithful"): faithful,
    ("cmma-table2", "08-cmma"): lambda: told(leads("cmma-table2"), ",.0f"),
    ("cmma-table3", "08-cmma"): lambda: told(
        leads("cmma-table3", models=["cmma", "matched-cvae"]), ",.0f"
    ),
    ("cmma-edits", "08-cmma"): lambda: told(leads("cmma-edits"), "+,.0f"),
    ("cmma-edits", "09-modify"): edited,
}


@pytest.mark.parametrize(("table", "stem"), PRINTED, ids=lambda name: name)
def test_the_page_prints_what_is_stored(html: Path, table: str, stem: str) -> None:
    if table not in STORED:
        pytest.skip(f"{table} is not stored")
    text = PRINTED[table, stem]()
    assert text in (html / f"{stem}.html").read_text(), text


# ---------------------------------------------------------------- what the chapters say


def shares(model: str, change: str) -> list[float]:
    found = runs("cmma-edits", model=model)
    return [run["edits"][change]["pasted"]["share"] for run in found]


def ahead(change: str) -> str:
    """The verdict on CMMA's lead over the CVAE, seeds alone."""
    pairs = zip(shares("cmma", change), shares("matched-cvae", change), strict=True)
    return verdict([a - b for a, b in pairs])


def rises(model: str) -> list[float]:
    return [mean(run["rise"].values()) for run in runs("cmma-edits", model=model)]


def steps(change: str) -> list[float]:
    return [run["step"][change] for run in runs("cmma-edits", model="cmma")]


SAID: dict[tuple[str, str], Callable[[], bool]] = {
    ("08-cmma", "on LFW the CVAE has the higher bound"): lambda: (
        verdict(leads("cmma-table2")) == "does not"
    ),
    (
        "09-modify",
        "Over all changes CMMA accomplishes more, but look at the lines: its lead is hair and hats",
    ): lambda: {ahead(c) for c in ("all", "+Black_Hair", "+Wearing_Hat")} == {"holds"},
    ("09-modify", "At the smile, the spectacles and the lips it is behind the CVAE"): lambda: (
        {ahead(c) for c in ("+Smiling", "+Eyeglasses", "+Big_Lips")} == {"does not"}
    ),
    ("09-modify", "In the CVAE none fails entirely"): lambda: (
        min(min(shares("matched-cvae", c)) for c in STORED["cmma-edits"]["edits"]) > 0
    ),
    ("09-modify", "it is CMMA that has not learned to smile"): lambda: (
        max(shares("cmma", "+Smiling")) < 0.01
    ),
    ("09-modify", "the judge hears the CVAE's requests far more clearly than CMMA's"): lambda: (
        min(rises("matched-cvae")) > 3 * max(rises("cmma"))
    ),
    ("09-modify", "black hair and hats move the mean of the latents by more than five"): lambda: (
        min(steps("+Black_Hair") + steps("+Wearing_Hat")) > 5
    ),
    ("09-modify", "Spectacles move that mean by less than two"): lambda: (
        max(steps("+Eyeglasses") + steps("-Eyeglasses")) < 2
    ),
    ("09-modify", "lips and a smile by less than a half"): lambda: (
        max(steps("+Big_Lips") + steps("+Smiling")) < 1 / 2
    ),
    (
        "09-modify",
        "The disCVAE, with masks and networks of its own, accomplishes more than either",
    ): lambda: min(shares("discvae", "all")) > max(shares("cmma", "all")),
    ("09-modify", "It leans to the CVAE, by a lead that the seeds alone may make"): lambda: (
        max(leads("cmma-edits")) < 0 and verdict(leads("cmma-edits")) == "cannot be told"
    ),
}


@pytest.mark.parametrize(("stem", "sentence"), SAID, ids=lambda part: part[:30])
def test_what_a_chapter_says_of_a_stored_table_is_so(stem: str, sentence: str) -> None:
    assert sentence in prose(stem)
    assert SAID[stem, sentence]()
