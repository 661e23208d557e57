"""Metrics by hand, and the rules a version must meet."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from sklearn import metrics as sklearn

from pilotline.tasks.errors import LabError
from pilotline.tasks.home import Home
from pilotline.tasks.lab.models import MetricRule, ModelSpec, load_model_folder
from pilotline.tasks.stats.metrics import (
    Check,
    Outcomes,
    check_metrics,
    measure,
    pair_outcomes,
    possible,
)

# The example in scikit-learn's documentation of roc_auc_score.
HAPPENED = np.array([0.0, 0.0, 1.0, 1.0])
CHANCE = np.array([0.1, 0.4, 0.35, 0.8])
CLASSES = {"early": "p_early", "on time": "p_on_time", "late": "p_late"}


@pytest.fixture
def spec(blank: Home) -> ModelSpec:
    """Return what the example's model.toml says."""
    return load_model_folder(blank.lab, "flight-delay").spec


@pytest.fixture
def classes(spec: ModelSpec) -> ModelSpec:
    """Return the same for three classes."""
    columns = dict.fromkeys(CLASSES.values(), "float64")
    return replace(spec, kind="multiclass", classes=CLASSES, predictions=columns)


def test_metrics_are_those_worked_out_by_hand() -> None:
    names = ("roc_auc", "brier", "brier_skill", "log_loss", "accuracy")
    found = measure(names, Outcomes("binary", HAPPENED, CHANCE))
    assert found["roc_auc"] == 0.75  # three of four pairs are in order
    assert found["brier"] == pytest.approx((0.01 + 0.16 + 0.4225 + 0.04) / 4)
    assert found["brier_skill"] == pytest.approx(1 - 0.158125 / 0.25)
    assert found["log_loss"] == pytest.approx(-np.log([0.9, 0.6, 0.35, 0.8]).mean())
    assert found["accuracy"] == 0.75  # 0.35 calls a one a zero


def test_metrics_of_numbers_are_those_worked_out_by_hand() -> None:
    # The example in scikit-learn's documentation of r2_score: 0.948...
    happened, said = np.array([3.0, -0.5, 2.0, 7.0]), np.array([2.5, 0.0, 2.0, 8.0])
    found = measure(("mae", "rmse", "r2"), Outcomes("regression", happened, said))
    assert found["mae"] == 0.5
    assert found["rmse"] == pytest.approx(np.sqrt(0.375))
    assert found["r2"] == pytest.approx(0.948608137)


def test_metrics_of_classes_are_scikit_learn_s_on_names() -> None:
    random = np.random.default_rng(7)
    happened = random.integers(3, size=200)
    chances = random.dirichlet([2, 2, 2], size=200)
    chances[np.arange(200), happened] += 0.3
    chances /= chances.sum(axis=1, keepdims=True)
    names = ("roc_auc", "log_loss", "accuracy", "balanced_accuracy", "macro_f1")
    found = measure(names, Outcomes("multiclass", happened.astype(float), chances))
    true, said = np.array(list("abc"))[happened], np.array(list("abc"))[chances.argmax(axis=1)]
    assert found == {
        "roc_auc": pytest.approx(sklearn.roc_auc_score(true, chances, multi_class="ovr")),
        "log_loss": pytest.approx(sklearn.log_loss(true, chances)),
        "accuracy": pytest.approx(sklearn.accuracy_score(true, said)),
        "balanced_accuracy": pytest.approx(sklearn.balanced_accuracy_score(true, said)),
        "macro_f1": pytest.approx(sklearn.f1_score(true, said, average="macro")),
    }


@pytest.mark.parametrize("happened", [[], [0.0, 0.0], [1.0, 1.0]])
def test_one_outcome_alone_gives_no_ranking(happened: list[float]) -> None:
    outcomes = Outcomes("binary", np.array(happened), np.full(len(happened), 0.5))
    assert measure(("roc_auc", "brier_skill"), outcomes) == {}


def test_one_outcome_alone_still_has_an_error() -> None:
    found = measure(("brier", "log_loss"), Outcomes("binary", np.zeros(2), np.full(2, 0.5)))
    assert found == {"brier": 0.25, "log_loss": pytest.approx(np.log(2))}


def test_a_class_that_never_happened_gives_no_mean_over_classes() -> None:
    happened, chances = np.array([0.0, 1.0, 0.0, 1.0]), np.full((4, 3), 1 / 3)
    found = measure(
        ("roc_auc", "balanced_accuracy", "log_loss"), Outcomes("multiclass", happened, chances)
    )
    assert found == {"log_loss": pytest.approx(np.log(3))}


def test_classes_are_numbered_as_they_are_declared(classes: ModelSpec) -> None:
    predicted = pa.table({"p_early": [0.5, 0.1], "p_on_time": [0.3, 0.2], "p_late": [0.2, 0.7]})
    outcomes = pair_outcomes(classes, pa.chunked_array([["late", "early"]]), predicted)
    assert outcomes.happened.tolist() == [2.0, 0.0]
    assert outcomes.predicted.tolist() == [[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]]


def test_an_outcome_the_model_does_not_speak_of_is_none(
    spec: ModelSpec, classes: ModelSpec
) -> None:
    assert possible(spec, pa.chunked_array([[0, 1, 2]])).to_pylist() == [True, True, False]
    late = pa.chunked_array([["late", "lost"]])
    assert possible(classes, late).to_pylist() == [True, False]
    numbers = replace(spec, kind="regression")
    found = possible(numbers, pa.chunked_array([[1.5, np.nan, np.inf]]))
    assert found.to_pylist() == [True, False, False]


def test_a_target_of_another_kind_is_named(spec: ModelSpec) -> None:
    predicted = pa.table({"probability": [0.5, 0.5]})
    with pytest.raises(
        LabError,
        match=r"^model 'flight-delay': target 'late' holds 2, expected 0 or 1\. Mend the dataset",
    ):
        pair_outcomes(spec, pa.chunked_array([[1, 2]]), predicted)
    with pytest.raises(LabError, match=r"target 'late' is string, no number\. Name another"):
        pair_outcomes(spec, pa.chunked_array([["yes", "no"]]), predicted)


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
    assert check == Check(
        "roc_auc", False, "the held-out days cannot give it: they hold one outcome only"
    )
