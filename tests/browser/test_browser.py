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


def holding(html: Path, names: list[str], text: str) -> list[str]:
    """The pages whose source holds this text; there is at least one."""
    found = [name for name in names if text in (html / name).read_text()]
    assert found, f"no page has {text}"
    return found


def check_page(page: Page, name: str, width: int, inside: str) -> None:
    """It asks nobody outside, reports no error, fits its window and shows its pictures."""
    assert page.outside_requests(inside) == [], name
    assert page.problems == [], name
    wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert wide <= 0, f"{name} is {wide} pixels wider than a window of {width}"
    broken = "[...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src)"
    assert page.evaluate(broken) == [], name


def check_mathematics(page: Page, name: str) -> None:
    """Every formula is set, and none is an error."""
    formulas = page.evaluate("document.querySelectorAll('.math').length")
    assert page.evaluate("document.querySelectorAll('mjx-container').length") >= formulas > 0, name
    assert page.evaluate("document.querySelectorAll('mjx-merror').length") == 0, name


EMPTY = """[...document.querySelectorAll('.jupyter-widgets-view')]
    .filter(v => !v.innerText && !v.querySelector('img, input, select, .noUi-handle')).length"""
SHOWN = """[...document.querySelectorAll('.jupyter-widgets-view img')]
    .filter(i => i.checkVisibility()).map(i => i.src).join()"""
CHOOSE_NEXT = """{
    const menu = %s;
    menu.selectedIndex = (menu.selectedIndex + 1) %% menu.length;
    menu.dispatchEvent(new Event("change", { bubbles: true }));
}"""
CONTROLS = [".noUi-handle", "select", "button", "input[type=checkbox]"]


def turn_each_control(page: Page) -> tuple[int, int]:
    """How many controls there are, and how many of them change a picture when used."""
    controls = changes = 0
    for kind in CONTROLS:
        found = f"document.querySelectorAll('.jupyter-widgets-view {kind}')"
        for number in range(page.evaluate(f"{found}.length")):
            before, control = page.evaluate(SHOWN), f"{found}[{number}]"
            if kind == ".noUi-handle":
                page.evaluate(f"{control}.focus()")
                page.press("ArrowRight")
            else:
                page.evaluate(CHOOSE_NEXT % control if kind == "select" else f"{control}.click()")
            controls += 1
            changes += page.wait(f"{SHOWN} !== {before!r}", seconds=1)
    return controls, changes


def check_widgets(page: Page, name: str) -> None:
    """Each is drawn, and none is an error."""
    places = page.evaluate("document.querySelectorAll('.jupyter-widgets-view').length")
    scripts = "document.querySelectorAll('script[type$=\"widget-view+json\"]').length"
    assert places == page.evaluate(scripts), name
    assert page.evaluate(EMPTY) == 0, f"{name} has an empty widget"
    assert page.evaluate("document.querySelectorAll('.jupyter-widgets-error').length") == 0


def check_controls(page: Page, name: str) -> None:
    """They change pictures, with no kernel behind."""
    controls, changes = turn_each_control(page)
    assert changes > 0 or controls == 0, f"nothing on {name} answers"
    assert page.problems == [], name


MATHEMATICS, WIDGETS = "mathjax/tex-chtml.js", "vnd.jupyter.widget-view+json"


def test_pages_handed_over_as_a_folder(browser: Chromium, html: Path, names: list[str]) -> None:
    """Without a server, in a wide window; mathematics and widgets are alive there."""
    mathematics, widgets = (holding(html, names, text) for text in (MATHEMATICS, WIDGETS))
    for name in names:
        page = browser.open((html / name).as_uri(), 1400)
        check_page(page, name, 1400, "file://")
        if name in mathematics:
            check_mathematics(page, name)
        if name in widgets:
            check_widgets(page, name)
            check_controls(page, name)
        page.close()


def test_pages_of_a_server_in_a_narrow_window(
    browser: Chromium, html: Path, address: str, names: list[str]
) -> None:
    """As on a telephone."""
    mathematics, widgets = (holding(html, names, text) for text in (MATHEMATICS, WIDGETS))
    for name in names:
        page = browser.open(f"{address}/{name}", 390)
        check_page(page, name, 390, address)
        if name in mathematics:
            check_mathematics(page, name)
        if name in widgets:
            check_widgets(page, name)
        page.close()
