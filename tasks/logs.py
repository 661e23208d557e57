"""What log lines are about: the model, version, date and run of the moment."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import date


@dataclass(frozen=True)
class Facts:
    """What a line is about; None is not known, or is several."""

    model: str | None = None
    version: str | None = None
    date: str | None = None
    run: str | None = None  # of the registry


NOTHING = Facts()
# Follows the code into the threads of Prefect's tasks, which copy the context.
_present: ContextVar[Facts] = ContextVar("pilotline_log_facts", default=NOTHING)


def present_facts() -> Facts:
    """Return what a line written here is about."""
    return _present.get()


@contextmanager
def about(**facts: str | date | None) -> Iterator[None]:
    """Let the lines of the block be about these facts too, and those after it not."""
    token = _present.set(_with(facts))
    try:
        yield
    finally:
        _present.reset(token)


def note(**facts: str | date | None) -> None:
    """Let the lines from here to the end of the block around be about these facts too."""
    _present.set(_with(facts))


def _with(facts: dict[str, str | date | None]) -> Facts:
    return replace(_present.get(), **{name: str(v) if v else None for name, v in facts.items()})
