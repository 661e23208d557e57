"""Splits by command: started, changed, stopped, shown, and refused in words."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pyotp
import pytest

from tests.flows.conftest import Demo, approve_challenger, copy_record, query_sqlite
from tests.support.commands import Ran, run_here

MODEL = "flight-delay"
REVIEWER = "reviewer@example.org"
WHY = ("--reason", "a look at the new one", "--by", REVIEWER)


@pytest.fixture(scope="module")
def approved(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a record in which both gates approved 1.0.1; tests copy it."""
    home = copy_record(demo.home, tmp_path_factory.mktemp("approved") / "home")
    approve_challenger(home)
    return home


@pytest.fixture
def home(approved: Path, tmp_path: Path) -> Path:
    """Return a record of its own for one test."""
    return copy_record(approved, tmp_path / "home")


def split(home: Path, *words: str, **settings: str) -> Ran:
    return run_here(home, "split", *words, settings=settings)


def start(home: Path, share: str = "10%", *more: str) -> Ran:
    ran = split(home, "start", MODEL, "1.0.1", "--share", share, *WHY, *more)
    assert ran.status == 0, ran.err
    return ran


def refused(ran: Ran, message: str) -> None:
    """Check that a command refused in these words, and said nothing else."""
    assert (ran.status, ran.out) == (1, "")
    assert ran.err.splitlines()[-1] == f"Error: {message}"


def events_of(home: Path) -> list[str]:
    sql = "select kind from event where kind like 'split %' order by seq"
    return [kind for (kind,) in query_sqlite(home / "registry.db", sql)]


def test_a_split_is_started_moved_both_ways_and_stopped(home: Path) -> None:
    none = split(home, "show", MODEL)
    assert none.out == f"{MODEL} has no split: the champion scores every row.\n"
    assert start(home).out.splitlines() == [
        "flight-delay: 1.0.1 scores 10.00% of the keys, 1.0.0 (champion) 90.00%.",
        "Next: pilotline score flight-delay --date D",
    ]
    up = split(home, "upgrade", MODEL, "--share", "0.25", *WHY)
    assert "1.0.1 scores 25.00% of the keys, 1.0.0 (champion) 75.00%." in up.out
    down = split(home, "downgrade", MODEL, "--share", "0.0001", *WHY)
    assert "1.0.1 scores 0.01% of the keys, 1.0.0 (champion) 99.99%." in down.out
    assert split(home, "show", MODEL).out.splitlines() == [
        "flight-delay: 1.0.1 scores 0.01% of the keys, 1.0.0 (champion) 99.99%.",
        f"Set by {REVIEWER}: a look at the new one",
    ]
    stopped = split(home, "stop", MODEL, *WHY)
    assert stopped.out.splitlines() == [
        "flight-delay: 1.0.0 scores every row again.",
        "Days that 1.0.1 has a part in stay as they are; to score them again:",
        "pilotline backfill flight-delay --start D --end D --using champion --plan",
    ]
    assert split(home, "show", MODEL).out == none.out
    assert events_of(home) == ["split set"] * 3 + ["split stopped"]
    assert run_here(home, "audit", "verify").status == 0


def test_scripts_get_each_answer_as_one_json_value(home: Path) -> None:
    assert split(home, "show", MODEL, "--json").json is None
    made = start(home, "10%", "--json").json
    event = made.pop("event")
    assert re.fullmatch("[0-9a-f]{64}", event)
    assert made == {
        "champion": "1.0.0",
        "challenger": "1.0.1",
        "share": "0.1",
        "reason": "a look at the new one",
        "by": REVIEWER,
    }
    assert split(home, "show", MODEL, "--json").json == {**made, "event": event}
    up = split(home, "upgrade", MODEL, "--share", "0.5", *WHY, "--json").json
    assert (up["share"], up["event"] == event) == ("0.5", False)
    stopped = split(home, "stop", MODEL, *WHY, "--json").json
    assert stopped == {**up, "stopped": True}


def test_a_share_that_moves_the_other_way_is_refused(home: Path) -> None:
    start(home)
    for verb, share, other in (
        ("upgrade", "0.05", "downgrade"),
        ("downgrade", "0.2", "upgrade"),
    ):
        refused(
            split(home, verb, MODEL, "--share", share, *WHY),
            f"Split of 'flight-delay': 1.0.1 scores 10.00%, which this would not {verb}. "
            f"Give another share, or 'pilotline split {other}'.",
        )
    same = split(home, "upgrade", MODEL, "--share", "0.1", *WHY)
    assert (same.status, "which this would not upgrade" in same.err) == (1, True)
    assert events_of(home) == ["split set"]


def test_a_second_split_is_refused_while_there_is_one(home: Path) -> None:
    start(home)
    refused(
        split(home, "start", MODEL, "1.0.1", "--share", "0.2", *WHY),
        "Split of 'flight-delay': 1.0.1 scores 10.00% already. Change it with "
        "'pilotline split upgrade flight-delay --share S', or stop it first.",
    )


def test_approvals_that_somebody_edited_give_no_rows(home: Path) -> None:
    with closing(sqlite3.connect(home / "registry.db")) as database, database:
        database.execute("drop trigger approval_no_update")
        newest = "(select max(id) from approval)"
        database.execute(f"update approval set comment = 'fine' where id = {newest}")
    made = split(home, "start", MODEL, "1.0.1", "--share", "0.1", *WHY)
    told = re.search(r"Error: Approval [0-9a-f]{64} of 'flight-delay': the events say", made.err)
    assert (made.status, told is not None) == (1, True), made.err
    assert events_of(home) == []


def test_where_codes_are_asked_for_a_split_needs_one_each_way(home: Path) -> None:
    start(home)
    policy = home / "policy.toml"
    policy.write_text(policy.read_text("utf-8").replace('"claimed"', '"totp"'), "utf-8")
    key = run_here(home, "approvers", "key").out.strip()
    settings = {"PILOTLINE_APPROVAL_KEY": key}
    shown = run_here(home, "approvers", "add", REVIEWER, settings=settings)
    (uri,) = re.findall(r"^otpauth://\S+$", shown.out, re.MULTILINE)
    scanned = pyotp.parse_uri(uri)
    assert isinstance(scanned, pyotp.TOTP)

    for words in (("stop", MODEL), ("upgrade", MODEL, "--share", "0.2")):
        bare = split(home, *words, *WHY, **settings)
        assert (bare.status, "the policy asks for a one-time code" in bare.err) == (1, True)
    assert events_of(home) == ["split set"]
    stopped = split(home, "stop", MODEL, *WHY, "--code", scanned.now(), **settings)
    assert stopped.status == 0, stopped.err
    ((body,),) = query_sqlite(
        home / "registry.db", "select body from event where kind = 'split stopped'"
    )
    assert '"identity":"totp"' in body
