"""Pictures that a chapter shows: boxes stand where they were put, arrows need both their boxes."""

import matplotlib.pyplot as plt
import pytest

from a2i_lib import plots


def test_arrows_join_boxes_and_all_are_in_the_picture():
    figure, ax = plt.subplots()
    boxes = {"$x$": (0, 0), "encoder": (1, 0), "$z$": (2, 1)}
    plots.flow(ax, boxes, [("$x$", "encoder")], [("encoder", "$z$")], networks=["encoder"])
    figure.canvas.draw()
    words = {t.get_text(): t for t in ax.texts if t.get_text()}
    assert {name: t.get_position() for name, t in words.items()} == boxes
    frame = ax.get_window_extent()
    for text in words.values():
        box = text.get_bbox_patch().get_window_extent()
        assert frame.x0 <= box.x0 and box.x1 <= frame.x1
        assert frame.y0 <= box.y0 and box.y1 <= frame.y1
    arrows = [t.arrow_patch for t in ax.texts if not t.get_text()]
    assert [a.get_linestyle() for a in arrows] == ["-", "--"]
    filled = words["encoder"].get_bbox_patch().get_facecolor()
    assert filled != words["$x$"].get_bbox_patch().get_facecolor()
    plt.close(figure)


def test_an_arrow_to_nowhere():
    figure, ax = plt.subplots()
    with pytest.raises(ValueError, match="no box {'decoder'}"):
        plots.flow(ax, {"$z$": (0, 0)}, [("$z$", "decoder")])
    plt.close(figure)
