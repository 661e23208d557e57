"""A home of an earlier pilotline reads as it did: expected is what the code that made it printed.

How it was made stands in tests/support/homes/README.md.
"""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pilotline.registry.store.store import SCHEMA
from tests.support.commands import run_here
from tests.support.old_home import MODEL, OldHome, read_printed, unpack

PRINTED = read_printed()
COMMANDS = [words for words in PRINTED if not words.startswith("predictions of")]
# What the day of asking decides: usage in the last 30 days, and what is open by now.
PASSING = {"runs_30d", "rows_30d", "made_at", "questions"}


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> OldHome:
    """Return the home; the tests of this file only read it."""
    return unpack(tmp_path_factory.mktemp("old"))


def lasting(value: Any) -> Any:
    """Return ``value`` without what the day of asking decides.

    Numbers to nine digits: what is computed when asked may end otherwise on another machine.
    """
    if isinstance(value, float):
        return float(f"{value:.9g}")
    if isinstance(value, dict):
        return {name: lasting(one) for name, one in value.items() if name not in PASSING}
    return [lasting(one) for one in value] if isinstance(value, list) else value


@pytest.mark.parametrize("words", COMMANDS)
def test_a_command_prints_of_it_what_it_printed_then(old: OldHome, words: str) -> None:
    ran = run_here(old.home, *words.split(), settings=old.settings)
    assert ran.status == 0, ran.err
    printed = ran.json if words.endswith("--json") else ran.out
    assert lasting(printed) == lasting(PRINTED[words])


def test_its_commands_are_those_that_people_look_things_up_with() -> None:
    asked = {words.split()[0] for words in COMMANDS}
    assert asked >= {"models", "show", "history", "trace", "lineage", "audit", "quarantine"}
    assert asked >= {"costs", "search", "report", "diff", "consumers", "backfill"}


def test_its_database_has_the_schema_of_then_and_is_brought_to_the_one_of_now(
    tmp_path: Path,
) -> None:
    old = unpack(tmp_path)
    assert schema_of(old.home) == "0004"
    assert run_here(old.home, "history", MODEL, settings=old.settings).status == 0
    assert schema_of(old.home) == SCHEMA


def schema_of(home: Path) -> str:
    """Return the number of the last migration that a home's database went through."""
    with closing(sqlite3.connect(home / "registry.db")) as database:
        (found,) = database.execute("select version_num from alembic_version").fetchall()
    return str(found[0])
