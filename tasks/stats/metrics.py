"""Metrics of predictions against what happened, and the rules a version must meet."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pilotline.tasks.errors import LabError
from pilotline.tasks.lab import MetricRule, ModelSpec

Numbers = NDArray[np.float64]
HIGHER_IS_BETTER = {
    "roc_auc": True,
    "brier": False,
    "brier_skill": True,
    "log_loss": False,
    "accuracy": True,
    "balanced_accuracy": True,
    "macro_f1": True,
    "mae": False,
    "rmse": False,
    "r2": True,
}
# What is measured besides what model.toml names.
ALWAYS: Mapping[str, tuple[str, ...]] = {
    "binary": ("roc_auc", "brier"),
    "multiclass": ("accuracy", "log_loss"),
    "regression": ("mae", "rmse"),
}

AGAINST = " against champion"  # how the names of the checks end that compare


@dataclass(frozen=True)
class Check:
    """One rule and what came of it."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True)
class Outcomes:
    """What happened beside what was predicted, as numbers."""

    kind: str  # binary, multiclass or regression
    happened: Numbers  # shape (n,): 0 or 1; the place of the class; the number
    predicted: Numbers  # shape (n,): chance of 1, or number; (n, k): chance of each class


def measured_names(spec: ModelSpec) -> tuple[str, ...]:
    """Return the metrics of ``spec``: those it names, and those always measured."""
    return tuple(dict.fromkeys([*spec.metrics, *ALWAYS[spec.kind]]))


