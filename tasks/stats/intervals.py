"""How sure a metric is: what each row adds to it, and the interval that follows."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from pilotline.tasks.stats.metrics import Outcomes

Numbers = NDArray[np.float64]
Interval = tuple[float, float]

MIN_ROWS = 30  # below it a sum of rows is not yet near to normal
Z = 1.959963984540054  # the normal's 97.5 % quantile: intervals hold 95 %
RANGES: Mapping[str, Interval] = {
    "roc_auc": (0.0, 1.0),
    "brier": (0.0, 1.0),
    "brier_skill": (-np.inf, 1.0),
    "log_loss": (0.0, np.inf),
    "accuracy": (0.0, 1.0),
    "balanced_accuracy": (0.0, 1.0),
    "macro_f1": (0.0, 1.0),
    "mae": (0.0, np.inf),
    "rmse": (0.0, np.inf),
    "r2": (-np.inf, 1.0),
}


def interval_of(name: str, value: float, outcomes: Outcomes) -> Interval | None:
    """Return the 95 % interval of a metric; None where the rows are too few or all alike.

    Rows count as independent of each other.

    Source:
        accuracy: Wilson (1927), Journal of the American Statistical Association 22. roc_auc: the
        standard error of DeLong et al. (1988), Biometrics 44. The means (brier, log_loss, mae):
        the central limit theorem. The others: the normal interval by the influence of each row,
        the infinitesimal jackknife (Efron 1982, The Jackknife, the Bootstrap, chapter 6).
    """
    rows = outcomes.happened.size
    if rows < MIN_ROWS:
        return None
    if name == "accuracy":
        return wilson(value, rows)
    moved = influence(name, outcomes)
    error = 0.0 if moved is None else standard_error(moved)
    if error == 0:
        return None
    low, high = RANGES[name]
    return max(low, value - Z * error), min(high, value + Z * error)


def wilson(share: float, rows: int) -> Interval:
    """Return the 95 % interval of a share that ``rows`` rows gave.

    Source:
        Wilson (1927), without correction for continuity.
    """
    middle = (share + Z**2 / (2 * rows)) / (1 + Z**2 / rows)
    half = Z / (1 + Z**2 / rows) * np.sqrt(share * (1 - share) / rows + Z**2 / (4 * rows**2))
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))


def standard_error(moved: Numbers) -> float:
    """Return the standard error of a metric whose rows have the influence ``moved``."""
    return float(np.sqrt((moved**2).sum()) / moved.size)


def influence(name: str, outcomes: Outcomes) -> Numbers | None:
    """Return what each row moves a metric by, in 1/n; None where the metric is not defined.

    Args:
        name: the metric.
        outcomes: n rows.

    Returns:
        Shape (n,), summing to 0 for each class of rows. Its ``standard_error`` is that of the
        metric: of roc_auc exactly DeLong's, of a mean exactly that with n - 1.
    """
    happened, predicted = outcomes.happened, outcomes.predicted
    if name == "roc_auc":
        if outcomes.kind == "binary":
            return _auc(happened, predicted)
        each = [_auc((happened == k).astype(float), p) for k, p in enumerate(predicted.T)]
        found = [moved for moved in each if moved is not None]
        return np.mean(found, axis=0) if len(found) == len(each) else None
    moved = _INFLUENCES[outcomes.kind](name, happened, predicted)
    if moved is None or moved.size < 2 or not np.isfinite(moved).all():
        return None
    widened: Numbers = moved * np.sqrt(moved.size / (moved.size - 1))
    return widened


def _auc(happened: Numbers, chance: Numbers) -> Numbers | None:
    """Return the influence on the area under the curve, by each row's placement.

    Source:
        DeLong et al. (1988), computed from ranks as in Sun and Xu (2014), IEEE Signal Processing
        Letters 21(11).
    """
    from scipy.stats import rankdata

    ones = happened == 1
    n, m = int(ones.sum()), int((~ones).sum())
    if n < 2 or m < 2:
        return None
    ranks = rankdata(chance)
    above = (ranks[ones] - rankdata(chance[ones])) / m  # share of zeros below each one
    below = 1 - (ranks[~ones] - rankdata(chance[~ones])) / n  # share of ones above each zero
    area, rows = above.mean(), happened.size
    moved: Numbers = np.empty(rows)
    moved[ones] = (above - area) * rows / np.sqrt(n * (n - 1))
    moved[~ones] = (below - area) * rows / np.sqrt(m * (m - 1))
    return moved


def _of_binary(name: str, happened: Numbers, chance: Numbers) -> Numbers | None:
    if name == "log_loss":
        return _centred(_log_loss(np.where(happened == 1, chance, 1 - chance)))
    if name == "accuracy":
        return _centred((happened == (chance >= 0.5)).astype(float))
    lost = _centred((chance - happened) ** 2)
    if name == "brier":
        return lost
    base = happened.mean()
    spread = base * (1 - base)
    if spread == 0:
        return None
    brier = ((chance - happened) ** 2).mean()
    # 1 - brier / spread, by the quotient rule; spread is moved by (1 - 2 base) (y - base).
    return np.asarray(-lost / spread + brier / spread**2 * (1 - 2 * base) * (happened - base))


def _of_classes(name: str, happened: Numbers, chances: Numbers) -> Numbers | None:
    classes = np.arange(chances.shape[1])
    if name == "log_loss":
        own = chances[np.arange(happened.size), happened.astype(int)]
        return _centred(_log_loss(own / chances.sum(axis=1)))
    true = happened[:, None] == classes
    said = chances.argmax(axis=1)[:, None] == classes
    hit = (true & said).astype(float)
    if name == "accuracy":
        return _centred(hit.sum(axis=1))
    shares = true.mean(axis=0)
    if name == "balanced_accuracy":
        if (shares == 0).any():
            return None
        recall = hit.mean(axis=0) / shares
        each = true * (hit - recall) / shares
        return np.asarray(each.mean(axis=1))
    # F1 of a class is 2 hits / (said + true), by the quotient rule.
    total = said.mean(axis=0) + shares
    f1 = np.divide(2 * hit.mean(axis=0), total, out=np.zeros_like(total), where=total > 0)
    each = np.where(total > 0, (2 * hit - f1 * (said.astype(float) + true)) / total, 0.0)
    return np.asarray(each.mean(axis=1))


def _of_numbers(name: str, happened: Numbers, predicted: Numbers) -> Numbers | None:
    gap = predicted - happened
    if name == "mae":
        return _centred(np.abs(gap))
    lost, squares = _centred(gap**2), (gap**2).mean()
    if name == "rmse":
        return lost / (2 * np.sqrt(squares)) if squares > 0 else None
    spread = happened.var()
    if spread == 0:
        return None
    # 1 - squares / spread, by the quotient rule.
    around = (happened - happened.mean()) ** 2
    return np.asarray(-lost / spread + squares / spread**2 * (around - spread))


_INFLUENCES: Mapping[str, Callable[[str, Numbers, Numbers], Numbers | None]] = {
    "binary": _of_binary,
    "multiclass": _of_classes,
    "regression": _of_numbers,
}


def _centred(losses: Numbers) -> Numbers:
    return np.asarray(losses - losses.mean())


def _log_loss(chance: Numbers) -> Numbers:
    # As scikit-learn cuts chances off, so that certainty that fails costs much but not infinity.
    smallest = np.finfo(np.float64).eps
    return np.asarray(-np.log(np.clip(chance, smallest, 1 - smallest)))
