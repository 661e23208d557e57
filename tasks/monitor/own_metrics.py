"""A model's own metrics: its ``metrics`` function, run in its environment and never here."""

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pilotline.registry import Registry
from pilotline.tasks.errors import ChildError
from pilotline.tasks.home import Home
from pilotline.tasks.lab import METRICS, Bundle, list_functions
from pilotline.tasks.monitor.actuals import PREDICTED
from pilotline.tasks.sandbox import Child, Room, Tier, Wheelhouse, built_environment, judging_child
from pilotline.tasks.stats import Interval

NAME = re.compile(r"[a-z][a-z0-9_]{0,59}")
MAX_METRICS = 50  # a report nobody reads; the registry keeps every one for ever
OURS = {"coverage", *(name for names in METRICS.values() for name in names)}


@dataclass(frozen=True)
class OwnMetrics:
    """What a model says of its own predictions."""

    values: Mapping[str, float]
    intervals: Mapping[str, Interval | None]


class Judge:
    """A model's own ``metrics``; a child that failed once is not asked again."""

    def __init__(self, bundle: Bundle, child: Child) -> None:
        self._bundle, self._child = bundle, child
        self.failed = ""

    def measure(self, rows: pa.Table) -> OwnMetrics:
        """Return the model's metrics of ``rows``.

        Args:
            rows: the actuals' columns, and the predictions under ``PREDICTED`` names.

        Raises:
            ChildError: its function failed, or gave what is no metric.
        """
        if self.failed:
            raise ChildError(self._bundle.spec.name, self.failed)
        try:
            return _check(self._bundle.spec.name, self._child.measure(rows))
        except ChildError as err:
            self.failed = err.problem
            raise


def defines_metrics(bundle: Bundle) -> bool:
    """Tell whether the version's ``model.py`` defines ``metrics``; it is read, not run."""
    return "metrics" in list_functions(bundle.files["model.py"])


@contextmanager
def own_judge(registry: Registry, home: Home, tier: Tier, bundle: Bundle) -> Iterator[Judge | None]:
    """Give what runs the version's own metrics in its environment; None where it has none.

    Raises:
        EnvironmentBuildError: its environment cannot be built.
    """
    if not defines_metrics(bundle):
        yield None
        return
    with built_environment(
        home.scratch,
        bundle.spec.name,
        bundle.lock,
        walled=tier.walled,
        wheelhouse=Wheelhouse(registry, home.scratch),
    ) as environment:
        judge = None
        try:
            with judging_child(Room(home, environment, tier), bundle.folder, PREDICTED) as child:
                judge = Judge(bundle, child)
                yield judge
        except ChildError:
            if judge is None or not judge.failed:  # else who asked was told; its end adds nothing
                raise


def _check(model: str, said: Mapping[str, Any]) -> OwnMetrics:
    """Return what a child said, once it has the form of metrics: the child is not trusted."""
    if len(said) > MAX_METRICS:
        raise ChildError(model, f"metrics gave {len(said)} values, at most {MAX_METRICS} are kept")
    values: dict[str, float] = {}
    intervals: dict[str, Interval | None] = {}
    for name, found in said.items():
        if not NAME.fullmatch(name) or name in OURS:
            raise ChildError(
                model,
                f"metrics gave {name[:60]!r}; a name is of a-z, 0-9 and '_', and none of "
                f"{', '.join(sorted(OURS))}",
            )
        if not isinstance(found, list) or len(found) != 3:
            raise ChildError(model, f"metrics gave {str(found)[:60]!r} for {name!r}")
        value, low, high = (_number(part) for part in found)
        values[name] = value
        sure = math.isfinite(low) and math.isfinite(high) and low <= high
        intervals[name] = (low, high) if sure else None
    return OwnMetrics(values, intervals)


def _number(part: object) -> float:
    if isinstance(part, int | float) and not isinstance(part, bool):
        try:
            return float(part)
        except OverflowError:  # an integer of JSON may have any number of digits
            return math.nan
    return math.nan
