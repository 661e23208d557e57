"""Windows of the drift watch: merges of the profiles that scoring left, never rows read again."""

import shutil
from datetime import date, timedelta

from pilotline.registry import Registry
from pilotline.registry.record.events import list_events
from pilotline.registry.record.metrics import list_metrics
from pilotline.tasks.home import Home
from pilotline.tasks.lab.datasets import load_dataset
from pilotline.tasks.lake import tables as lake
from pilotline.tasks.monitor.monitoring import DETECTED, monitor_model
from pilotline.tasks.score.job import Job
from tests.conftest import local
from tests.support.tasks.calls import Score

DAYS = [date(2013, 1, 17) + timedelta(days=n) for n in range(6)]  # all of them have moved


def test_windows_need_no_rows_and_judge_features_and_predictions(
    home: Home, registry: Registry, job: Job, score: Score
) -> None:
    score(*DAYS)
    actuals, inputs = load_dataset(home.lab, "arrivals"), load_dataset(home.lab, "flights")
    shutil.rmtree(local(lake.accepted_path(home.lake, "flights")))
    watch = monitor_model(registry, home, job, actuals, inputs, DAYS[-1])
    assert watch.fired
    for window in watch.windows:
        assert (window.days, {j.rows for j in window.judgements}) == (3, {300})
        others = {(j.column, j.distance): j for j in window.others}
        assert {("probability", name) for name in ("psi", "wasserstein", "missing")} <= set(others)
        assert {("dest", "unseen"), ("hour", "wasserstein")} <= set(others)
        assert not {(j.column, j.distance) for j in window.judgements} & set(others)
        assert not any(judged.watched for judged in window.others)
        # Miami and San Francisco are new: eight in ten of the invented source, as it moved.
        assert 0.7 < others["dest", "unseen"].value < 0.9
    with registry.read() as session:
        (event,) = list_events(session, job.bundle.version.model_id, DETECTED)
        kept = {metric.name for metric in list_metrics(session, job.bundle.version, "drift")}
    evidence = {j["column"] for w in event.facts()["windows"] for j in w["judgements"]}
    assert evidence == {"dest", "distance"}  # what is not watched is no evidence
    assert {"probability.psi", "dest.unseen", "dest.jensen_shannon"} <= kept
