"""Metrics by hand, and the rules a version must meet."""

import numpy as np
import pytest

from tasks.evaluation import Check, check_metrics, measure
from tasks.model_folder import MetricRule

# The example in scikit-learn's documentation of roc_auc_score.
HAPPENED = np.array([0.0, 0.0, 1.0, 1.0])
CHANCE = np.array([0.1, 0.4, 0.35, 0.8])


def test_metrics_are_those_worked_out_by_hand() -> None:
    found = measure(("roc_auc", "brier", "brier_skill", "log_loss"), HAPPENED, CHANCE)
    assert found["roc_auc"] == 0.75  # three of four pairs are in order
    assert found["brier"] == pytest.approx((0.01 + 0.16 + 0.4225 + 0.04) / 4)
    assert found["brier_skill"] == pytest.approx(1 - 0.158125 / 0.25)
    assert found["log_loss"] == pytest.approx(-np.log([0.9, 0.6, 0.35, 0.8]).mean())


@pytest.mark.parametrize("happened", [[], [0.0, 0.0], [1.0, 1.0]])
def test_one_outcome_alone_gives_no_metric(happened: list[float]) -> None:
    assert measure(("roc_auc",), np.array(happened), np.full(len(happened), 0.5)) == {}


def test_a_rule_is_at_least_for_ranking_and_at_most_for_errors() -> None:
    rules = {"roc_auc": MetricRule(0.7, None), "brier": MetricRule(0.15, None)}
    assert check_metrics(rules, {"roc_auc": 0.75, "brier": 0.158125}, None) == [
        Check("roc_auc", True, "0.7500, at least 0.7"),
        Check("brier", False, "0.1581, at most 0.15"),
    ]


def test_a_version_may_be_as_far_behind_the_champion_as_the_tolerance_says() -> None:
    rules = {"roc_auc": MetricRule(None, 0.02), "brier": MetricRule(None, 0.0)}
    close = check_metrics(rules, {"roc_auc": 0.74, "brier": 0.1}, {"roc_auc": 0.75, "brier": 0.2})
    assert [check.passed for check in close] == [True, True]
    far = check_metrics(rules, {"roc_auc": 0.72, "brier": 0.3}, {"roc_auc": 0.75, "brier": 0.2})
    assert [check.passed for check in far] == [False, False]
    assert far[0].detail == "0.7200, champion 0.7500, tolerance 0.02"
    assert far[0].name == "roc_auc against champion"


def test_a_metric_the_days_cannot_give_fails_its_rule() -> None:
    (check,) = check_metrics({"roc_auc": MetricRule(0.6, None)}, {}, None)
    assert check == Check("roc_auc", False, "the held-out days hold one outcome only")
