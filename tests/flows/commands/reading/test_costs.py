"""The command costs: the sums are those of the record, read past pilotline, at prices of one."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.flows.conftest import query_sqlite
from tests.support.commands import run_here

# So that a run's cost is its CPU seconds, or its GiB-hours.
CPU_SECONDS = 'currency = "EUR"\n[[price]]\ncpu_hour = 3600\ngib_hour = 0\n'
GIB_HOURS = 'currency = "EUR"\n[[price]]\ncpu_hour = 0\ngib_hour = 1\n'


def costs(home: Path, *words: str) -> Any:
    """Return what ``pilotline costs`` says as JSON."""
    ran = run_here(home, "costs", *words, "--json")
    assert ran.status == 0, ran.err
    return ran.json


def used(home: Path) -> list[dict[str, Any]]:
    """Return what each run on record used."""
    rows = query_sqlite(home / "registry.db", "select resources from run_outcome")
    return [json.loads(resources) for (resources,) in rows]


def test_a_run_costs_its_cpu_time_at_the_home_s_own_price(record: Path) -> None:
    (record / "costs.toml").write_text(CPU_SECONDS, "utf-8")
    runs = used(record)
    total = costs(record)["total"]
    seconds = sum(run["parent_cpu_s"] + run["child_cpu_s"] for run in runs)
    assert total["runs"] == len(runs)
    assert total["cost"] == pytest.approx(seconds)
    assert total["cpu_s"] == pytest.approx(seconds)
    ((rows,),) = query_sqlite(record / "registry.db", "select sum(rows) from run_outcome")
    assert total["rows"] == rows
    assert total["cost_per_million_rows"] == pytest.approx(seconds * 1e6 / rows)


def test_a_run_costs_its_peak_memory_for_its_time(record: Path) -> None:
    (record / "costs.toml").write_text(GIB_HOURS, "utf-8")
    expected = sum(
        (run["parent_peak_mib"] + run["child_peak_mib"]) / 1024 * run["wall_s"] / 3600
        for run in used(record)
    )
    assert costs(record)["total"]["cost"] == pytest.approx(expected)


def test_groups_add_up_to_the_same_total(record: Path) -> None:
    names = {
        "version": ["flight-delay 1.0.0"],
        "model": ["flight-delay"],
        "owner": ["operations@example.org"],
    }
    for by, expected in names.items():
        found = costs(record, "--by", by)
        assert [group["group"] for group in found["groups"]] == expected
        assert found["groups"][0]["cost"] == pytest.approx(found["total"]["cost"])
    runs = costs(record, "flight-delay", "--by", "run", "--variant", "production")
    listed = query_sqlite(record / "registry.db", "select id from run where variant = 'production'")
    assert {group["group"] for group in runs["groups"]} == {run for (run,) in listed}
    assert sum(group["cost"] for group in runs["groups"]) == pytest.approx(runs["total"]["cost"])


def test_a_person_reads_units_and_a_total(record: Path) -> None:
    ran = run_here(record, "costs")
    assert ran.status == 0
    assert "Costs, by version" in ran.out
    for unit in ("wall s", "CPU s", "GiB h", "MB in", "MB out", "EUR per M rows", "for nothing"):
        assert unit in ran.out
    (total,) = [line.split() for line in ran.out.splitlines() if line.startswith(" total ")]
    assert total[1] == str(len(used(record)))
    assert total[-1] == "0.0%"
    assert "an upper bound" in ran.out


def test_a_range_without_runs_says_so(record: Path) -> None:
    ran = run_here(record, "costs", "flight-delay", "--start", "2012-01-01", "--end", "2012-12-31")
    assert (ran.status, ran.out) == (
        0,
        "No run of flight-delay from 2012-01-01 until 2012-12-31: nothing was spent.\n",
    )
    found = costs(record, "--variant", "shadow/9.9.9")
    assert (found["groups"], found["total"]["cost"]) == ([], 0.0)


def test_prices_that_make_no_sense_are_named(record: Path) -> None:
    (record / "costs.toml").write_text(CPU_SECONDS.replace("3600", "-1"), "utf-8")
    ran = run_here(record, "costs")
    assert ran.status == 1
    assert ran.err == "Error: costs.toml [[price]] 1: cpu_hour -1.0. Expected 0 or more.\n"
