"""Values and options that several commands share."""

import re
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])
DAY = re.compile(r"\d{4}-\d\d-\d\d")
PRINTED = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)(?: (\S+))?")  # see console.show
HEAD = re.compile(r"[0-9a-fA-F]{12,64}")  # of 48 bits nobody has two by chance
TYPED = "pilotline.typed"


class Day(click.ParamType[date]):
    """A date as YYYY-MM-DD."""

    name = "YYYY-MM-DD"

    def convert(
        self, value: Any, param: click.Parameter | None, context: click.Context | None
    ) -> date:
        """Return the date, or fail as wrong use."""
        if isinstance(value, date):
            return value
        try:
            return date.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no date; expected YYYY-MM-DD, such as 2013-02-01.", param)


class Moment(click.ParamType[datetime]):
    """A moment in ISO 8601; without a zone it is the user's own, without a time the day's end.

    Also as it is printed, such as ``2026-11-21 09:37:05 UTC``: a time to the second means all of
    that second, for what is printed is cut there.
    """

    name = "TIME"

    def convert(
        self, value: Any, param: click.Parameter | None, context: click.Context | None
    ) -> datetime:
        """Return the moment with its zone, or fail as wrong use."""
        if isinstance(value, datetime):
            return value
        try:
            moment = _read_moment(value.strip())
        except (ValueError, OverflowError):
            self.fail(
                f"{value!r} is no time; expected such as 2026-11-21T09:30 or "
                "'2026-11-21 09:30:15 UTC'.",
                param,
            )
        if context is not None and param is not None:
            context.meta[f"{TYPED}.{param.name}"] = _say_moment(value.strip(), moment)
        return moment


def typed(name: str) -> str:
    """Return how the moment of option ``name`` was typed in this command."""
    said: str = click.get_current_context().meta[f"{TYPED}.{name}"]
    return said


def _read_moment(text: str) -> datetime:
    if DAY.fullmatch(text):  # a day means its end, as in as-of:DATE
        return (datetime.fromisoformat(text) + timedelta(days=1)).astimezone()
    printed = PRINTED.fullmatch(text)
    if printed is None:
        return datetime.fromisoformat(text).astimezone()
    second = datetime.fromisoformat(printed[1]) + timedelta(seconds=1, microseconds=-1)
    return second.replace(tzinfo=_read_zone(printed[2])).astimezone()


def _read_zone(name: str | None) -> tzinfo | None:
    """Return the zone called ``name``: UTC, or one of the two that the user's own has by turns.

    Raises:
        ValueError: it is another name; many mean several zones.
    """
    if name is None:
        return None
    if name in ("UTC", "Z"):
        return UTC
    own = {time.tzname[0]: time.timezone, time.tzname[1]: time.altzone}
    if name not in own:
        raise ValueError(f"unknown zone {name!r}")
    return timezone(timedelta(seconds=-own[name]))


def _say_moment(text: str, moment: datetime) -> str:
    """Return what was typed, with what it leaves unsaid."""
    return f"{text} (the end of that day, {moment:%Z})" if DAY.fullmatch(text) else text


class Words(click.ParamType[str]):
    """A reason or comment in somebody's own words: it is kept for ever."""

    name = "TEXT"

    def convert(
        self, value: Any, param: click.Parameter | None, context: click.Context | None
    ) -> str:
        """Return the words, or fail as wrong use."""
        if not value.strip():
            self.fail("it is empty; say why in a few words.", param)
        if value.strip() == self.name:
            self.fail(f"{self.name} stands for what you have to say; write your own words.", param)
        return str(value)


class Head(click.ParamType[str]):
    """The hash of an event, or how it begins."""

    name = "HASH"

    def convert(
        self, value: Any, param: click.Parameter | None, context: click.Context | None
    ) -> str:
        """Return the hash in small letters, or fail as wrong use."""
        if not HEAD.fullmatch(value):
            self.fail(
                f"{value!r} is no head; expected the 64 characters 0-9 and a-f that "
                "'pilotline audit head' prints, or at least the first 12 of them.",
                param,
            )
        return str(value).lower()


def json_option(command: Command) -> Command:
    """Add ``--json``."""
    return click.option("as_json", "--json", is_flag=True, help="Print one JSON value.")(command)


def deciding_options(command: Command) -> Command:
    """Add what every decision takes: why, by whom, with which code."""
    for option in (
        json_option,
        click.option("--code", help="The one-time code on the device of --by."),
        click.option("--by", help="Who says so; by default the user of this machine."),
        click.option("--reason", type=Words(), required=True, help="Why; it is kept."),
    ):
        command = option(command)
    return command
