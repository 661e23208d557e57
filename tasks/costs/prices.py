"""What a CPU-hour and a GiB-hour cost, by the day from which a price holds."""

import math
from dataclasses import dataclass
from datetime import date, datetime
from itertools import pairwise
from typing import Any

from pilotline.tasks.errors import SettingsError
from pilotline.tasks.home import Home
from pilotline.tasks.lab import Table, read_toml

FILE = "costs.toml"


@dataclass(frozen=True)
class Price:
    """What is paid from a day on."""

    since: date
    cpu_hour: float
    gib_hour: float


@dataclass(frozen=True)
class Prices:
    """Every price there was, the oldest first, in one currency."""

    currency: str
    steps: tuple[Price, ...]

    def on(self, day: date) -> Price:
        """Return the price that held on ``day``."""
        return next(price for price in reversed(self.steps) if price.since <= day)


def load_prices(home: Home) -> Prices:
    """Return the prices in the home's own ``costs.toml``, else in the project's or the package's.

    Raises:
        SettingsError: the prices make no sense.
        LabError: it is not TOML, or a key is unknown, missing or of another type.
    """
    table = read_toml(home.find_rules(FILE), FILE).only("currency", "price")
    entries = table.get("price", list)
    steps = tuple(_read_price(index, entry) for index, entry in enumerate(entries))
    if not steps:
        raise SettingsError(FILE, "no [[price]]", "Add one.")
    for before, after in pairwise(steps):
        if after.since <= before.since:
            problem = f"the price since {after.since} stands after the one since {before.since}"
            raise SettingsError(FILE, problem, "Put the oldest first.")
    return Prices(table.get("currency", str), steps)


def _read_price(index: int, entry: Any) -> Price:
    where = f"{FILE} [[price]] {index + 1}"
    if not isinstance(entry, dict):
        raise SettingsError(where, f"{entry!r} is no table", "Write [[price]] above it.")
    table = Table(where, entry).only("since", "cpu_hour", "gib_hour")
    return Price(
        _read_day(index, table),
        *(_read_amount(table, name) for name in ("cpu_hour", "gib_hour")),
    )


def _read_day(index: int, table: Table) -> date:
    if index == 0:
        if "since" in table.values:
            problem = "the first price holds from the beginning"
            raise SettingsError(table.where, problem, "Leave its 'since' out.")
        return date.min
    day = table.get("since", date)
    if isinstance(day, datetime):  # which is a date to Python
        raise SettingsError(table.where, f"since {day}", "Expected a day, such as 2027-01-01.")
    return day


def _read_amount(table: Table, name: str) -> float:
    amount = table.get(name, float)
    if not math.isfinite(amount) or amount < 0:
        raise SettingsError(table.where, f"{name} {amount!r}", "Expected 0 or more.")
    return amount
