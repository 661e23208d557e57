"""What a person sees: progress on standard error, results on standard output."""

import json
import logging
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.status import Status
from rich.table import Table

from flows.logs import lines_are_kept

log = logging.getLogger("pilotline")
# A pipe has no width: nothing is cut or folded there before 160 columns.
out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 160)
err = Console(stderr=True, highlight=False, soft_wrap=True)

BEYOND_ASCII = re.compile(r"[^\n -~]")
CHAPTER = logging.INFO + 5  # a heading that stays on the screen
FACT = logging.INFO + 4  # a line that stays on the screen
COMMAND = logging.INFO + 3  # a command to copy: never broken in two


class _Screen(logging.Handler):
    """Shows the latest detail in one moving line, and keeps headings, facts and warnings."""

    def __init__(self, status: Status | None) -> None:
        super().__init__(logging.INFO)
        self._status = status

    def emit(self, record: logging.LogRecord) -> None:
        """Show one record."""
        text = escape(show(record.getMessage()))
        if record.levelno >= logging.WARNING:
            err.print(f"[yellow]warning:[/] {text}")
        elif record.levelno == CHAPTER:
            err.print(f"[bold cyan]{text}[/]")
        elif record.levelno == FACT:
            err.print(Padding(text, (0, 0, 0, 2)), soft_wrap=False)
        elif record.levelno == COMMAND:
            err.print(f"  $ {text}")
        if self._status is not None and record.levelno <= CHAPTER:
            self._status.update(f"[dim]{text}[/]")


@contextmanager
def progress(what: str) -> Iterator[None]:
    """Show what the steps log while the block runs; a moving line only on a terminal."""
    if lines_are_kept():
        log.info(what)
        yield
        return
    level, propagate = log.level, log.propagate
    log.setLevel(logging.INFO)
    log.propagate = False
    status = err.status(f"[dim]{escape(what)}[/]") if err.is_terminal else None
    handler = _Screen(status)
    log.addHandler(handler)
    try:
        if status is not None:
            status.start()
        yield
    finally:
        if status is not None:
            status.stop()
        log.removeHandler(handler)
        log.setLevel(level)
        log.propagate = propagate


def tell(text: str) -> None:
    """Say beside the result what a command works with: to a person dimly, else as a line."""
    if lines_are_kept():
        log.info(text)
    else:
        err.print(f"[dim]{escape(text)}[/]")


def print_json(value: Any) -> None:
    """Print ``value`` as JSON on standard output, and nothing else."""
    sys.stdout.write(write_json(value, indent=2) + "\n")


def write_json(value: Any, indent: int | None = None) -> str:
    """Return ``value`` as JSON in which letters are letters, and what a terminal obeys is not."""
    text = json.dumps(value, indent=indent, default=_plain, ensure_ascii=False)
    return BEYOND_ASCII.sub(_escape, text)


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table on standard output; numbers right, everything from outside escaped."""
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        header_style="bold",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    listed = [list(row) for row in rows]
    for index, name in enumerate(columns):
        numeric = all(isinstance(row[index], int | float) for row in listed) and bool(listed)
        # Dates, names and numbers are kept whole; sentences give way, at their words.
        prose = any(" " in str(row[index]).strip() for row in listed)
        table.add_column(
            name, justify="right" if numeric else "left", overflow="fold", no_wrap=not prose
        )
    for row in listed:
        table.add_row(*(escape(show(value)) for value in row))
    out.print()
    out.print(table, soft_wrap=False)


def print_facts(facts: Iterable[tuple[str, object]]) -> None:
    """Print names and values under each other."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts:
        table.add_row(f"[bold]{escape(name)}[/]", escape(show(value)))
    out.print(table, soft_wrap=False)


def show(value: object) -> str:
    """Return ``value`` as a person reads it: local time, thousands, control characters escaped."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return value.astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4f}"
    text = str(value)
    return "".join(c if c.isprintable() or c in "\n\t" else f"\\x{ord(c):02x}" for c in text)


def local(text: str) -> str:
    """Return an ISO moment in the user's own zone."""
    return show(datetime.fromisoformat(text))


def _escape(found: re.Match[str]) -> str:
    character = found[0]
    return character if character.isprintable() else json.dumps(character)[1:-1]


def _plain(value: Any) -> Any:
    if isinstance(value, date | datetime):
        return value.isoformat()
    if hasattr(value, "__dataclass_fields__"):
        return {name: getattr(value, name) for name in value.__dataclass_fields__}
    raise TypeError(f"{type(value).__name__} is no JSON value")
