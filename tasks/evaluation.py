"""Metrics of predictions against what happened, and the rules a version must meet."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.model_folder import MetricRule

HIGHER_IS_BETTER = {"roc_auc": True, "brier": False, "brier_skill": True, "log_loss": False}


@dataclass(frozen=True)
class Check:
    """One rule and what came of it."""

    name: str
    passed: bool
    detail: str


def measure(
    names: tuple[str, ...], happened: NDArray[np.float64], chance: NDArray[np.float64]
) -> dict[str, float]:
    """Return the metrics called ``names``; one that the data cannot give is left out.

    Args:
        names: of ``METRICS``.
        happened: shape (n,), 0 or 1.
        chance: shape (n,), the predicted probability of 1, in [0, 1].

    Source:
        scikit-learn's roc_auc_score, brier_score_loss and log_loss. brier_skill is 1 minus the
        Brier score over that of always saying the share of ones among these rows (Murphy 1973);
        0 is no better than that share.
    """
    from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

    if happened.size == 0 or happened.min() == happened.max():
        return {}  # with one class, ranking and skill mean nothing
    base = float(happened.mean())
    brier = float(brier_score_loss(happened, chance))
    known = {
        "roc_auc": lambda: float(roc_auc_score(happened, chance)),
        "brier": lambda: brier,
        "brier_skill": lambda: 1 - brier / (base * (1 - base)),
        "log_loss": lambda: float(log_loss(happened, chance)),
    }
    return {name: known[name]() for name in names}


def check_metrics(
    rules: Mapping[str, MetricRule],
    own: Mapping[str, float],
    champion: Mapping[str, float] | None,
) -> list[Check]:
    """Return a check for every rule: at least its minimum, and not too far behind the champion."""
    checks = []
    for name, rule in rules.items():
        value = own.get(name)
        if value is None:
            checks.append(Check(name, False, "the held-out days hold one outcome only"))
            continue
        if rule.min is not None:
            passed = value >= rule.min if HIGHER_IS_BETTER[name] else value <= rule.min
            sign = "at least" if HIGHER_IS_BETTER[name] else "at most"
            checks.append(Check(name, passed, f"{value:.4f}, {sign} {rule.min:g}"))
        if rule.tolerance is not None and champion is not None and name in champion:
            behind = champion[name] - value if HIGHER_IS_BETTER[name] else value - champion[name]
            checks.append(
                Check(
                    f"{name} against champion",
                    behind <= rule.tolerance,
                    f"{value:.4f}, champion {champion[name]:.4f}, tolerance {rule.tolerance:g}",
                )
            )
    return checks
