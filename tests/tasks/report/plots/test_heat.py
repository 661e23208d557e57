"""A heat map: what is over its threshold is marked by more than colour."""

from xml.etree import ElementTree

from pilotline.tasks.report.plots.heat import Cell, draw_heat

CELLS = [Cell(0.5, "under", "half"), Cell(2.0, "over", "twice"), Cell(None, "unsure", "none")]


def draw(times: int) -> ElementTree.Element:
    """Return a map of one row, its three cells repeated."""
    names = [("1 Feb", "")] * 3 * times
    return ElementTree.fromstring(draw_heat("Drift", "one row", ["dest"], names, [CELLS * times]))


def test_each_cell_says_itself_and_has_its_number_where_there_is_room() -> None:
    cells = list(draw(1).iter("g"))
    assert [cell.findtext("title") for cell in cells] == ["half", "twice", "none"]
    assert [cell.findtext("text") for cell in cells] == ["0.50", "2.00", None]


def test_the_further_the_stronger() -> None:
    one, two, none = (cell.find("rect") for cell in draw(1).iter("g"))
    assert one is not None
    assert two is not None
    assert none is not None
    assert float(one.get("fill-opacity", "")) < float(two.get("fill-opacity", ""))
    assert none.get("class") == "unsure"


def test_narrow_cells_over_their_threshold_have_a_dot() -> None:
    cells = list(draw(20).iter("g"))
    assert [cell.find("circle") is not None for cell in cells] == [False, True, False] * 20
    assert all(cell.find("text") is None for cell in cells)
