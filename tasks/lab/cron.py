"""Cron expressions: the five fields, read strictly, and the days on which they fire."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, time

FIELDS = ("minute", "hour", "day of month", "month", "day of week")
RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
PART = re.compile(r"(\*|\w+)(?:-(\w+))?(?:/(\d+))?", re.ASCII)


@dataclass(frozen=True)
class Cron:
    """What a cron expression says."""

    text: str
    first: time  # of the day, by the clock on the wall
    month_days: frozenset[int]  # 1 to 31
    months: frozenset[int]  # 1 to 12
    week_days: frozenset[int]  # 0 is Sunday

    def fires_on(self, day: date) -> bool:
        """Tell whether it fires on ``day``, by the calendar on the wall."""
        in_week = day.isoweekday() % 7 in self.week_days
        return day.month in self.months and day.day in self.month_days and in_week


def read_cron(text: str) -> Cron:
    """Return what ``text`` says.

    Accepted is what every cron program reads in one way: numbers, names, ``*``, lists, ranges and
    steps. A day of the month together with a day of the week is not: most programs fire on either.

    Raises:
        ValueError: it is no such expression; the message says which part.
    """
    words = text.split()
    if len(words) != len(FIELDS):
        raise ValueError(f"{len(words)} fields, expected 5: {', '.join(FIELDS)}")
    minutes, hours, month_days, months, week_days = (
        _read_field(word, at) for at, word in enumerate(words)
    )
    if not words[2].startswith("*") and not words[4].startswith("*"):
        raise ValueError("both a day of the month and a day of the week")
    if not any(day <= _longest(month) for day in month_days for month in months):
        raise ValueError("a day that no such month has")
    return Cron(
        " ".join(words),
        time(min(hours), min(minutes)),
        month_days,
        months,
        frozenset(day % 7 for day in week_days),
    )


def _read_field(word: str, at: int) -> frozenset[int]:
    values: set[int] = set()
    for part in word.split(","):
        values.update(_read_part(part, at))
    return frozenset(values)


def _read_part(part: str, at: int) -> Sequence[int]:
    low, high = RANGES[at]
    found = PART.fullmatch(part)
    if found is None or (found[1] == "*" and found[2]):
        raise ValueError(f"{FIELDS[at]} {part!r} is none")
    step = int(found[3] or 1)
    if found[1] == "*":
        first, last = low, high
    else:
        first = _number(found[1], at)
        last = _number(found[2], at) if found[2] else (high if found[3] else first)
    if found[2] and first == last:  # croniter reads 2-2 as a star
        raise ValueError(f"{FIELDS[at]} {part!r} is none: write {first}")
    if step < 1 or first > last or first < low or last > high:
        raise ValueError(f"{FIELDS[at]} {part!r} is outside {low} to {high}")
    return range(first, last + 1, step)


def _number(word: str, at: int) -> int:
    names = {3: MONTHS, 4: DAYS}.get(at, ())
    if word.lower() in names:
        return names.index(word.lower()) + (at == 3)
    if not word.isdecimal():
        raise ValueError(f"{FIELDS[at]} {word!r} is none")
    return int(word)


def _longest(month: int) -> int:
    return 29 if month == 2 else 30 if month in (4, 6, 9, 11) else 31
