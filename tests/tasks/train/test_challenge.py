"""A version beside the champion of the moment: what training finds, found again after a change."""

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from pilotline.registry import Registry
from pilotline.registry.form.errors import VersionUnfitError
from pilotline.registry.gates.approvals import Decision
from pilotline.registry.gates.promotions import Wish
from pilotline.registry.record.comparisons import last_comparison
from pilotline.registry.record.versions import get_version
from pilotline.tasks.decide.decisions import record_decision, retire_version, roll_back
from pilotline.tasks.decide.steps import check_evaluation, promote_version, read_gate
from pilotline.tasks.home import Home
from pilotline.tasks.lab.bundle import load_json
from pilotline.tasks.sandbox.walls import Tier
from pilotline.tasks.train.challenge import face_champion, present_evaluation
from pilotline.tasks.train.steps import train_from_champion, train_from_lab
from pilotline.tasks.verify.steps import verify
from tests.tasks.conftest import copy_home, release

MODEL, LAST = "flight-delay", date(2013, 1, 22)
OUTDATED = "compared with 1.0.0, which is not champion now, and never compared with the champion"
Evaluate = Callable[[], Any]


@pytest.fixture(scope="module")
def prepared(factory: Home, tmp_path_factory: pytest.TempPathFactory, tier: Tier) -> Home:
    """Return a home whose 1.0.1 was compared with 1.0.0, before 1.0.2 became champion."""
    made = copy_home(factory, tmp_path_factory.mktemp("prepared") / "copy")
    number = train_from_champion.fn(made, MODEL, LAST).number
    newer = train_from_champion.fn(made, MODEL, LAST - timedelta(days=1)).number
    release(made, tier, newer)
    assert (number, newer) == ("1.0.1", "1.0.2")
    return made


@pytest.fixture
def home(prepared: Home, tmp_path: Path) -> Home:
    """Return a copy of it that a test may change."""
    return copy_home(prepared, tmp_path / "copy")


@pytest.fixture
def waiting() -> str:
    """Return the number of the version that waits."""
    return "1.0.1"


@pytest.fixture
def evaluate(registry: Registry, waiting: str) -> Evaluate:
    """Return a function that tells how the evaluation of what waits stands now."""

    def evaluated() -> Any:
        with registry.read() as session:
            return present_evaluation(registry, session, get_version(session, MODEL, waiting))

    return evaluated


def test_a_comparison_with_a_former_champion_is_outdated_and_left_out(evaluate: Evaluate) -> None:
    found = evaluate()
    assert found["outdated"] == f"{OUTDATED} 1.0.2"
    assert found["champion"] is None
    assert [c["name"] for c in found["checks"] if "champion" in c["name"]] == []
    assert found["metrics"]


def test_the_champion_of_now_gets_the_metrics_that_a_training_of_the_same_days_gives_it(
    home: Home, registry: Registry, waiting: str, evaluate: Evaluate
) -> None:
    assert check_evaluation.fn(home, MODEL, waiting) == []
    found = evaluate()
    assert (found["outdated"], found["champion"]["version"]) == ("", "1.0.2")
    script = home.lab / "models" / MODEL / "model.py"
    script.write_text(script.read_text() + "\n# other bytes\n")
    trained = train_from_lab.fn(home, MODEL, LAST, None, "")
    with registry.read() as session:
        version = get_version(session, MODEL, trained.number)
        own = load_json(registry, version, "evaluation.json")
    assert own["champion"]["version"] == "1.0.2"
    assert found["champion"]["metrics"] == own["champion"]["metrics"]
    assert found["rows"] == own["rows"]
    assert found["checks"] == own["checks"]  # the same model: only a comment was added


def test_a_comparison_is_made_once_and_says_which_of_the_days_the_champion_learned_from(
    home: Home, registry: Registry, waiting: str
) -> None:
    told: list[str] = []
    with registry.read() as session:
        version = get_version(session, MODEL, waiting)
    for _ in range(2):
        face_champion(registry, home, version, told.append)
    assert told == ["comparing flight-delay 1.0.1 with the champion 1.0.2"]
    with registry.read() as session:
        event = last_comparison(session, version)
        champion = get_version(session, MODEL, "1.0.2")
    assert event is not None
    assert event.facts()["champion"] == "1.0.2"
    held_out = load_json(registry, version, "data.json")["holdout"]["days"]
    learned = load_json(registry, champion, "data.json")["train"]["days"]
    assert event.facts()["learned"] == len(set(held_out) & set(learned))


def test_after_a_rollback_the_comparison_of_the_training_counts_again(
    home: Home, waiting: str, evaluate: Evaluate
) -> None:
    roll_back(home, MODEL, "worse", "operations@example.org")
    assert (evaluate()["outdated"], evaluate()["champion"]["version"]) == ("", "1.0.0")


def test_where_no_champion_is_left_nothing_is_compared(home: Home, evaluate: Evaluate) -> None:
    retire_version(home, MODEL, "1.0.2", "revoked", "wrong", "operations@example.org")
    assert (evaluate()["outdated"], evaluate()["champion"]) == ("", None)


def test_go_live_is_not_approved_before_the_comparison(home: Home, waiting: str) -> None:
    record_decision(home, MODEL, waiting, Decision("review", "approve", "reviewer@example.org", ""))
    assert verify.fn(home, MODEL, waiting).passed
    said = Decision("go-live", "approve", "operations@example.org", "seen")
    with pytest.raises(VersionUnfitError, match=f"{OUTDATED} 1.0.2. Run 'pilotline release"):
        record_decision(home, MODEL, waiting, said)
    check_evaluation.fn(home, MODEL, waiting)
    assert record_decision(home, MODEL, waiting, said).new


def test_what_was_approved_before_the_champion_changed_is_asked_again(
    home: Home, waiting: str
) -> None:
    check_evaluation.fn(home, MODEL, waiting)
    approve = Decision("review", "approve", "reviewer@example.org", "")
    record_decision(home, MODEL, waiting, approve)
    assert verify.fn(home, MODEL, waiting).passed
    last = Decision("go-live", "approve", "operations@example.org", "seen")
    record_decision(home, MODEL, waiting, last)
    newest = train_from_champion.fn(home, MODEL, LAST - timedelta(days=2)).number
    for gate, person in (("review", "reviewer"), ("go-live", "operations")):
        verify.fn(home, MODEL, newest)
        said = Decision(gate, "approve", f"{person}@example.org", "seen")
        record_decision(home, MODEL, newest, said)
    promote_version.fn(home, MODEL, newest, Wish())
    with pytest.raises(VersionUnfitError, match=f"never compared with the champion {newest}"):
        promote_version.fn(home, MODEL, waiting, Wish())
    check_evaluation.fn(home, MODEL, waiting)
    states = [read_gate.fn(home, MODEL, waiting, g).state for g in ("review", "go-live")]
    assert states == ["approved", "waiting"]


def test_a_version_whose_rows_are_gone_cannot_be_compared(home: Home, waiting: str) -> None:
    (home.root / "lake").rename(home.root / "lake-gone")
    with pytest.raises(VersionUnfitError, match=r"cannot be compared .* 'pilotline train flight"):
        check_evaluation.fn(home, MODEL, waiting)
