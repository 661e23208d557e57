"""Intervals against closed forms, published figures and repeated drawing."""

import numpy as np
import pytest
from scipy.stats import binomtest, sem

from pilotline.tasks.lab.models import METRICS
from pilotline.tasks.stats.intervals import influence, interval_of, standard_error, wilson
from pilotline.tasks.stats.metrics import Outcomes, measure

ROWS = 1_500


def outcomes_of(kind: str, rows: int = ROWS, seed: int = 3) -> Outcomes:
    """Return invented outcomes that the predictions have something to do with."""
    random = np.random.default_rng(seed)
    if kind == "binary":
        chance = random.beta(2, 3, size=rows)
        return Outcomes(kind, (random.random(rows) < chance).astype(float), chance**1.2)
    if kind == "regression":
        truth = random.gamma(2.0, 3.0, size=rows)
        return Outcomes(kind, truth, truth + random.normal(0.5, 2.0, size=rows))
    chances = random.dirichlet([2.0, 1.0, 3.0], size=rows)
    drawn = (random.random((rows, 1)) > chances.cumsum(axis=1)).sum(axis=1).clip(max=2)
    return Outcomes(kind, drawn.astype(float), chances)


def test_the_error_of_a_rank_is_delong_s_worked_out_by_hand() -> None:
    # Ones at 0.35 and 0.8, zeros at 0.1 and 0.4: of the ones 1/2 and 1 of the zeros are below, of
    # the zeros 1 and 1/2 of the ones above; each pair varies by 1/8, and 1/8/2 + 1/8/2 = 1/8.
    outcomes = Outcomes("binary", np.array([0.0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8]))
    moved = influence("roc_auc", outcomes)
    assert moved is not None
    assert standard_error(moved) == pytest.approx(np.sqrt(1 / 8))


def test_the_error_of_a_mean_is_the_textbook_s() -> None:
    outcomes = outcomes_of("regression", 50)
    moved = influence("mae", outcomes)
    assert moved is not None
    assert standard_error(moved) == pytest.approx(
        sem(np.abs(outcomes.predicted - outcomes.happened))
    )


def test_the_interval_of_a_share_is_wilson_s() -> None:
    known = binomtest(17, 60).proportion_ci(method="wilson")
    assert wilson(17 / 60, 60) == pytest.approx((known.low, known.high))
    assert wilson(1.0, 60)[1] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, names in METRICS.items() for name in names]
)
def test_the_error_of_every_metric_is_the_spread_of_drawing_rows_again(
    kind: str, name: str
) -> None:
    outcomes = outcomes_of(kind)
    random, values = np.random.default_rng(0), []
    for _ in range(300):
        taken = random.integers(ROWS, size=ROWS)
        drawn = Outcomes(kind, outcomes.happened[taken], outcomes.predicted[taken])
        values.append(measure((name,), drawn)[name])
    moved = influence(name, outcomes)
    assert moved is not None
    # 300 draws give a standard deviation to 4 %; four times that.
    assert standard_error(moved) == pytest.approx(np.std(values), rel=0.16)


@pytest.mark.parametrize("name", METRICS["binary"])
def test_an_interval_holds_the_truth_nineteen_times_in_twenty(name: str) -> None:
    truth = measure((name,), outcomes_of("binary", 400_000))[name]
    held = 0
    for seed in range(200):
        outcomes = outcomes_of("binary", 300, seed + 10)
        found = interval_of(name, measure((name,), outcomes)[name], outcomes)
        assert found is not None
        held += found[0] <= truth <= found[1]
    # Of 200 at 95 %, 176 to 200 in all but one of a thousand (binomial).
    assert held >= 176


def test_few_rows_have_no_interval() -> None:
    outcomes = outcomes_of("binary", 29)
    assert interval_of("brier", 0.2, outcomes) is None


def test_rows_that_are_all_alike_have_none_either() -> None:
    outcomes = Outcomes("binary", np.tile([0.0, 1.0], 20), np.tile([0.1, 0.9], 20))
    assert interval_of("roc_auc", 1.0, outcomes) is None


def test_one_outcome_alone_moves_no_rank() -> None:
    assert influence("roc_auc", Outcomes("binary", np.zeros(40), np.linspace(0, 1, 40))) is None
