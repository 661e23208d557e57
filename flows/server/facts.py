"""What ``pilotline up`` leaves in the home while it runs: a lock, and where its server is."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from pilotline.flows.screen.text import show
from pilotline.tasks.errors import SettingsError
from pilotline.tasks.home import Home


@dataclass(frozen=True)
class Facts:
    """A running factory."""

    pid: int
    api_url: str
    since: str  # ISO 8601
    ready: bool  # whether its server answers and its deployments are there

    @property
    def ui_url(self) -> str:
        """Where a person looks."""
        return self.api_url.removesuffix("/api")


def find_up(home: Home) -> Facts | None:
    """Return the factory that runs in this home, None where none does.

    What a killed one left is recognised by its lock, which ended with it.
    """
    try:
        with (home.prefect / "up.lock").open("r") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return None
    except BlockingIOError:
        return _read(home)
    except OSError:
        return None


@contextmanager
def hold_up(home: Home) -> Iterator[None]:
    """Hold the home's lock for the block; its facts are gone afterwards.

    Raises:
        SettingsError: another factory runs in this home.
    """
    home.prefect.mkdir(parents=True, exist_ok=True)
    with (home.prefect / "up.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _runs_already(home) from None
        _path(home).unlink(missing_ok=True)  # of one that was killed
        try:
            yield
        finally:
            _path(home).unlink(missing_ok=True)


def write_facts(home: Home, facts: Facts) -> None:
    """Write where the factory is; only who holds the lock does."""
    unfinished = _path(home).with_suffix(".unfinished")
    unfinished.write_text(json.dumps(asdict(facts), indent=2) + "\n", "utf-8")
    os.replace(unfinished, _path(home))


def _read(home: Home) -> Facts | None:
    try:
        return Facts(**json.loads(_path(home).read_text("utf-8")))
    except (OSError, ValueError, TypeError):  # it begins, or ends, at this moment
        return None


def _runs_already(home: Home) -> SettingsError:
    facts = _read(home)
    if facts is None:
        return SettingsError(str(home.root), "a factory starts or stops here", "Try again.")
    since = show(datetime.fromisoformat(facts.since))
    return SettingsError(
        str(home.root),
        f"a factory runs here since {since}: {facts.ui_url}, process {facts.pid}",
        f"See 'pilotline status'; 'kill {facts.pid}' stops it.",
    )


def _path(home: Home) -> Path:
    return home.prefect / "up.json"
