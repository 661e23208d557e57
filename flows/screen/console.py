"""What a person sees: progress on standard error, results on standard output."""

import logging
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.status import Status
from rich.table import Table

from pilotline.flows.screen.logs import CHAPTER, COMMAND, FACT, lines_are_kept
from pilotline.flows.screen.text import show, write_json

log = logging.getLogger("pilotline")
# A pipe has no width: nothing is cut or folded there before 160 columns.
out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 160)
err = Console(stderr=True, highlight=False, soft_wrap=True)


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
