"""Sphinx extension: what the book needs beyond Jupyter Book's settings.

A rendered page loads nothing from a CDN. MathJax comes from sphinx-mathjax-offline, and stands only
on pages with mathematics; the widgets come from widgetsnbextension, which ipywidgets installs, and
myst-nb puts them only on pages that have some (`nb_ipywidgets_js` in `_config.yml`).
"""

import re
import shutil
import sys
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

WIDGETS = Path(sys.prefix, "share/jupyter/nbextensions/jupyter-js-widgets/extension.js")
GLUE = Path(__file__).with_name("widgets.js")


def copy_widgets(app: Sphinx, error: Exception | None) -> None:
    """Put the widget scripts beside the pages that name them."""
    if error is None:
        vendor = Path(app.outdir, "_static", "vendor")
        vendor.mkdir(parents=True, exist_ok=True)
        shutil.copy(GLUE, vendor / "widgets.js")
        shutil.copy(WIDGETS, vendor / "jupyter-widgets.js")
        shutil.copy(f"{WIDGETS}.LICENSE.txt", vendor / "jupyter-widgets.LICENSE.txt")


def drop_thebe(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object
) -> None:
    """Jupyter Book prepares each page for Thebe, which runs code through a CDN; not this book."""
    context["script_files"] = [
        script
        for script in context["script_files"]
        if "thebe" not in str(script) and "THEBE" not in script.attributes.get("body", "")
    ]


def plain_docstring(
    app: Sphinx, what: str, name: str, target: object, options: object, lines: list[str]
) -> None:
    """Docstrings are prose with `code` in backticks, not reStructuredText: escape the rest."""
    parts = re.split(r"((?::\w+:)?`+[^`]+`+)", "\n".join(lines))
    for i, part in enumerate(parts):
        if i % 2 == 0:
            parts[i] = re.sub(r"([*|]|(?<=\w)_(?!\w))", r"\\\1", part)
        elif not part.startswith(":"):
            parts[i] = f"``{part.strip('`')}``\\ "
    lines[:] = "".join(parts).splitlines()
    if what in ("property", "attribute", "data"):
        lines[:0] = ["..", ""]  # else Napoleon takes 'a: b' in the first line for a type


def setup(app: Sphinx) -> dict[str, Any]:
    app.setup_extension("sphinx-mathjax-offline")
    app.connect("build-finished", copy_widgets)
    app.connect("html-page-context", drop_thebe, priority=900)
    app.connect("autodoc-process-docstring", plain_docstring, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
