"""The page of a report: well-formed, whole in one file, and safe from the names in it."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from pilotline.tasks.report.facts import Report
from pilotline.tasks.report.pages.page import lay_out_report, write_report
from tests.support.tasks.reported import empty_report, report_of

HOSTILE = (
    "<script>alert(1)</script>\"'&]]><img src=http://example.org/x onerror=alert(1)>\x00\x1b\u202e"
)
PAGES = {
    "a month": report_of(),
    "one day": report_of(1),
    "a year": report_of(365),
    "nothing": empty_report(),
    "hostile names": report_of(3, HOSTILE, HOSTILE, HOSTILE),
}


def parse(report: Report) -> ElementTree.Element:
    """Return the page as XML; a page that is not well-formed fails."""
    return ElementTree.fromstring(lay_out_report(report).removeprefix("<!DOCTYPE html>"))


@pytest.mark.parametrize("report", PAGES.values(), ids=PAGES)
def test_a_page_is_well_formed_and_loads_nothing(report: Report) -> None:
    root = parse(report)
    loading = {"src", "href", "srcset", "data", "poster", "action", "background", "style"}
    for element in root.iter():
        assert element.tag not in ("script", "link", "img", "iframe", "object", "embed", "form")
        assert not any(name.startswith("on") for name in element.attrib)
        for name in loading & set(element.attrib):
            assert element.attrib[name].startswith("#")
    assert not re.search(r"url\(|@import", root.findtext(".//style") or "")


@pytest.mark.parametrize("report", [report_of(), report_of(365), empty_report()])
def test_a_page_names_no_address(report: Report) -> None:
    assert not re.search("https?:", lay_out_report(report))


def test_a_browser_finds_no_script_in_hostile_names() -> None:
    found: list[str] = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.append(tag)

    Tags().feed(lay_out_report(PAGES["hostile names"]))
    assert not {"script", "img"} & set(found)
    texts = "".join(parse(PAGES["hostile names"]).itertext())
    assert "<script>alert(1)</script>" in texts  # shown as what it is
    assert not re.search("[\x00\x1b\u202e]", texts)


def test_every_drawing_has_a_title_a_description_and_a_table() -> None:
    root = parse(report_of())
    drawings = list(root.iter("svg"))
    assert len(drawings) == len(list(root.iter("figure"))) >= 9
    for drawing in drawings:
        assert drawing.findtext("title")
        assert drawing.findtext("desc")
    for figure in root.iter("figure"):
        assert figure.find("details//table") is not None


def test_open_questions_come_first_with_owner_and_command() -> None:
    root = parse(report_of(name="churn"))
    ids = [section.get("id") for section in root.iter("section")]
    assert ids == ["open-questions", "operations", "science"]
    question = root.find(".//section[@id='open-questions']//li")
    assert question is not None
    assert "Owner: owner of churn" in list(question.itertext())
    assert question.findtext(".//code") == "pilotline show churn"


def test_each_failure_is_listed_by_step_and_reason() -> None:
    root = parse(report_of(reason="no disk"))
    rows = [[cell.text for cell in row.iter("td")] for row in root.iter("tr")]
    assert ["start", "failed", "no disk", "2", "2014-01-01"] in rows


def test_a_table_beside_a_plot_has_its_numbers() -> None:
    root = parse(report_of(1))
    rows = [[cell.text for cell in row.iter("td")] for row in root.iter("tr")]
    assert ["2014-01-01", "0.50", "1.00", "0.25", "0.25", "2.00"] in rows  # seconds by step
    assert ["2014-01-01", "90", "10", "85", "0"] in rows
    assert ["2014-01-01", "1.0.0", "0.6500", "0.6000", "0.7000", "85"] in rows


def test_nothing_on_record_is_said_in_words() -> None:
    said = "".join(parse(empty_report()).itertext())
    for sentence in (
        "Nothing is open.",
        "No run is on record for these days.",
        "No version is registered.",
        "The model has no schedule.",
        "no champion",
    ):
        assert sentence in said


def test_late_nights_are_drawn_below_zero() -> None:
    facts = report_of(2).operations
    late = [replace(night, margin_s=-7200.0) for night in facts.deliveries]
    root = parse(replace(report_of(2), operations=replace(facts, deliveries=late)))
    rows = [[cell.text for cell in row.iter("td")] for row in root.iter("tr")]
    assert ["2014-01-01", "-2.00", "late"] in rows
    assert "0 of 2 nights on time" in "".join(root.itertext())


def test_a_page_is_written_whole_beside_nothing_else(tmp_path: Path) -> None:
    path = write_report(report_of(1), tmp_path / "new" / "report.html")
    assert [each.name for each in path.parent.iterdir()] == ["report.html"]
    assert path.read_text("utf-8").endswith("</html>\n")
