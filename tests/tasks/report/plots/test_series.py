"""Lines and bars by day lie where their values say."""

from datetime import date, timedelta
from xml.etree import ElementTree

import pytest

from pilotline.tasks.report.plots.frame import BOTTOM, HEIGHT, TOP
from pilotline.tasks.report.plots.series import Line, Point, Stack, draw_key, draw_lines, draw_stack

DAY = date(2013, 2, 1)


def test_bars_are_as_high_as_their_amounts() -> None:
    stack = Stack({"accepted": {DAY: 75.0}, "quarantined": {DAY: 25.0}})
    drawing = ElementTree.fromstring(draw_stack("Rows", "by day", stack))
    heights = [float(r.get("height", "")) for r in drawing.iter("rect")]
    assert heights == pytest.approx(
        [0.75 * (HEIGHT - TOP - BOTTOM), 0.25 * (HEIGHT - TOP - BOTTOM)]
    )
    assert [g.findtext("title") for g in drawing.iter("g")] == [
        "2013-02-01; accepted 75; quarantined 25"
    ]


def test_a_line_breaks_where_days_are_missing() -> None:
    days = [DAY, DAY + timedelta(days=1), DAY + timedelta(days=90), DAY + timedelta(days=91)]
    line = Line("1.0.0", [Point(day, 0.5, 0.4, 0.6) for day in days])
    drawing = ElementTree.fromstring(draw_lines("brier", "by day", [line], from_zero=False))
    assert [len(p.get("points", "").split()) for p in drawing.iter("polyline")] == [2, 2]
    assert [len(p.get("points", "").split()) for p in drawing.iter("polygon")] == [4, 4]


def test_a_point_alone_has_a_whisker_and_says_its_interval() -> None:
    line = Line("1.0.0", [Point(DAY, 0.5, 0.4, 0.6)])
    drawing = ElementTree.fromstring(draw_lines("brier", "by day", [line], from_zero=False))
    (dot,) = drawing.iter("circle")
    assert dot.findtext("title") == "1.0.0, 2013-02-01: 0.5 (0.4 to 0.6)"
    assert any("whisker" in each.get("class", "") for each in drawing.iter("line"))


def test_a_drawing_says_what_it_is() -> None:
    line = Line("1.0.0", [Point(DAY, 0.5)])
    drawing = ElementTree.fromstring(draw_lines("brier", "by day", [line], from_zero=True))
    assert (drawing.findtext("title"), drawing.findtext("desc")) == ("brier", "by day")
    assert drawing.get("role") == "img"


def test_the_seventh_name_has_the_first_colour_again() -> None:
    key = ElementTree.fromstring(draw_key([str(n) for n in range(7)]))
    colors = [each.get("class") for each in key.iter("i")]
    assert colors == ["s1", "s2", "s3", "s4", "s5", "s6", "s1"]
