"""Taking versions out of use, and moving aliases, by command."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.flows.conftest import query_sqlite
from tests.support.commands import Ran, run_here

MODEL = "flight-delay"
HOSTILE = "\x1b[2J[red]calendar[/red]"
SHOWN = "\\x1b[2J[red]calendar[/red]"
WHY = ("--reason", "calendar")


def events(home: Path) -> list[Any]:
    """Return the chain's kinds, oldest first."""
    return query_sqlite(home / "registry.db", "select kind, body from event order by id")


def refused(ran: Ran, *needed: str) -> None:
    """Check that a command refused in words."""
    assert ran.status == 1, ran.out
    assert ran.err.splitlines()[-1].startswith("Error: ")
    for part in needed:
        assert part in ran.err


@pytest.mark.parametrize(
    ("verb", "status"),
    [("deprecate", "deprecated"), ("revoke", "revoked"), ("archive", "archived")],
)
def test_a_version_is_taken_out_of_use_once(verb: str, status: str, record: Path) -> None:
    done = run_here(record, verb, MODEL, "1.0.1", "--reason", HOSTILE)
    assert done.status == 0, done.err
    assert f"{MODEL} 1.0.1 is {status}" in done.out
    before = events(record)
    again = run_here(record, verb, MODEL, "1.0.1", *WHY)
    assert (again.status, f"1.0.1 was already {status}" in again.out) == (0, True)
    told = run_here(record, verb, MODEL, "1.0.1", *WHY, "--json").json
    assert (told["status"], told["new"]) == (status, False)
    assert events(record) == before
    assert run_here(record, "show", f"{MODEL}@1.0.1", "--json").json["status"] == status
    assert run_here(record, "audit", "verify").status == 0


def test_who_revoked_a_version_and_why_is_shown(record: Path) -> None:
    assert run_here(record, "revoke", MODEL, "1.0.0", *WHY, "--by", "me").status == 0
    found = run_here(record, "show", f"{MODEL}@1.0.0", "--json").json["status_change"]
    assert (found["reason"], found["by"], found["identity"]) == ("calendar", "me", "claimed")
    ((moment,),) = query_sqlite(
        record / "registry.db", "select recorded_at from event where kind = 'revoked'"
    )
    assert found["recorded_at"][:19] == moment.replace(" ", "T")[:19]
    shown = run_here(record, "show", f"{MODEL}@1.0.0").out
    assert re.search(
        r"status +revoked since [-0-9]+ [:0-9]+ \S+ by me \(claimed\): calendar", shown
    )
    assert "1.0.0 (revoked since " in run_here(record, "history", MODEL).out
    (reign,) = run_here(record, "history", MODEL, "--json").json
    assert reign["revoked_since"] == found["recorded_at"]
    assert reign["by"] == "reviewer@example.org, operations@example.org"


def test_revoked_is_final(record: Path) -> None:
    assert run_here(record, "revoke", MODEL, "1.0.1", *WHY).status == 0
    for verb in ("deprecate", "archive"):
        refused(run_here(record, verb, MODEL, "1.0.1", *WHY), "is revoked, which cannot")
    words = ("approve", MODEL, "1.0.1", "--gate", "review", "--by", "reviewer@example.org")
    refused(run_here(record, *words, "--comment", "x"), "the version is revoked")
    refused(run_here(record, "alias", MODEL, "kept", "1.0.1"), "is revoked")


def test_revoking_the_champion_lists_its_days_and_stops_scoring(record: Path) -> None:
    done = run_here(record, "revoke", MODEL, "1.0.0", *WHY)
    assert done.status == 0, done.err
    days = query_sqlite(
        record / "registry.db",
        "select date, visible_run from scored_partition where variant = 'production'",
    )
    assert len(days) == 35  # as the story has it
    assert "Predictions that came from it: 35 partitions" in done.out
    for day, run in days:
        assert day in done.out
        assert run in done.out
    assert "nobody is registered as a consumer" in done.out
    assert f"Next: pilotline release {MODEL} VERSION" in done.out  # none before to go back to
    scoring = run_here(record, "score", MODEL, "--date", "2013-02-01")
    refused(scoring, "1.0.0", "revoked")


def test_a_model_with_every_version_archived_is_found_only_when_asked_for(record: Path) -> None:
    assert run_here(record, "archive", MODEL, "1.0.1", *WHY).status == 0
    assert "Models found: 1" in run_here(record, "search").out
    refused(run_here(record, "archive", MODEL, "1.0.0", *WHY), "Promote another one")


def test_an_alias_is_set_moved_listed_and_removed(record: Path) -> None:
    def run(*words: str) -> str:
        ran = run_here(record, *words)
        assert ran.status == 0, ran.err
        return ran.out

    assert f"{MODEL}@kept is 1.0.0" in run("alias", MODEL, "kept", "1.0.0")
    before = events(record)
    assert f"{MODEL}@kept is 1.0.0" in run("alias", MODEL, "kept", "champion")
    assert events(record) == before
    assert f"{MODEL}@kept is 1.0.1" in run("alias", MODEL, "kept", "~=1.0")
    assert "kept" in run("show", f"{MODEL}@1.0.1")
    assert "is removed" in run("alias", MODEL, "kept", "--remove")
    refused(run_here(record, "show", f"{MODEL}@kept"), "'kept'")


def test_what_people_write_is_shown_escaped(record: Path) -> None:
    words = ("approve", MODEL, "1.0.1", "--gate", "review", "--by", "reviewer@example.org")
    assert run_here(record, *words, "--comment", HOSTILE).status == 0
    shown = run_here(record, "show", f"{MODEL}@1.0.1")
    assert SHOWN in shown.out
    assert "\x1b" not in shown.out
    contact = ("--contact", "env:NOT_SET_ANYWHERE")
    assert run_here(record, "consumers", "add", MODEL, "[red]desk[/red]", *contact).status == 0
    revoked = run_here(record, "revoke", MODEL, "1.0.1", "--reason", HOSTILE)
    assert "To be told: [red]desk[/red]" in revoked.out
    assert "[red]desk[/red]: not told yet" in revoked.err
    assert "\x1b" not in revoked.out + revoked.err


def test_a_home_whose_name_looks_like_mark_up_is_a_home_like_any(
    record: Path, tmp_path: Path
) -> None:
    (tmp_path / "[").mkdir()
    odd = record.rename(tmp_path / "[" / "red]")
    done = run_here(odd, "alias", MODEL, "kept", "1.0.1")
    assert done.status == 0, done.err
    assert f"Home: {odd}" in done.err
