"""What the registry knows, as plain values."""

import json
from datetime import UTC, date, datetime, timedelta

import pytest

from pilotline.registry import Registry
from pilotline.registry.form.errors import NoChampionError, UnknownModelError
from pilotline.tasks.explain.catalogue import (
    describe_models,
    show_history,
    show_model,
    show_version,
)
from pilotline.tasks.score.job import Job
from tests.support.tasks.calls import Score

DAY = date(2013, 1, 14)


def test_a_model_is_one_line_with_its_champion(registry: Registry, score: Score) -> None:
    (line,) = describe_models(registry)
    assert (line["model"], line["champion"], line["last_scored"]) == ("flight-delay", "1.0.0", None)
    assert line["versions"] == {"1.0.0": "approved"}
    score(DAY)
    (line,) = describe_models(registry)
    assert line["last_scored"] == "2013-01-14"


def test_a_model_is_shown_with_its_versions_and_an_unbroken_chain(registry: Registry) -> None:
    shown = show_model(registry, "flight-delay")
    (version,) = shown["versions"]
    assert (version["aliases"], version["runs"]) == (["champion"], 0)
    assert set(version["metrics"]) == {"roc_auc", "brier_skill", "brier"}
    assert shown["chain"] is True


def test_a_version_is_shown_with_everything_as_json(
    registry: Registry, job: Job, score: Score
) -> None:
    (done,) = score(DAY)
    shown = json.loads(json.dumps(show_version(registry, "flight-delay", "champion")))
    assert shown["digest"] == job.bundle.version.digest
    assert [said["by"] for said in shown["approvals"]] == [
        "reviewer@example.org",
        "operations@example.org",
    ]
    (run,) = shown["runs"]
    assert (run["id"], run["rows"], run["torn_down"]) == (done.run_id, 100, True)
    assert len(shown["learned_from"]["flights"]["partitions"]) == 13
    assert shown["learned_from"]["flights"]["partitions"]["2013-01-13"]["use"] == "holdout"
    assert len(shown["files"]) == 11


def test_history_tells_who_was_champion_when(registry: Registry) -> None:
    (reign,) = show_history(registry, "flight-delay")
    assert (reign["version"], reign["previous"]) == ("1.0.0", None)
    now = datetime.now(UTC)
    assert show_history(registry, "flight-delay", at=now) == [reign]
    assert show_history(registry, "flight-delay", known_at=now - timedelta(days=1)) == []
    with pytest.raises(NoChampionError):
        show_history(registry, "flight-delay", at=datetime(2013, 1, 1, tzinfo=UTC))


def test_an_unknown_model_has_nothing_to_show(registry: Registry) -> None:
    with pytest.raises(UnknownModelError):
        show_model(registry, "churn")
