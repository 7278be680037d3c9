"""Photograph every page of the rendered book, wide and narrow, for a person to look at.

python tests/browser/shoot.py _build/html /tmp/shots [--pages index 01-attributes] [--widths 390]
"""

import argparse
from pathlib import Path

from chrome import Chromium, Page, serve

SLICE = 1600  # a long page becomes several pictures of this height


def shoot(page: Page, out: Path, name: str, width: int) -> int:
    """Write NAME-WIDTH-01.png and so on; returns how many."""
    height = page.evaluate("document.documentElement.scrollHeight")
    tops = range(0, height, SLICE)
    for number, top in enumerate(tops, start=1):
        picture = page.picture(top, min(SLICE, height - top))
        (out / f"{name}-{width}-{number:02}.png").write_bytes(picture)
    return len(tops)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("html", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--pages", nargs="*", help="names without .html; all by default")
    parser.add_argument("--widths", nargs="*", type=int, default=[1400, 390])
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    names = options.pages or sorted(p.stem for p in options.html.glob("*.html"))
    with serve(options.html) as address, Chromium() as browser:
        for name in names:
            for width in options.widths:
                page = browser.open(f"{address}/{name}.html", width)
                print(f"{name} {width}: {shoot(page, options.out, name, width)} pictures")
                for problem in page.problems + page.outside_requests(address):
                    print(f"  {problem}")
                page.close()


if __name__ == "__main__":
    main()
