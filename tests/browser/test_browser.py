"""The rendered book in a real browser: offline, with mathematics and widgets alive."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from chrome import PROGRAM, Chromium, Page, serve

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(PROGRAM is None, reason="no chromium on this machine"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    with Chromium() as chromium:
        yield chromium


@pytest.fixture(scope="module")
def address(html: Path) -> Iterator[str]:
    with serve(html) as url:
        yield url


@pytest.fixture(scope="module")
def names(html: Path) -> list[str]:
    return [page.name for page in sorted(html.glob("*.html"))]


@pytest.mark.parametrize("width", [1400, 390])
def test_pages_are_whole_and_ask_nobody(
    browser: Chromium, address: str, names: list[str], width: int
) -> None:
    for name in names:
        page = browser.open(f"{address}/{name}", width)
        assert page.outside_requests(address) == [], name
        assert page.problems == [], name
        wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, f"{name} is {wide} pixels wider than a window of {width}"
        broken = "[...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src)"
        assert page.evaluate(broken) == [], name
        page.close()


def check_mathematics(page: Page, name: str) -> int:
    """Every formula is set, none is an error; returns how many there are."""
    formulas = page.evaluate("document.querySelectorAll('.math').length")
    if formulas:
        assert page.evaluate("document.querySelectorAll('mjx-container').length") >= formulas, name
        errors = "[...document.querySelectorAll('mjx-merror, mjx-mtext[style*=red]')].length"
        assert page.evaluate(errors) == 0, name
    return formulas


def test_mathematics_is_set(browser: Chromium, address: str, names: list[str]) -> None:
    formulas = 0
    for name in names:
        page = browser.open(f"{address}/{name}")
        formulas += check_mathematics(page, name)
        page.close()
    assert formulas > 0


def test_pages_open_from_a_folder(browser: Chromium, html: Path, names: list[str]) -> None:
    """Without a server, as a reader who was handed the folder opens them."""
    for name in names:
        page = browser.open((html / name).as_uri())
        assert page.outside_requests("file://") == [], name
        assert not [p for p in page.problems if "font" not in p.lower()], name
        check_mathematics(page, name)
        page.close()


EMPTY = """[...document.querySelectorAll('.jupyter-widgets-view')]
    .filter(v => !v.innerText && !v.querySelector('img, input, select, .noUi-handle')).length"""


def test_widgets_are_drawn(browser: Chromium, address: str, names: list[str]) -> None:
    for name in names:
        page = browser.open(f"{address}/{name}")
        places = page.evaluate("document.querySelectorAll('.jupyter-widgets-view').length")
        scripts = "document.querySelectorAll('script[type$=\"widget-view+json\"]').length"
        assert places == page.evaluate(scripts), name
        assert page.evaluate(EMPTY) == 0, f"{name} has an empty widget"
        assert page.evaluate("document.querySelectorAll('.jupyter-widgets-error').length") == 0
        page.close()


SHOWN = """[...document.querySelectorAll('.jupyter-widgets-view img')]
    .filter(i => i.checkVisibility()).map(i => i.src).join()"""


CHOOSE_NEXT = """{
    const menu = %s;
    menu.selectedIndex = (menu.selectedIndex + 1) %% menu.length;
    menu.dispatchEvent(new Event("change", { bubbles: true }));
}"""


def turn_each_slider_and_menu(page: Page) -> int:
    """Move every control on the page; returns how many of the moves changed a picture."""
    changes = 0
    for kind in (".noUi-handle", "select"):
        controls = f"document.querySelectorAll('.jupyter-widgets-view {kind}')"
        for number in range(page.evaluate(f"{controls}.length")):
            before = page.evaluate(SHOWN)
            if kind == "select":
                page.evaluate(CHOOSE_NEXT % f"{controls}[{number}]")
            else:
                page.evaluate(f"{controls}[{number}].focus()")
                page.press("ArrowRight")
            changes += page.wait(f"{SHOWN} !== {before!r}", seconds=2)
    return changes


def test_widgets_answer(browser: Chromium, address: str, names: list[str]) -> None:
    """Moving a control changes a picture, with no kernel behind the page."""
    changes = 0
    for name in names:
        page = browser.open(f"{address}/{name}")
        if page.evaluate("document.querySelectorAll('.jupyter-widgets-view').length"):
            changes += turn_each_slider_and_menu(page)
        page.close()
    assert changes > 0