def possible(spec: ModelSpec, happened: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return for each known outcome whether it is one that ``spec`` speaks of."""
    if spec.kind == "multiclass":
        return pc.is_in(happened.cast(pa.string()), pa.array(list(spec.classes)))
    numbers = _cast(spec, happened)
    if spec.kind == "binary":
        return pc.is_in(numbers, pa.array([0.0, 1.0]))
    return pc.is_finite(numbers)


def pair_outcomes(spec: ModelSpec, happened: pa.ChunkedArray, predicted: pa.Table) -> Outcomes:
    """Return outcomes and predictions as numbers.

    Args:
        spec: of the model that is judged.
        happened: the target column, without nulls.
        predicted: the declared predictions, in the same order of rows.

    Raises:
        LabError: the target holds what is no outcome of this kind of prediction.
    """
    fits = possible(spec, happened)
    if not pc.all(fits, min_count=0).as_py():
        found = happened.filter(pc.invert(fits))[0].as_py()
        expected = {
            "binary": "0 or 1",
            "multiclass": f"one of {', '.join(spec.classes)}",
            "regression": "a finite number",
        }[spec.kind]
        raise LabError(
            f"model {spec.name!r}",
            f"target {spec.target!r} holds {found!r}, expected {expected}",
            "Mend the dataset, or set kind and classes in [evaluation].",
        )
    if spec.kind == "multiclass":
        places = pc.index_in(happened.cast(pa.string()), pa.array(list(spec.classes)))
        chances = [_floats(predicted[column]) for column in spec.classes.values()]
        return Outcomes(spec.kind, _floats(places), np.column_stack(chances))
    return Outcomes(
        spec.kind, _floats(_cast(spec, happened)), _floats(predicted[spec.score_column])
    )


def measure(names: Sequence[str], outcomes: Outcomes) -> dict[str, float]:
    """Return the metrics called ``names``; one that the rows cannot give is left out.

    Source:
        scikit-learn's functions of these names. brier_skill is 1 minus the Brier score over that
        of always saying the share of ones among these rows (Murphy 1973); 0 is no better than
        that share. accuracy calls a chance of at least 0.5 a one, or takes the likeliest class;
        roc_auc of classes is one against the rest, each class counting alike.
    """
    if outcomes.happened.size == 0:
        return {}
    known = _MEASURES[outcomes.kind](outcomes.happened, outcomes.predicted)
    values = {name: known[name]() for name in names}
    return {name: float(value) for name, value in values.items() if np.isfinite(value)}


Measures = Mapping[str, Callable[[], float]]


def _measure_binary(happened: Numbers, chance: Numbers) -> Measures:
    from sklearn.metrics import accuracy_score, brier_score_loss, log_loss, roc_auc_score

    base = float(happened.mean())
    mixed = 0 < base < 1  # with one outcome, ranking and skill mean nothing
    return {
        "roc_auc": lambda: roc_auc_score(happened, chance) if mixed else np.nan,
        "brier": lambda: brier_score_loss(happened, chance),
        "brier_skill": lambda: (
            1 - brier_score_loss(happened, chance) / (base * (1 - base)) if mixed else np.nan
        ),
        "log_loss": lambda: log_loss(happened, chance, labels=[0, 1]),
        "accuracy": lambda: accuracy_score(happened, chance >= 0.5),
    }


def _measure_classes(happened: Numbers, chances: Numbers) -> Measures:
    from sklearn.metrics import accuracy_score, f1_score, log_loss, recall_score, roc_auc_score

    likeliest, classes = chances.argmax(axis=1), np.arange(chances.shape[1])
    seen = set(np.unique(happened)) == set(classes)  # each class: its rank or recall needs one

    def auc() -> float:
        each = [roc_auc_score(happened == k, chances[:, k]) for k in classes]
        return float(np.mean(each))

    def averaged(score: Callable[..., float]) -> float:
        return score(happened, likeliest, labels=classes, average="macro", zero_division=0.0)

    return {
        "roc_auc": lambda: auc() if seen else np.nan,
        "log_loss": lambda: log_loss(
            happened, chances / chances.sum(axis=1, keepdims=True), labels=classes
        ),
        "accuracy": lambda: accuracy_score(happened, likeliest),
        "balanced_accuracy": lambda: averaged(recall_score) if seen else np.nan,
        "macro_f1": lambda: averaged(f1_score) if seen else np.nan,
    }


def _measure_numbers(happened: Numbers, predicted: Numbers) -> Measures:
    from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

    varied = happened.min() < happened.max()
    return {
        "mae": lambda: mean_absolute_error(happened, predicted),
        "rmse": lambda: root_mean_squared_error(happened, predicted),
        "r2": lambda: r2_score(happened, predicted) if varied else np.nan,
    }


_MEASURES: Mapping[str, Callable[[Numbers, Numbers], Measures]] = {
    "binary": _measure_binary,
    "multiclass": _measure_classes,
    "regression": _measure_numbers,
}


def _cast(spec: ModelSpec, happened: pa.ChunkedArray) -> pa.ChunkedArray:
    try:
        return happened.cast(pa.float64())
    except pa.ArrowException as err:
        raise LabError(
            f"model {spec.name!r}",
            f"target {spec.target!r} is {happened.type}, no number",
            'Name another target, or set kind = "multiclass" in [evaluation].',
        ) from err


def _floats(values: pa.ChunkedArray) -> Numbers:
    return np.asarray(values.to_numpy(), dtype=np.float64)


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
            checks.append(
                Check(name, False, "the held-out days cannot give it: they hold one outcome only")
            )
            continue
        if rule.min is not None:
            passed = value >= rule.min if HIGHER_IS_BETTER[name] else value <= rule.min
            sign = "at least" if HIGHER_IS_BETTER[name] else "at most"
            checks.append(Check(name, passed, f"{value:.4f}, {sign} {rule.min:g}"))
        if rule.tolerance is not None and champion is not None and name in champion:
            behind = champion[name] - value if HIGHER_IS_BETTER[name] else value - champion[name]
            checks.append(
                Check(
                    f"{name}{AGAINST}",
                    behind <= rule.tolerance,
                    f"{value:.4f}, champion {champion[name]:.4f}, tolerance {rule.tolerance:g}",
                )
            )
    return checks
