"""The command report: a page and facts of the demo's model, from its record alone."""

import json
import urllib.request
from datetime import date
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from tests.flows.conftest import Run, contents_of, query_sqlite
from tests.support.commands import run_here


def test_the_page_of_the_demo_s_model_is_written_into_the_home(record: Path) -> None:
    ran = run_here(record, "report", "flight-delay")
    assert ran.status == 0, ran.err
    page = record / "reports" / "flight-delay.html"
    assert ran.out.splitlines()[-1] == str(page)
    assert "alert: Drift persists" in ran.out
    root = ElementTree.fromstring(page.read_text("utf-8").removeprefix("<!DOCTYPE html>"))
    assert "flight-delay" in (root.findtext(".//title") or "")
    assert len(list(root.iter("svg"))) >= 10


def test_the_facts_are_those_of_the_registry(record: Path, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    facts = run_here(record, "report", "flight-delay", "--json", "--out", str(out)).json
    assert facts["page"] == str(out)
    assert out.exists()
    query = "select count(*), min(date), max(date) from run"
    ((runs, first, last),) = query_sqlite(record / "registry.db", query)
    assert len(facts["operations"]["runs"]) == runs
    assert (facts["start"], facts["end"]) == (first, last)
    ((owner,),) = query_sqlite(record / "registry.db", "select owner from model")
    assert {question["owner"] for question in facts["questions"]} == {owner}


def test_facts_alone_write_nothing(record: Path) -> None:
    (record / "scratch").mkdir(exist_ok=True)
    (record / "lake").mkdir(exist_ok=True)
    before = contents_of(record)
    facts = run_here(record, "report", "flight-delay", "--json").json
    assert facts["page"] is None
    assert not (record / "reports").exists()
    assert contents_of(record) == before


def test_a_range_is_kept_to(record: Path) -> None:
    words = ("report", "flight-delay", "--json", "--start", "2013-07-01", "--end", "2013-07-07")
    days = {run["date"] for run in run_here(record, *words).json["operations"]["runs"]}
    assert days == {date(2013, 7, n).isoformat() for n in range(1, 8)}


def test_monitoring_leaves_the_report_on_the_run_s_page(
    home: Path, server: str, pilotline: Run
) -> None:
    ran = pilotline("monitor", "flight-delay", "--date", "2013-07-21")
    assert ran.status == 0, ran.err
    page = home / "reports" / "flight-delay.html"
    assert page.exists()
    artifacts = list_artifacts(server)  # also of other homes, which share the server
    (report,) = [found for found in artifacts if page.as_uri() in str(found["data"])]
    assert report["key"] == "report-flight-delay"
    beside = [found for found in artifacts if found["flow_run_id"] == report["flow_run_id"]]
    (table,) = [json.loads(found["data"]) for found in beside if found["key"].startswith("open-")]
    assert ("alert", "Drift persists") in [(row["level"], row["what"]) for row in table]
    assert all(row["owner"] == "operations@example.org" for row in table)


def list_artifacts(server: str) -> list[dict[str, Any]]:
    """Return the artifacts that ``server`` has."""
    request = urllib.request.Request(
        f"{server}/artifacts/filter", b"{}", {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as reply:
        found: list[dict[str, Any]] = json.load(reply)
    return found
