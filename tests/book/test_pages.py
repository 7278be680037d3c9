"""The rendered pages: complete, described, and asking nothing of the outside."""

import json
import re
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup
from notebooks import address, chapters, colab_link

LOADED = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src"}


@pytest.fixture(scope="module")
def pages(html: Path) -> dict[str, BeautifulSoup]:
    files = sorted(html.rglob("*.html"))
    return {
        str(file.relative_to(html)): BeautifulSoup(file.read_text(), "html.parser")
        for file in files
        if "_static" not in file.parts
    }


def test_every_chapter_has_its_page(pages: dict[str, BeautifulSoup]) -> None:
    for chapter in chapters():
        page = pages[f"{chapter.stem}.html"]
        assert any(em.get_text().startswith("Executed on") for em in page.find_all("em"))


def test_nothing_is_loaded_from_outside(pages: dict[str, BeautifulSoup]) -> None:
    outside = []
    for name, page in pages.items():
        for tag, attribute in LOADED.items():
            for element in page.find_all(tag):
                target = element.get(attribute, "")
                told = set(element.get("rel") or []) & {"canonical", "next", "prev", "author"}
                if target.startswith(("http:", "https:", "//")) and not told:
                    outside.append(f"{name}: {target}")
    assert not outside


def test_style_sheets_load_nothing_from_outside(html: Path) -> None:
    for sheet in html.rglob("*.css"):
        text = sheet.read_text()
        assert "url(http" not in text and "url(//" not in text and "@import url" not in text, sheet


def test_links_lead_somewhere(pages: dict[str, BeautifulSoup]) -> None:
    broken = []
    ids = {name: {tag["id"] for tag in page.find_all(id=True)} for name, page in pages.items()}
    for name, page in pages.items():
        for anchor in page.select("article a[href]"):
            target, _, fragment = anchor["href"].partition("#")
            if ":" in target or target.startswith("_") or "/_" in target:
                continue
            other = str(Path(name).parent / target) if target else name
            if other not in pages or (fragment and fragment not in ids[other]):
                broken.append(f"{name}: {anchor['href']}")
    assert not broken


def test_every_figure_is_described(pages: dict[str, BeautifulSoup]) -> None:
    """Alternative text is words, not the file name that Sphinx falls back on."""
    bare = [
        f"{name}: {image['src']}"
        for name, page in pages.items()
        if name != "py-modindex.html"  # Sphinx's own, with its own button
        for image in page.select("article img")
        if len(image.get("alt", "").split()) < 3
    ]
    assert not bare, "set the cell's metadata mystnb.image.alt"


def test_every_figure_is_there(pages: dict[str, BeautifulSoup]) -> None:
    """A cell that draws in any case, and says what its picture shows, has that picture."""
    for chapter in chapters():
        page = pages[f"{chapter.stem}.html"]
        shown = {image.get("alt") for image in page.select(".cell_output img")}
        promised = {
            cell.metadata["mystnb"]["image"]["alt"]
            for cell in nbformat.read(chapter, 4).cells
            if "image" in cell.metadata.get("mystnb", {})
            and re.search(r"^figure\b.*= (plots\.|plt\.)", cell.source, re.M)
        }
        assert promised and promised <= shown, f"{chapter.stem}: {len(promised - shown)} missing"


def test_printed_tables_are_tables(pages: dict[str, BeautifulSoup]) -> None:
    for name, page in pages.items():
        raw = [p.text[:60] for p in page.select(".cell_output p") if "| ---" in p.text]
        assert not raw, f"{name}: {raw}"
    assert any(page.select(".cell_output table") for page in pages.values())


def test_scripts_come_only_where_needed(pages: dict[str, BeautifulSoup]) -> None:
    for name, page in pages.items():
        scripts = " ".join(script.get("src", "") for script in page.find_all("script"))
        assert ("vendor/widgets.js" in scripts) == bool(
            page.find("script", type="application/vnd.jupyter.widget-state+json")
        ), name
        if "mathjax" in scripts:
            assert page.select(".math"), name


def test_colab_button_opens_this_chapter(pages: dict[str, BeautifulSoup]) -> None:
    for chapter in chapters():
        links = [a["href"] for a in pages[f"{chapter.stem}.html"].find_all("a", href=True)]
        colab = {link for link in links if "colab.research" in link}
        assert colab == {colab_link(chapter.name)}


def test_no_path_of_the_building_machine(html: Path, root: Path) -> None:
    for file in [*html.glob("*.html"), *html.glob("_sources/*")]:
        assert str(root) not in file.read_text(), file.name


def test_configuration_names_the_repository_once(root: Path) -> None:
    url = address()["url"]
    assert (root / "_config.yml").read_text().count(url) == 1
    kept = ["README.md", "CONTRIBUTING.md", "pyproject.toml", "CITATION.cff", "environment.yml"]
    assert not [name for name in kept if url in (root / name).read_text()]


def test_sources_for_download_are_valid_notebooks(html: Path) -> None:
    for chapter in chapters():
        notebook = json.loads((html / "_sources" / chapter.name).read_text())
        assert notebook["nbformat"] == 4 and "papermill" not in notebook["metadata"]
