"""A home of an earlier pilotline goes on working: a day more, and a run of then again.

What the day must give is what the code that made the home gave for it, in a copy.
"""

from pathlib import Path

import pytest

from tests.flows.conftest import query_table
from tests.support.commands import Ran, run_flow, run_here
from tests.support.old_home import MODEL, NIGHT, OldHome, read_printed, unpack

REPLAYED = "20240311-fe6f6e9c1a37"


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> OldHome:
    """Return the home, which the tests of this file change."""
    return unpack(tmp_path_factory.mktemp("old"))


def run(old: OldHome, server: str, *words: str) -> Ran:
    """Run a flow's command in the home."""
    settings = {**old.settings, "PREFECT_API_URL": server}
    return run_flow(old.home, *words, "--json", settings=settings)


def test_a_day_more_gives_the_predictions_that_it_gave_then(old: OldHome, server: str) -> None:
    ingested = run(old, server, "ingest", "parcels", "--date", NIGHT)
    assert ingested.status == 0, ingested.err
    scored = run(old, server, "score", MODEL, "--date", NIGHT)
    assert (scored.status, scored.json["state"]) == (0, "succeeded"), scored.err
    assert predictions_of(old.home) == read_printed()[f"predictions of {NIGHT}"]
    require_sound(old)


def test_a_run_of_then_is_replayed_to_the_same_bits(old: OldHome, server: str) -> None:
    replayed = run(old, server, "replay", REPLAYED)
    assert (replayed.status, replayed.json["equal"]) == (0, True), replayed.err


def test_what_the_rolled_back_version_predicted_is_predicted_again(
    old: OldHome, server: str
) -> None:
    days = ("--start", "2024-03-13", "--end", "2024-03-14", "--using", "champion")
    ran = run(old, server, "backfill", MODEL, *days)
    assert ran.status == 0, ran.err
    trace = ("trace", MODEL, "--date", "2024-03-14", "--key", "parcel=40", "--json")
    version = run_here(old.home, *trace, settings=old.settings).json["version"]
    assert version["number"] == "1.0.0"
    require_sound(old)


def require_sound(old: OldHome) -> None:
    ran = run_here(old.home, "audit", "verify", settings=old.settings)
    assert (ran.status, "every chain verifies" in ran.out) == (0, True), ran.out + ran.err


def predictions_of(home: Path) -> list[list[float]]:
    """Return the day's predictions as the file of expected ones has them."""
    sql = f"select parcel, probability from t where variant = 'production' and sent = '{NIGHT}'"
    rows = query_table(home / "lake" / "predictions" / MODEL, f"{sql} order by parcel")
    return [[row["parcel"], row["probability"]] for row in rows]
