"""A model that reads another one's predictions: a consumer of it, and told when it is revoked."""

from datetime import date
from pathlib import Path

import pytest
from sqlalchemy import update

from pilotline.registry import Registry
from pilotline.registry.audit.auditing import audit
from pilotline.registry.consumers.consumers import list_consumers
from pilotline.registry.consumers.outbox import list_messages
from pilotline.registry.gates.statuses import retire
from pilotline.registry.record.models import get_model
from pilotline.registry.runs.runs import ScoredPartition, inputs_of
from pilotline.registry.runs.shown import visible_runs
from pilotline.tasks.errors import LabError, LakeError
from pilotline.tasks.explain.replaying import replay_run
from pilotline.tasks.features.inputs import read_joined
from pilotline.tasks.home import Home
from pilotline.tasks.lab.bundle import load_champion
from pilotline.tasks.lab.models import load_model_folder
from pilotline.tasks.lake import tables as lake
from pilotline.tasks.lake.partition_files import find_files
from pilotline.tasks.monitor.actuals import read_predictions
from pilotline.tasks.sandbox.walls import Tier
from pilotline.tasks.score.days import DayScored, score_days
from pilotline.tasks.score.job import plan_job
from pilotline.tasks.score.plan import plan_backfill
from pilotline.tasks.train.contents import Request
from pilotline.tasks.train.training import train_version
from tests.support.tasks.further import add_model
from tests.tasks.conftest import DAYS, MODEL, copy_home, release_model

SECOND = "second-look"
DAY = date(2013, 1, 22)
LAST = DAYS[20]
DATA = """
[data]
inputs = ["flights", "predictions/flight-delay"]
features = ["hour", "flight-delay.probability"]
actuals = "arrivals"
target = "late"

[data.join."predictions/flight-delay"]
on = ["carrier", "flight", "origin"]
lag_days = 0
max_age_days = 0
needs = ">=1,<3"

[predictions]"""
# It says what it read, and 0.5 where there is nothing to read.
SCRIPT = """
import joblib
import pandas as pd


def train(data, params):
    assert data["flight-delay.probability"].notna().all()
    return 0.5


def predict(model, data):
    said = data["flight-delay.probability"].fillna(model).astype("float64")
    return pd.DataFrame({"probability": said}, index=data.index)
"""


@pytest.fixture(scope="module")
def both(scored: Home, tmp_path_factory: pytest.TempPathFactory, tier: Tier) -> Home:
    """Return a home where a second champion read the example's predictions of a day."""
    home = copy_home(scored, tmp_path_factory.mktemp("both") / "copy")
    add_model(home, SECOND, DATA, SCRIPT)
    config = home.lab / "models" / SECOND / "model.toml"
    config.write_text(config.read_text().replace("train_partitions = 60", "train_partitions = 4"))
    with home.open_registry() as registry:
        request = Request(load_model_folder(home.lab, SECOND), LAST, "", None, None)
        trained = train_version(registry, home, tier, request, print)
    release_model(home, tier, SECOND, trained.number)
    with home.open_registry() as registry:
        done = score(home, registry, tier)
        assert done.state == "succeeded", done.reason
    return home


@pytest.fixture
def home(both: Home, tmp_path: Path) -> Home:
    """Return a copy that a test may change."""
    return copy_home(both, tmp_path / "copy")


def score(home: Home, registry: Registry, tier: Tier) -> DayScored:
    """Score the day with the second model's champion."""
    job = plan_job(load_champion(registry, SECOND), "production", "score")
    (done,) = score_days(registry, home, tier, job, [DAY], print)
    return done


def said_by(home: Home, registry: Registry, name: str) -> dict[tuple[str, ...], float]:
    """Return what readers see of the day, by flight."""
    job = plan_job(load_champion(registry, name), "production", "score")
    rows = read_predictions(home, job, "production", DAY).to_pylist()
    return {(r["carrier"], r["flight"], r["origin"]): r["probability"] for r in rows}


def revoke(registry: Registry) -> None:
    """Take the first model's version back."""
    with registry.write() as session:
        retire(session, MODEL, "1.0.0", "revoked", "trained on broken rows", "ops", "claimed")


