"""Days scored in parts by a Dask cluster: the same bits, no row twice, and no secret sent."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.flows.conftest import Demo, predictions_of
from tests.support.commands import environment_of, processes_of, start_process
from tests.support.flows.field import (
    DASK,
    END_LIMIT_S,
    LOOK_S,
    START_LIMIT_S,
    THAT_DAY,
    WORDS,
    Field,
    children_of,
    find_field,
    make_ready,
    require_whole,
    score,
    set_rules,
)
from tests.support.places import ROOT
from tests.support.servers.ports import next_port
from tests.support.waiting import stretched, wait_until

CANARY = "canary-7f3a91c2"


@pytest.fixture(scope="module")
def field(demo: Demo, server: str, shared: Path) -> Field:
    """Return the day, and the predictions of one child for all of it."""
    return find_field(demo, shared, server)


@pytest.fixture
def ready(field: Field, tmp_path: Path) -> Iterator[Callable[[Mapping[str, str]], Path]]:
    """Return a function that gives a home with the day to be scored, by the given rules."""
    yield lambda rules: make_ready(field, tmp_path / "home", rules)
    shutil.rmtree(tmp_path / "home", ignore_errors=True)


def test_a_cluster_of_two_processes_gives_the_bits_of_one_child_in_one_commit(
    field: Field, ready: Callable[..., Path], server: str
) -> None:
    require_whole(ready(DASK), server, field, 2)


def test_a_worker_of_a_cluster_that_is_killed_doubles_no_row(
    field: Field, ready: Callable[..., Path], server: str
) -> None:
    home = ready(DASK)
    process = start_process(home, *WORDS, settings={"PREFECT_API_URL": server})
    assert wait_until(lambda: children_of(home), START_LIMIT_S, LOOK_S)
    os.kill(worker_above(children_of(home)[0], process.pid), signal.SIGKILL)
    out, err = process.communicate(timeout=stretched(2 * START_LIMIT_S))
    said = json.loads(out)
    assert said["state"] in ("succeeded", "failed"), err
    expected = field.whole if said["state"] == "succeeded" else []
    assert predictions_of(home, THAT_DAY) == expected
    assert wait_until(lambda: not processes_of(home), END_LIMIT_S), processes_of(home)

    again = score(home, server)
    assert (again.status, again.json["rows"]) == (0, len(field.whole)), again.err
    assert predictions_of(home, THAT_DAY) == field.whole


def worker_above(pid: int, parent: int) -> int:
    """Return the ancestor of ``pid`` that is a worker, whose own ancestor is ``parent``."""
    while True:
        above = parent_of(pid)
        line = Path(f"/proc/{above}/cmdline").read_bytes()
        assert above not in (1, parent), "no worker above the child"
        if b"multiprocessing" in line:
            return above
        pid = above


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


class Tap:
    """A door in front of a scheduler that writes down what goes in."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._door.getsockname()[1]
        self.heard = bytearray()
        threading.Thread(target=self._listen, daemon=True).start()

    def close(self) -> None:
        """Let nobody in any more."""
        self._door.close()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                caller, _ = self._door.accept()
                inside = socket.create_connection(("127.0.0.1", self._target))
                for ends in ((caller, inside, True), (inside, caller, False)):
                    threading.Thread(target=self._carry, args=ends, daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, heard: bool) -> None:
        with contextlib.suppress(OSError), closing(target):
            while data := source.recv(65_536):
                if heard:
                    self.heard += data
                target.sendall(data)


@contextmanager
def cluster(home: Path, server: str, port: int) -> Iterator[Tap]:
    """Give a scheduler with one worker, which is a machine of its own with its own settings."""
    address, here = f"tcp://127.0.0.1:{port}", "127.0.0.1"
    settings = {"PREFECT_API_URL": server, "PREFECT_HOME": str(home / "prefect-of-worker")}
    words = [
        ["scheduler", "--host", here, "--port", str(port), "--no-dashboard", "--no-jupyter"],
        ["worker", address, "--nthreads", "1", "--no-dashboard", "--no-nanny"],
    ]
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "distributed.cli.dask_" + kind, *options],
            env=environment_of(home, settings) | {"PYTHONPATH": str(ROOT)},
            cwd=home,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for kind, *options in words
    ]
    tap = Tap(port)
    try:
        yield tap
    finally:
        tap.close()
        for process in processes:
            process.kill()
            process.wait()


def test_the_registry_s_password_and_the_key_stay_where_they_are(
    field: Field, ready: Callable[..., Path], server: str, shared: Path
) -> None:
    home = ready(DASK)
    # SQLite ignores what it does not know of an address, so this one can hold a password.
    url = f"sqlite:///file:{home / 'registry.db'}?uri=true&password={CANARY}"
    mine = {"PILOTLINE_REGISTRY_URL": url, "PILOTLINE_APPROVAL_KEY": f"key-{CANARY}"}
    with cluster(home, server, next_port(shared)) as tap:
        set_rules(home, {**DASK, "address": f'"tcp://127.0.0.1:{tap.port}"'})
        ran = score(home, server, {**mine, "DASK_DISTRIBUTED__COMM__COMPRESSION": "false"})
    assert (ran.status, ran.json["state"]) == (0, "succeeded"), ran.err
    assert predictions_of(home, THAT_DAY) == field.whole
    assert ran.json["run_id"].encode() in tap.heard  # it went through here, readable
    assert CANARY.encode() not in tap.heard
    assert CANARY not in ran.out + ran.err
    logs = [path for path in home.rglob("*") if path.is_file() and path.stat().st_size < 10**7]
    assert [path for path in logs if CANARY.encode() in path.read_bytes()] == []
