"""Distributions are drawn to scale, the rest of the categories as words."""

from xml.etree import ElementTree

import pytest

from pilotline.tasks.report.plots.shapes import Shape, draw_shape


def test_bins_are_as_high_as_their_shares() -> None:
    shape = Shape(("0", "1"), (0.8, 0.2), (0.4, 0.6), True)
    drawing = ElementTree.fromstring(draw_shape("hour", "before and now", shape))
    areas = [r for r in drawing.iter("rect") if r.get("class") == "before"]
    one, two = (float(area.get("height", "")) for area in areas)
    assert one / two == pytest.approx(4, rel=0.01)
    said = [r.findtext("title") for r in drawing.iter("rect") if r.get("class") == "glass"]
    assert said == ["0: 80.0% before, 40.0% now", "1: 20.0% before, 60.0% now"]


def test_bars_are_as_long_as_their_shares_and_the_others_have_none() -> None:
    shape = Shape(("a", "b", "9 others"), (0.2, 0.1, 0.7), (0.1, 0.2, 0.7), False, 9)
    drawing = ElementTree.fromstring(draw_shape("dest", "before and now", shape))
    widths = [float(r.get("width", "")) for r in drawing.iter("rect")]
    assert widths == pytest.approx([widths[0], widths[0] / 2, widths[0] / 2, widths[0]], rel=0.01)
    assert "70.0%, before 70.0%" in [text.text for text in drawing.iter("text")]
