"""What a command that ran inside the tests' own process must leave as it found it."""

import gc
import logging
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import _lru_cache_wrapper
from pathlib import Path
from typing import Any

import pytest

UNTOUCHED: tuple[int, bool, bool, list[str]] = (logging.NOTSET, True, False, [])
SILENT = "<NullHandler (NOTSET)>"  # what a library gives its own logger
OURS = "pilotline"
# Caches whose answers follow from their arguments alone: another test may find them filled.
DETERMINED = (
    "pilotline.tasks.stats.noise.",
    "pilotline.tasks.explain.openlineage._producer",
    "pilotline.tasks.s3_folder.",  # by all AWS_ variables
)


@contextmanager
def check_nothing_leaks(words: Sequence[str]) -> Iterator[None]:
    """Fail the test where the block leaves something of this process changed.

    What the first import of a library makes (its loggers, its runtime's descriptors) is no leak.
    """
    before = take_stock()
    yield
    changed = find_changes(before, take_stock())
    if changed:
        gc.collect()  # what only awaits its collection is gone with a process
        changed = find_changes(before, take_stock())
    if changed:
        pytest.fail(f"'pilotline {' '.join(words)}' left changed: {'; '.join(changed)}")


def take_stock() -> dict[str, dict[str, Any]]:
    """Return what there is of each kind, by name."""
    return {
        "environment": dict(os.environ),
        "working folder": {"": os.getcwd()},
        "module path": {"": list(sys.path)},
        "thread": {f"{t.name} {t.ident}": t.is_alive() for t in threading.enumerate()},
        "descriptor": _descriptors(),
        "logger": _loggers(),
        "cache": _caches(),
        "Prefect's settings": {"": _prefect_settings()},
        "Prefect": {"imported": "prefect" in sys.modules},
    }


def find_changes(before: dict[str, dict[str, Any]], after: dict[str, dict[str, Any]]) -> list[str]:
    """Return a phrase for each thing that is not as before."""
    found = []
    for kind, things in after.items():
        old = before[kind]
        for name in sorted({*old, *things}):
            if kind == "logger" and name not in old and things[name] == UNTOUCHED:
                continue  # made by an import
            if kind in ("descriptor", "thread") and name not in things:
                continue  # an earlier test's, collected meanwhile
            if old.get(name) != things.get(name):
                found.append(f"{kind} {name} ({old.get(name)!r}, now {things.get(name)!r})")
    return found


def _descriptors() -> dict[str, str]:
    """Return what is open; what has no name and no address belongs to a library's runtime."""
    unnamed = {
        f"socket:[{line.split()[6]}]"
        for line in Path("/proc/net/unix").read_text().splitlines()[1:]
        if len(line.split()) == 7
    }
    found = {}
    for number in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{number}")
        except OSError:  # the listing's own
            continue
        if not target.startswith("anon_inode:") and target not in unnamed:
            found[number] = target
    return found


def _loggers() -> dict[str, tuple[int, bool, bool, list[str]]]:
    named = {
        n: x for n, x in logging.root.manager.loggerDict.items() if isinstance(x, logging.Logger)
    }
    return {
        name: (logger.level, logger.propagate, logger.disabled, _heard_by(logger))
        for name, logger in {"": logging.root, **named}.items()
    }


def _heard_by(logger: logging.Logger) -> list[str]:
    return [said for said in map(repr, logger.handlers) if said != SILENT]


def _caches() -> dict[str, int]:
    found = {}
    for module_name, module in list(sys.modules.items()):
        if module_name.split(".")[0] == OURS:
            for name, value in vars(module).items():
                if not isinstance(value, _lru_cache_wrapper) or value.__module__ != module_name:
                    continue  # imported from elsewhere: urlsplit has a cache too
                full = f"{module_name}.{name}"
                if not full.startswith(DETERMINED):
                    found[full] = value.cache_info().currsize
    return {name: size for name, size in found.items() if size}


def _prefect_settings() -> Any:
    context = sys.modules.get("prefect.context")
    return context.SettingsContext.get() if context else None
