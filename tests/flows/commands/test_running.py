"""Commands that run flows, typed one after another until a challenger is champion."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from tests.flows.conftest import Demo, Run, contents_of, copy_home, query_table
from tests.support.commands import Ran, processes_of, run_flow, run_here, run_process
from tests.support.waiting import wait_until

DAY = "2013-02-01"
REVIEWER, OPERATIONS = "reviewer@example.org", "operations@example.org"
AUTHOR = "author@example.org"


def decide(verb: str, gate: str, by: str, version: str = "1.0.1") -> tuple[str, ...]:
    """Return the words of a decision."""
    words = (verb, "flight-delay", version, "--gate", gate, "--by", by)
    return (*words, "--comment", "better in July")


def test_monitor_and_doctor_answer_programs(home: Path, pilotline: Run) -> None:
    watch = pilotline("monitor", "flight-delay", "--date", "2013-07-14", "--json").json
    assert watch["fired"] is True
    assert len(watch["windows"]) == 2
    findings = pilotline("doctor", "--json").json
    works = {finding["what"]: finding["works"] for finding in findings}
    assert all(works.values()), findings


def test_a_release_without_decisions_waits_and_leaves_no_process(
    demo: Demo, tmp_path: Path
) -> None:
    home = copy_home(demo.home, tmp_path / "home")
    waiting = run_process(home, "release", "flight-delay", "1.0.1")
    assert waiting.status == 0
    assert "waiting for review" in waiting.out
    assert (
        "pilotline approve flight-delay 1.0.1 --gate review --by reviewer@example.org"
        in waiting.out
    )
    assert f"Home: {home}" in waiting.err
    assert "temporary" in waiting.err
    assert wait_until(lambda: not processes_of(home), 5), processes_of(home)


def test_a_challenger_becomes_champion_by_two_people_and_no_other_way(
    demo: Demo, tmp_path: Path, server: str
) -> None:
    home = copy_home(demo.home, tmp_path / "home")
    # Both people may act at both gates, so that only the rule of two people is in the way.
    policy = home / "policy.toml"
    text = policy.read_text("utf-8")
    both = f'review = ["{REVIEWER}", "{OPERATIONS}"]\ngo-live = ["{OPERATIONS}", "{REVIEWER}"]'
    kept = [line for line in text.splitlines() if not line.startswith(("review", "go-live"))]
    text = "\n".join(kept).replace("[isolation]", f"{both}\n\n[isolation]")
    policy.write_text(text, "utf-8")

    def release(*more: str) -> Ran:
        words = ("release", "flight-delay", "1.0.1", *more)
        return run_flow(home, *words, settings={"PREFECT_API_URL": server})

    def run(*words: str) -> Ran:
        return run_here(home, *words)

    def refused(words: tuple[str, ...], *needed: str) -> None:
        before = contents_of(home)
        done = run(*words)
        assert done.status == 1, done.out
        for part in needed:
            assert part in done.err
        assert contents_of(home) == before

    go_live = decide("approve", "go-live", OPERATIONS)
    refused(decide("approve", "review", AUTHOR), AUTHOR, "author", "Ask somebody else")
    refused(decide("approve", "review", "who@example.org"), "no approver", "The policy names")
    refused(go_live, "the review has not approved it", "pilotline release flight-delay 1.0.1")
    approved = run(*decide("approve", "review", REVIEWER))
    assert approved.status == 0
    assert f"approved at review by {REVIEWER} (claimed)" in approved.out
    again = run(*decide("approve", "review", REVIEWER))
    assert (again.status, "already" in again.out) == (0, True)
    refused(go_live, "verification has not passed", "pilotline release flight-delay 1.0.1")

    waiting = release("--json")
    assert waiting.status == 0
    assert waiting.json["reason"].startswith("waiting for go-live")
    refused(decide("approve", "go-live", REVIEWER), REVIEWER, "two people")
    refused(decide("approve", "go-live", AUTHOR), AUTHOR, "author")
    assert run(*go_live).status == 0
    promoted = release("--json")
    assert (promoted.status, promoted.json["state"]) == (0, "champion")
    refused(decide("reject", "review", REVIEWER), "champion already")
    check_history(run("history", "flight-delay", "--json").json, home)


def check_history(reigns: list[dict[str, Any]], home: Path) -> None:
    """Ask who was champion before, between and after two promotions."""
    first, second = reigns
    assert (first["version"], second["version"], second["previous"]) == ("1.0.0", "1.0.1", "1.0.0")
    moment = datetime.fromisoformat(second["effective_from"])
    eve = (moment - timedelta(milliseconds=1)).isoformat()

    def asked(*words: str) -> list[str]:
        found = run_here(home, "history", "flight-delay", "--json", *words)
        return [reign["version"] for reign in found.json]

    assert asked("--at", eve) == ["1.0.0"]
    assert asked("--at", second["effective_from"]) == ["1.0.1"]
    # At the eve the second promotion was not known, whatever moment is asked about.
    assert asked("--known-at", eve) == ["1.0.0"]
    assert asked("--at", second["effective_from"], "--known-at", eve) == ["1.0.0"]
    began = datetime.fromisoformat(first["effective_from"]).astimezone()
    assert asked("--at", f"{began:%Y-%m-%d %H:%M:%S %Z}") == ["1.0.0"]  # as history prints it


def test_a_rejection_ends_a_release(demo: Demo, tmp_path: Path, server: str) -> None:
    home = copy_home(demo.home, tmp_path / "home")
    settings = {"PREFECT_API_URL": server}
    rejected = run_here(home, *decide("reject", "review", REVIEWER))
    assert rejected.status == 0
    ended = run_flow(home, "release", "flight-delay", "1.0.1", settings=settings)
    assert ended.status == 1
    assert f"rejected at review by {REVIEWER}: better in July" in ended.out
    late = run_here(home, *decide("approve", "review", REVIEWER))
    assert late.status == 1
    assert "the version is rejected" in late.err
    shown = run_here(home, "show", "flight-delay@1.0.1", "--json").json
    assert shown["status"] == "rejected"


def test_scoring_twice_scores_once_and_verify_repeats(pilotline: Run, home: Path) -> None:
    words = ("score", "flight-delay", "--date", DAY, "--json")
    before = contents_of(home)
    again = pilotline(*words)
    assert (again.status, again.json["state"]) == (0, "unchanged")
    assert contents_of(home) == before
    verified = pilotline("verify", "flight-delay", "1.0.1", "--json")
    assert (verified.status, verified.json["passed"]) == (0, True)
    names = {check["name"] for check in verified.json["checks"]}
    assert any("golden" in name for name in names)


def test_a_shadow_scores_beside_production_and_changes_nothing_there(
    pilotline: Run, home: Path
) -> None:
    table = home / "lake" / "predictions" / "flight-delay"
    sql = f"select * from t where variant = 'production' and flight_date = '{DAY}' order by 2, 3, 4"
    before = query_table(table, sql)
    done = pilotline("score", "flight-delay", "--date", DAY, "--shadow", "1.0.1", "--json")
    assert (done.status, done.json["state"], done.json["number"]) == (0, "succeeded", "1.0.1")
    assert query_table(table, sql) == before
    (shadow,) = query_table(table, "select count(*) as n from t where variant = 'shadow/1.0.1'")
    assert shadow["n"] == len(before)
