"""What is made once for all workers of a run: folders and servers, behind a lock file.

Whoever comes first makes it, the others wait; where it fails, it fails for all of them at once.
A server is watched by a process of its own (keeper.py), which ends it when the last user is gone,
however that user ended.
"""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.places import ROOT
from tests.support.suite.cpu_time import leave_out, records_of
from tests.support.waiting import wait_until

SHARED = "PILOTLINE_TEST_SHARED"  # a folder of several runs of pytest; see run.py
STARTED_WITHIN_S = 90

_keepers: list[subprocess.Popen[bytes]] = []  # they outlive this process where others use theirs


def shared_folder(factory: pytest.TempPathFactory) -> Path:
    """Return the folder that all workers of this run see."""
    named = os.environ.get(SHARED)
    if named:
        return Path(named)
    base = factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


def made_once(shared: Path, name: str, make: Callable[[Path], object]) -> Path:
    """Return the folder ``name`` in ``shared`` that ``make`` filled once; only read it."""
    folder = shared / name
    with _locked(folder):
        done, failed = folder.with_suffix(".made"), folder.with_suffix(".failed")
        if failed.exists():
            pytest.fail(f"{name} could not be made by another test: {failed.read_text('utf-8')}")
        if not done.exists():
            folder.mkdir()
            try:
                make(folder)
            except pytest.skip.Exception:
                shutil.rmtree(folder)  # the others find out for themselves
                raise
            except BaseException as err:
                failed.write_text(f"{type(err).__name__}: {err}"[:2000], "utf-8")
                raise
            done.touch()
    return folder


@dataclass(frozen=True)
class Kept:
    """A server that runs for all workers."""

    folder: Path
    facts: dict[str, str]  # what it said of itself when it was ready


@contextmanager
def kept_server(
    shared: Path,
    name: str,
    command: Callable[[Path], list[str]],
    ready: Callable[[Path], dict[str, str] | None],
    environment: Callable[[Path], dict[str, str]] = lambda _folder: dict(os.environ),
) -> Iterator[Kept]:
    """Give the server called ``name``, started by whoever comes first.

    Args:
        shared: the folder that all workers see.
        name: of the server, one word.
        command: what starts it, given a folder of its own.
        ready: what the server says of itself, or None as long as it is not ready.
        environment: of the server, given its folder; by default this process's.
    """
    pipe = shared / f"{name}.users"
    with _locked(shared / name):
        user = _join(pipe)
        if user is None:
            folder = shared / f"{name}-{time.monotonic_ns()}"
            folder.mkdir()
            user = _start(pipe, folder, name, command(folder), environment(folder))
            facts: list[dict[str, str]] = []

            def is_ready() -> bool:
                found = ready(folder)
                if found is not None:
                    facts.append(found)
                return found is not None or (folder / "ended").exists()

            if not wait_until(is_ready, STARTED_WITHIN_S) or not facts:
                os.close(user)
                log = (folder / "log").read_text("utf-8", errors="replace")
                pytest.fail(f"{name} did not start; the end of its log: {log[-2000:]}")
            said = {"folder": str(folder), "facts": facts[-1]}
            (shared / f"{name}.ready").write_text(json.dumps(said), "utf-8")
        told = json.loads((shared / f"{name}.ready").read_text("utf-8"))
    try:
        yield Kept(Path(told["folder"]), told["facts"])
    finally:
        os.close(user)  # the keeper ends the server after the last one


def _join(pipe: Path) -> int | None:
    """Return a descriptor that keeps a running server, or None where none runs."""
    try:
        return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:  # no such pipe, or nobody reads it
        return None


def _start(
    pipe: Path, folder: Path, name: str, command: list[str], environment: dict[str, str]
) -> int:
    pipe.unlink(missing_ok=True)
    os.mkfifo(pipe)
    keeper = [
        sys.executable,
        "-m",
        "tests.support.servers.keeper",
        str(pipe),
        str(folder),
        name,
        *command,
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            keeper,
            cwd=ROOT,
            env=environment | records_of(os.environ),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    _keepers.append(process)
    leave_out(process.pid)
    return os.open(pipe, os.O_WRONLY)  # returns when the keeper reads


@contextmanager
def _locked(thing: Path) -> Iterator[None]:
    with thing.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
