"""Values and options that several commands share."""

from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


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
    """A moment in ISO 8601; without a zone it is the user's own, without a time the day's end."""

    name = "TIME"

    def convert(
        self, value: Any, param: click.Parameter | None, context: click.Context | None
    ) -> datetime:
        """Return the moment with its zone, or fail as wrong use."""
        if isinstance(value, datetime):
            return value
        try:
            if len(value) == len("YYYY-MM-DD"):  # a day means its end, as in as-of:DATE
                return datetime.fromisoformat(value).astimezone() + timedelta(days=1)
            return datetime.fromisoformat(value).astimezone()
        except ValueError:
            self.fail(f"{value!r} is no time; expected such as 2026-11-21T09:30.", param)


def json_option(command: Command) -> Command:
    """Add ``--json``."""
    return click.option("as_json", "--json", is_flag=True, help="Print one JSON value.")(command)