def test_the_second_reads_what_readers_of_the_first_see(home: Home, registry: Registry) -> None:
    first, second = (said_by(home, registry, name) for name in (MODEL, SECOND))
    assert (len(first), second) == (100, first)
    assert audit(registry).versions == 2


def test_reading_makes_it_a_consumer_whose_contact_is_its_owner(registry: Registry) -> None:
    with registry.read() as session:
        consumers = list_consumers(session, get_model(session, MODEL).id)
    assert [(c.name, c.contact, c.needs) for c in consumers] == [
        (SECOND, "operations@example.org", ">=1,<3")
    ]


def test_revoking_the_first_tells_the_second(registry: Registry) -> None:
    revoke(registry)
    with registry.read() as session:
        (message,) = list_messages(session)
    assert (message.consumer, message.title) == (SECOND, f"{MODEL} 1.0.0 is revoked")
    assert "trained on broken rows" in message.body


def test_what_a_revoked_version_predicted_is_not_read(
    home: Home, registry: Registry, tier: Tier
) -> None:
    revoke(registry)
    (planned,) = plan_backfill(registry, SECOND, "flights", DAY, DAY, "champion")
    assert planned.state == "blocked"
    wanted = f"Input 'predictions/{MODEL}': {DAY} was predicted by 1.0.0, which is revoked. Score"
    assert planned.reason.startswith(wanted)
    done = score(home, registry, tier)
    assert (done.state, done.run_id) == ("failed", "")
    assert done.reason.startswith(wanted)


def test_predictions_made_again_make_the_second_stale(
    home: Home, registry: Registry, tier: Tier
) -> None:
    before = said_by(home, registry, SECOND)
    job = plan_job(load_champion(registry, MODEL), "production", "score", "asked for by the test")
    _forget(registry, job.bundle.version.model_id)
    (again,) = score_days(registry, home, tier, job, [DAY], print)
    assert again.state == "succeeded"
    (planned,) = plan_backfill(registry, SECOND, "flights", DAY, DAY, "champion")
    assert (planned.state, planned.reason) == ("stale", f"predictions/{MODEL} changed since")
    assert score(home, registry, tier).state == "succeeded"
    assert said_by(home, registry, SECOND) == before


def _forget(registry: Registry, model_id: int) -> None:
    """Let nothing be shown for the day, as after a crash: so that it is scored again."""
    with registry.write() as session:
        session.execute(
            update(ScoredPartition)
            .where(ScoredPartition.model_id == model_id, ScoredPartition.date == DAY)
            .values(visible_run=None)
        )


def test_a_run_is_replayed_from_the_predictions_it_read(
    home: Home, registry: Registry, tier: Tier
) -> None:
    with registry.read() as session:
        model_id = get_model(session, SECOND).id
        run = visible_runs(session, model_id, "production", DAY, DAY)[DAY]
        (read,) = inputs_of(session, [run.id])
    assert (read.dataset, read.date) == (f"predictions/{MODEL}", DAY)
    assert replay_run(registry, home, tier, run.id, print).equal


def test_predictions_that_somebody_changed_are_not_joined(home: Home, registry: Registry) -> None:
    job = plan_job(load_champion(registry, SECOND), "production", "score")
    with registry.read() as session:
        run = visible_runs(session, job.bundle.version.model_id, "production", DAY, DAY)[DAY]
        reads = inputs_of(session, [run.id])
    folder = lake.predictions_path(home.lake, MODEL)
    day = f"variant = 'production' and {lake.on_day('flight_date', DAY)}"
    (file,) = find_files(lake.open_table(folder), folder, MODEL, "flight_date", DAY, day).paths
    file.write_bytes(file.read_bytes() + b"x")
    with pytest.raises(LakeError, match=f"the data files of {DAY} are not what was"):
        read_joined(registry, home, job.joins, reads, job.date_column)


def test_predictions_of_a_model_nobody_knows_are_refused(
    home: Home, registry: Registry, tier: Tier
) -> None:
    data = DATA.replace("flight-delay", "no-such")
    add_model(home, "third-look", data, SCRIPT)
    request = Request(load_model_folder(home.lab, "third-look"), LAST, "", None, None)
    said = r"there is no model 'no-such' whose predictions could be read\. Train it"
    with pytest.raises(LabError, match=said):
        train_version(registry, home, tier, request, print)
