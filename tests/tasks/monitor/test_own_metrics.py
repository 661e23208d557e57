"""A model's own metrics: run in its environment, trusted with nothing."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from pilotline.tasks.errors import ChildError
from pilotline.tasks.home import Home
from pilotline.tasks.lab.bundle import Bundle
from pilotline.tasks.monitor.own_metrics import defines_metrics, own_judge
from pilotline.tasks.monitor.performance import DayRealized, realize_days
from pilotline.tasks.sandbox.walls import Tier
from tests.support.tasks.truth import Truth, opened
from tests.support.waiting import stretched

LATE = [int(n % 3 == 0) for n in range(100)]
# What a wrong alarm and a late flight nobody warned of would cost.
COST = """
def metrics(actuals, predictions):
    warned = predictions["probability"] >= 0.5
    late = actuals["late"] == 1
    return {"cost": float((1 * (warned & ~late) + 5 * (~warned & late)).mean())}
"""


@pytest.fixture
def truth(scored_home: Home) -> Iterator[Truth]:
    """Return a home whose day is scored, and what happened then."""
    with opened(scored_home) as found:
        found.bring(found.rows(LATE))
        yield found


def with_metrics(truth: Truth, function: str) -> Bundle:
    """Return the champion with another ``metrics``, unknown to the registry."""
    bundle = truth.job.bundle
    files = {**bundle.files, "model.py": bundle.files["model.py"] + function.encode()}
    budget = replace(bundle.spec.budget, deadline_s=stretched(20))
    spec = replace(bundle.spec, budget=budget)
    own = {**bundle.folder.files, "model.py": files["model.py"]}
    return replace(bundle, files=files, folder=replace(bundle.folder, files=own, spec=spec))


def realize(truth: Truth, tier: Tier, function: str) -> DayRealized:
    """Return how the day turned out by the model's own measure too."""
    bundle = with_metrics(truth, function)
    with own_judge(truth.registry, truth.home, tier, bundle) as judge:
        assert judge is not None
        (day,) = realize_days(
            truth.registry, truth.home, truth.job, truth.dataset, [truth.run()], judge
        )
    return day


def test_a_model_judges_its_own_predictions(truth: Truth, tier: Tier) -> None:
    day = realize(truth, tier, COST)
    warned = [row["probability"] >= 0.5 for row in truth.predicted()]
    costs = [
        5 if late and not said else int(said and not late)
        for late, said in zip(LATE, warned, strict=True)
    ]
    assert day.metrics["cost"] == pytest.approx(sum(costs) / 100)
    assert "roc_auc" in day.metrics
    interval = day.intervals["cost"]
    assert interval is not None
    # A mean of 100 rows with its textbook error; 200 draws find the ends to a fifth of it.
    mean = sum(costs) / 100
    error = (sum((cost - mean) ** 2 for cost in costs) / 99 / 100) ** 0.5
    assert interval == pytest.approx((mean - 1.96 * error, mean + 1.96 * error), abs=0.5 * error)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("raise KeyError('cost')", r"metrics raised KeyError: 'cost'"),
        ("return 1.0", r"metrics raised TypeError: metrics gave float, expected a dict of numbers"),
        ("return {'roc_auc': 1.0}", r"metrics gave 'roc_auc'; a name is of a-z"),
        ("return {'Cost; drop': 1.0}", r"metrics gave 'Cost; drop'; a name is of a-z"),
        ("return {f'm{n}': 1.0 for n in range(51)}", r"metrics gave 51 values, at most 50 are"),
        ("import os; os._exit(3)", r"ended with status 3"),
    ],
)
def test_a_function_that_fails_is_told_and_takes_nothing_from_the_others(
    truth: Truth, tier: Tier, body: str, why: str
) -> None:
    day = realize(truth, tier, f"\ndef metrics(actuals, predictions):\n    {body}\n")
    assert set(day.metrics) == {"roc_auc", "brier", "brier_skill"}
    assert list(day.missing) == ["its own metrics"]
    assert why.replace("\\", "") in day.missing["its own metrics"]
    assert day.alerted


def test_a_metric_that_is_no_number_is_missing(truth: Truth, tier: Tier) -> None:
    body = "return {'ratio': float('nan'), 'one': 1.0}"
    day = realize(truth, tier, f"\ndef metrics(actuals, predictions):\n    {body}\n")
    assert day.metrics["one"] == 1.0
    assert day.missing == {"ratio": "the model's own function gave nan"}


def test_a_child_that_failed_is_not_asked_again(truth: Truth, tier: Tier) -> None:
    bundle = with_metrics(truth, "\ndef metrics(actuals, predictions):\n    raise OSError('no')\n")
    with own_judge(truth.registry, truth.home, tier, bundle) as judge:
        assert judge is not None
        for _ in range(2):
            with pytest.raises(ChildError, match="metrics raised OSError: no"):
                judge.measure(truth.match().rows)


def test_a_model_without_metrics_of_its_own_starts_nothing(truth: Truth, tier: Tier) -> None:
    bundle = truth.job.bundle
    assert not defines_metrics(bundle)
    with own_judge(truth.registry, truth.home, tier, bundle) as judge:
        assert judge is None
