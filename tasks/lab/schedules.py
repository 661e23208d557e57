"""Schedules: which day of data a night scores, when it is due and until when it is wanted.

A night belongs to a day of data, never to a start of some process: however often, late or early the
orchestrator starts, each day is due once.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from pilotline.tasks.errors import LabError
from pilotline.tasks.lab.cron import Cron, read_cron
from pilotline.tasks.lab.toml_table import Table

CLOCK = "%H:%M"


@dataclass(frozen=True)
class Schedule:
    """What ``[schedule]`` in a ``model.toml`` says."""

    cron: Cron
    timezone: str
    lag_days: int  # a run at local date D scores D - lag_days
    deliver_by: time | None  # wanted until then, by the clock on the wall

    def due(self, day: date) -> datetime | None:
        """Return when the data of ``day`` is to be scored (UTC); None where it never is.

        A time that a clock change skips counts as that much later, one that comes twice as its
        first: each night is due once.
        """
        night = day + timedelta(days=self.lag_days)
        if not self.cron.fires_on(night) or not _exists(day, self._zone):
            return None
        return self._at(night, self.cron.first)

    def deadline(self, day: date) -> datetime | None:
        """Return until when the predictions of ``day`` are wanted (UTC); None where unsaid."""
        if self.deliver_by is None:
            return None
        night = day + timedelta(days=self.lag_days)
        after_midnight = self.deliver_by <= self.cron.first
        return self._at(night + timedelta(days=after_midnight), self.deliver_by)

    def nights(self, since: datetime, until: datetime) -> list[date]:
        """Return the days of data that became due after ``since`` and not after ``until``."""
        first = (since - timedelta(days=self.lag_days + 2)).date()
        last = (until - timedelta(days=self.lag_days - 2)).date()
        days = (first + timedelta(days=n) for n in range((last - first).days + 1))
        return [day for day in days if (due := self.due(day)) and since < due <= until]

    def next_night(self, after: datetime) -> date | None:
        """Return the day of data that becomes due next; None where none does within 5 years."""
        day = (after - timedelta(days=self.lag_days + 2)).date()
        for n in range(5 * 366):
            due = self.due(day + timedelta(days=n))
            if due is not None and due > after:
                return day + timedelta(days=n)
        return None

    @property
    def _zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    def _at(self, day: date, clock: time) -> datetime:
        return datetime.combine(day, clock, self._zone).astimezone(UTC)


def read_schedule(table: Table) -> Schedule:
    """Return what ``[schedule]`` says.

    Raises:
        LabError: its cron expression, time zone or a number is none.
    """
    table.only("score", "timezone", "lag_days", "deliver_by")
    text, zone = table.get("score", str), table.get("timezone", str)
    try:
        cron = read_cron(text)
    except ValueError as err:
        remedy = 'Write five fields such as "0 2 * * *", each night at two.'
        raise LabError(table.where, f"score {text!r} is no cron schedule: {err}", remedy) from err
    _check_zone(table, zone)
    lag_days = table.get("lag_days", int, 1)
    if not 0 <= lag_days <= 366:
        raise LabError(table.where, f"lag_days is {lag_days}", "Expected 0 to 366.")
    return Schedule(cron, zone, lag_days, _read_clock(table))


def _check_zone(table: Table, zone: str) -> None:
    try:
        if not zone or zone == "localtime":  # another one on each machine
            raise ValueError(zone)
        ZoneInfo(zone)
    except (ValueError, OSError, KeyError) as err:  # KeyError: not found
        raise LabError(
            table.where,
            f"timezone {zone!r} does not exist",
            'Write its name in the IANA list, such as "America/New_York" or "UTC".',
        ) from err


def _read_clock(table: Table) -> time | None:
    if "deliver_by" not in table.values:
        return None
    text = table.get("deliver_by", str)
    try:
        return datetime.strptime(text, CLOCK).replace(tzinfo=UTC).time()
    except ValueError as err:
        remedy = 'Write hours and minutes such as "06:00".'
        raise LabError(table.where, f"deliver_by {text!r} is no time of day", remedy) from err


def _exists(day: date, zone: ZoneInfo) -> bool:
    """Tell whether the calendar there has ``day``: Samoa had no 30 December 2011."""
    noon = datetime.combine(day, time(12), zone)
    return noon.astimezone(UTC).astimezone(zone).date() == day
