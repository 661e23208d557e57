"""What scoring cost: runs added up by run, version, model or owner, at the prices of their days."""

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from pilotline.registry import Registry
from pilotline.registry.record import get_model
from pilotline.registry.runs import RunUsage, list_usage
from pilotline.tasks.costs.prices import Prices

HOUR_S = 3600.0
MIB_IN_GIB = 1024
GROUPS: dict[str, Callable[[RunUsage], str]] = {
    "run": lambda run: run.run,
    "version": lambda run: f"{run.model} {run.number}",
    "model": lambda run: run.model,
    "owner": lambda run: run.owner,
}


@dataclass(frozen=True)
class Asked:
    """Which runs to account for; all of them where nothing is said."""

    model: str | None = None
    variant: str | None = None
    start: date | None = None  # first day (UTC) on which runs began
    end: date | None = None  # last one, included


@dataclass
class Cost:
    """What a group of runs used and cost, however they ended."""

    group: str
    runs: int = 0
    unmeasured: int = 0  # under way, or died before they could say what they used
    rows: int = 0  # predictions of runs that succeeded
    wall_s: float = 0.0
    cpu_s: float = 0.0  # parent and child
    gib_hours: float = 0.0  # peak of parent and child x hours: an upper bound
    bytes_in: int = 0
    bytes_out: int = 0
    cost: float = 0.0
    cost_for_nothing: float = 0.0  # of runs that did not succeed

    @property
    def share_for_nothing(self) -> float | None:
        """Part of the cost that went into runs that did not succeed, in [0, 1]."""
        return self.cost_for_nothing / self.cost if self.cost else None

    @property
    def cost_per_million_rows(self) -> float | None:
        """Whole cost by prediction; None where there is none."""
        return self.cost / self.rows * 1e6 if self.rows else None

    def facts(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return {
            **vars(self),
            "share_for_nothing": self.share_for_nothing,
            "cost_per_million_rows": self.cost_per_million_rows,
        }


@dataclass(frozen=True)
class Account:
    """Costs by group, the highest first, and of all together."""

    currency: str
    groups: list[Cost]
    total: Cost


def account_for(registry: Registry, prices: Prices, by: str, asked: Asked) -> Account:
    """Return what the runs that ``asked`` names cost.

    Args:
        registry: where they are on record.
        prices: the price of the day on which a run began holds for it.
        by: a key of ``GROUPS``.
        asked: which runs.

    Raises:
        UnknownModelError: there is no such model.
    """
    begin = None if asked.start is None else _midnight(asked.start)
    until = None if asked.end is None else _midnight(asked.end) + timedelta(days=1)
    with registry.read() as session:
        model_id = None if asked.model is None else get_model(session, asked.model).id
        runs = list_usage(session, model_id, asked.variant, begin, until)
    return add_up(runs, prices, by)


def add_up(runs: Iterable[RunUsage], prices: Prices, by: str) -> Account:
    """Return what ``runs`` cost; ``by`` is a key of ``GROUPS``."""
    name, groups, total = GROUPS[by], dict[str, Cost](), Cost("total")
    for run in runs:
        group = name(run)
        for account in (groups.setdefault(group, Cost(group)), total):
            _add(account, run, prices)
    highest_first = sorted(groups.values(), key=lambda cost: (-cost.cost, cost.group))
    return Account(prices.currency, highest_first, total)


def _add(account: Cost, run: RunUsage, prices: Prices) -> None:
    used = json.loads(run.resources or "{}")
    wall_s = _amount(used, "wall_s")
    cpu_s = _amount(used, "parent_cpu_s") + _amount(used, "child_cpu_s")
    peak_gib = (_amount(used, "parent_peak_mib") + _amount(used, "child_peak_mib")) / MIB_IN_GIB
    gib_hours = peak_gib * wall_s / HOUR_S
    price = prices.on(run.started_at.astimezone(UTC).date())
    cost = cpu_s / HOUR_S * price.cpu_hour + gib_hours * price.gib_hour
    account.runs += 1
    account.unmeasured += not used
    account.wall_s += wall_s
    account.cpu_s += cpu_s
    account.gib_hours += gib_hours
    account.bytes_in += int(_amount(used, "bytes_in"))
    account.bytes_out += int(_amount(used, "bytes_out"))
    account.cost += cost
    if run.state == "succeeded":
        account.rows += run.rows or 0
    else:
        account.cost_for_nothing += cost


def _amount(used: dict[str, Any], name: str) -> float:
    """Return an amount on record, 0 where it is missing; an import may have brought nonsense."""
    value = used.get(name, 0)
    sane = isinstance(value, int | float) and math.isfinite(value) and value >= 0
    return float(value) if sane else 0.0


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time.min, UTC)
