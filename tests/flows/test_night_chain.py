"""From missing data to a scored night that is watched, by nobody's hand.

A real server with its automations and a real worker.
"""

import shutil
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pilotline.registry.gates.promotions import Wish, promote
from pilotline.tasks.example.shift import shift_flights
from pilotline.tasks.home import find_home
from pilotline.tasks.lab.policy import factory_policy
from pilotline.tasks.verify.verification import platform
from tests.flows.conftest import approve_challenger
from tests.support.flows.factory import CHALLENGER, MODEL, ZONE, Owing, move_flights
from tests.support.flows.running import Factory, running, runs, wait_for_end
from tests.support.places import ROOT
from tests.support.servers.ports import next_port


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a lab of the factory's own."""
    return Path(shutil.copytree(ROOT / "lab", tmp_path_factory.mktemp("chain") / "lab"))


@pytest.fixture(scope="module")
def factory(home: Path, lab: Path, shared: Path, prefect_tables: Path) -> Iterator[Factory]:
    """Return a running factory in which a promotion may count from an earlier time."""
    policy = home / "policy.toml"
    text = policy.read_text("utf-8")
    policy.write_text(text.replace("[isolation]", "backdating = true\n\n[isolation]"), "utf-8")
    settings = {"PILOTLINE_LAB": str(lab)}
    with running(home, next_port(shared), settings, tables=prefect_tables) as factory:
        yield factory


@dataclass(frozen=True)
class Night:
    """A night that waited for a day's data, and the one that followed its ingestion."""

    first: Any
    second: Any
    owed: Sequence[list[str]]  # before the first one, after it, and after the second one
    missing: str  # the day


@pytest.fixture(scope="module")
def night(factory: Factory, lab: Path) -> Night:
    """Return what became of a champion's first night, whose data came late."""
    at = datetime.now(UTC)
    shift_flights(factory.home / "online.db", at.astimezone(ZONE).date())
    approve_challenger(factory.home)
    home = find_home({"PILOTLINE_HOME": str(factory.home), "PILOTLINE_LAB": str(lab)}, ROOT)
    owing = Owing(factory.home, at - timedelta(days=1))
    with home.open_registry() as registry, registry.write() as session:
        wish = Wish(owing.since)
        promote(session, MODEL, CHALLENGER, factory_policy(home), platform(), wish)
    missing = owing.days()[-1].isoformat()
    shutil.rmtree(lab / "models" / MODEL)  # a version lives on what was registered with it
    move_flights(factory.home, missing, "later")
    owed = [owing.days()]
    factory.begin("night", MODEL)
    first = wait_for_end(factory, "night")
    owed.append(owing.days())
    move_flights(factory.home, "later", missing)
    factory.begin("ingest", dataset="flights", start=missing, end=missing)
    second = wait_for_end(factory, "night", 2)
    owed.append(owing.days())
    return Night(first, second, [[str(day) for day in days] for days in owed], missing)


def test_a_night_without_data_waits_and_is_done_once_its_day_is_ingested(
    factory: Factory, night: Night
) -> None:
    waiting, done = night.first, night.second
    assert (waiting["state_type"], waiting["state_name"]) == ("COMPLETED", "waiting for data")
    # One that became due meanwhile was done in either of them.
    assert waiting["state"]["message"] in {
        "; ".join([*scored(days, {night.missing}), f"not ingested yet: {night.missing}"])
        for days in night.owed[:2]
    }
    assert (done["state_name"], done["state"]["message"]) in [
        ("Completed", *scored(after, {*before} - {night.missing}))
        for before in night.owed[:2]
        for after in night.owed[1:]
    ]
    assert [run["state_name"] for run in runs(factory, "wake")] == ["Completed"]


def scored(days: Sequence[str], without: Set[str]) -> list[str]:
    """Return what a night says that scored ``days``, nothing where there are none."""
    said = ", ".join(f"{day} succeeded" for day in days if day not in without)
    return [said] if said else []


def test_a_night_that_is_done_is_watched(factory: Factory, night: Night) -> None:
    day = night.second["state"]["message"].removesuffix(" succeeded")[-len(night.missing) :]
    watched = wait_for_end(factory, "monitor", model=MODEL, day=day)
    assert watched["state_type"] == "COMPLETED"
