"""The command line as tests use it: as a process, as a user does, or much cheaper in this one.

A reading command costs 1.2 to 1.5 CPU seconds as a process and a few hundredths here. Commands that
run a flow, and what only a process shows (exit codes, bytes, signals, what is imported), are
processes. Those that run a flow at a server begin as forks of a process with its imports done
(warm.py).
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from contextvars import copy_context
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from tests.support.places import ROOT
from tests.support.suite.leaks import check_nothing_leaks
from tests.support.waiting import stretched
from tests.support.warm import run_warm

COMMAND = Path(sys.executable).with_name("pilotline")
COMMAND_LIMIT_S = 60
NOTHING: Mapping[str, str] = {}
# Read when a process starts, or changed for good by a command: these want a process. Where a
# Prefect server is, commands that ask it without Prefect read each time.
PROCESS_ONLY = re.compile(
    r"TZ|LANG|LC_|NO_COLOR|FORCE_COLOR|COLUMNS|PYTHON|DASK_|PILOTLINE_LOG|PREFECT_(?!API_URL$)"
)

WITH_A_FLOW = (
    *("demo", "doctor", "up", "ingest", "train", "release", "verify", "score", "backfill"),
    *("monitor", "replay"),
)


@dataclass(frozen=True)
class Ran:
    """A command that ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON value on standard output."""
        return json.loads(self.out)


def environment_of(home: Path, settings: Mapping[str, str] = NOTHING) -> dict[str, str]:
    """Return the environment of a user of ``home`` who set nothing but ``settings``."""
    own = {k: v for k, v in os.environ.items() if not k.startswith(("PILOTLINE_", "PREFECT_"))}
    places = {"PILOTLINE_HOME": str(home), "PILOTLINE_LAB": str(ROOT / "lab")}
    return own | places | dict(settings)


def run_process(
    home: Path,
    *words: str,
    settings: Mapping[str, str] = NOTHING,
    limit_s: float = COMMAND_LIMIT_S,
) -> Ran:
    """Run ``pilotline`` with ``words`` in ``home``, as a user would, and wait for its end."""
    done = subprocess.run(
        [COMMAND, *words],
        env=environment_of(home, settings),
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=stretched(limit_s),
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def run_flow(
    home: Path,
    *words: str,
    settings: Mapping[str, str] = NOTHING,
    limit_s: float = COMMAND_LIMIT_S,
) -> Ran:
    """Run a command that runs a flow in a process of its own, which begins with its imports done.

    Where it would start a Prefect server, or settings differ that are read when it starts, it
    begins from nothing.
    """
    if "PREFECT_API_URL" not in settings or any(map(PROCESS_ONLY.match, settings)):
        return run_process(home, *words, settings=settings, limit_s=limit_s)
    done = run_warm([COMMAND.name, *words], environment_of(home, settings), stretched(limit_s))
    return Ran(done.returncode, done.stdout, done.stderr)


def run_python(
    home: Path, *arguments: str, settings: Mapping[str, str], limit_s: float = COMMAND_LIMIT_S
) -> Ran:
    """Run ``python ARGUMENTS`` as a worker does, beginning as ``run_flow`` begins.

    Args:
        home: whose process it is.
        arguments: -c and code, or -m and a module, and the words after it.
        settings: beside those of a user of the home; a worker's PREFECT_HOME is always its home's.
        limit_s: in seconds of a quiet quick machine.
    """
    names = {**settings, "PREFECT_HOME": str(home / "prefect")}
    environment, limit_s = environment_of(home, names), stretched(limit_s)
    if any(map(PROCESS_ONLY.match, settings)):
        done = subprocess.run(
            [sys.executable, *arguments],
            env=environment,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
        )
    else:
        done = run_warm(arguments, environment, limit_s)
    return Ran(done.returncode, done.stdout, done.stderr)


def run_command(home: Path, *words: str, settings: Mapping[str, str] = NOTHING) -> Ran:
    """Run ``pilotline`` with ``words`` in this process where that can be, else in its own."""
    if words[0] in WITH_A_FLOW and "--plan" not in words:
        return run_flow(home, *words, settings=settings)
    alone = any(map(PROCESS_ONLY.match, settings))
    return (run_process if alone else run_here)(home, *words, settings=settings)


def start_process(
    home: Path, *words: str, settings: Mapping[str, str] = NOTHING
) -> subprocess.Popen[str]:
    """Start ``pilotline`` in a process group of its own, as a shell does."""
    return subprocess.Popen(
        [COMMAND, *words],
        env=environment_of(home, settings),
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def processes_of(home: Path) -> dict[int, str]:
    """Return the running processes that name ``home``, with their command lines.

    Not those of ``run_flow`` itself, which has ended when it returns: forks keep what they came
    from. What they start is found.
    """
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            variables = (folder / "environ").read_bytes().decode(errors="replace")
        except OSError:  # it ended meanwhile, or is somebody else's
            continue
        if f"{home}/" in command + variables or f"={home}\0" in variables:
            found[int(folder.name)] = command
    return found


def run_here(home: Path, *words: str, settings: Mapping[str, str] = NOTHING) -> Ran:
    """Run ``pilotline`` with ``words`` in ``home`` in this process; it must run no flow.

    The test fails where the command leaves anything changed, or raises what a user would see as a
    traceback.
    """
    from pilotline.flows.commands.main import main

    for name in settings:
        assert not PROCESS_ONLY.match(name), f"{name} wants run_process"
    wanted = environment_of(home, settings)
    changes = {name: wanted.get(name) for name in {*os.environ, *wanted}}
    cwd = Path.cwd()
    with check_nothing_leaks(words):
        os.chdir(ROOT)
        try:
            done = copy_context().run(  # a process has facts for its log lines of its own
                lambda: CliRunner().invoke(
                    main, words, env=changes, prog_name="pilotline", catch_exceptions=False
                )
            )
        finally:
            os.chdir(cwd)
    return Ran(done.exit_code, done.stdout, done.stderr)
