"""Models that attack, each in a whole run: it fails in words, readers see what they saw before."""

import os
import re
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from pilotline.tasks.errors import ChildError
from pilotline.tasks.sandbox.child import LOG_TAIL_BYTES
from pilotline.tasks.sandbox.environments import built_environment
from pilotline.tasks.sandbox.launching import Room, scoring_child
from pilotline.tasks.sandbox.walls import Tier
from tests.support.tasks.stage import Stage
from tests.support.waiting import stretched

C = Tier("C", "asked for by the test")
DEADLINE_S = 2.0  # the start of the child counts
SLEEP_S = 600  # what bodies here sleep that never end by themselves
LATE = r"did not finish within its deadline of [\d.]+ s"
# Two processes, each in a session of its own, then the grandchild holds every pipe.
DAEMON = (
    "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0: time.sleep(600)\n    os._exit(0)\n"
)
# It forks for some seconds only, should nothing stop it.
BOMB = """
until = time.monotonic() + 15
while time.monotonic() < until:
    try: os.fork()
    except OSError: pass
time.sleep(600)
"""
HIDDEN = """
for fd in range(3, 20):
    try: os.set_inheritable(fd, True)
    except OSError: pass
ran, runs = os.pipe()  # which the exec closes
if os.fork() == 0:
    os.setsid()
    os.execve('/bin/sleep', ['sleep', '240'], {})
os.close(runs)
os.read(ran, 1)
os._exit(0)
"""
FILL = "for n in range(40):\n    with open(f'/{}/{n}', 'wb') as file: file.write(bytes(64 << 20))"
# What our harness checks in the child, a hostile script takes away.
UNCHECKED = """
import __main__, pyarrow
def unchecked(module, model, batch, schema):
    return pyarrow.record_batch([pyarrow.array([0.5] * (ROWS))], schema=schema)
__main__._predict = unchecked
return answer(data)
"""


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("time.sleep(600)", LATE),
        ("signal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: pass", LATE),
        ("os.close(2)\nfor fd in range(3, 20):\n    try: os.close(fd)\n    except OSError: pass\n"
         "time.sleep(600)", LATE + "|ended early|broke the protocol"),
        (BOMB, r"started more than 256 processes"),
        (FILL.replace("{}", "tmp", 1), r"OSError: \[Errno 28\] No space left on device"),
        (FILL.replace("{}", "dev/shm", 1), r"OSError: \[Errno 28\] No space left on device"),
        ("open('/new', 'w')", r"OSError: \[Errno 30\] Read-only file system"),
        ("open('/dev/new', 'w')", r"OSError: \[Errno 30\] Read-only file system"),
        ("open('/model/new', 'w')", r"OSError: \[Errno 30\] Read-only file system"),
        ("ctypes.string_at(0)", r"crashed with a segmentation fault"),
        ("if len(data) < 50_000: os._exit(0)\nreturn answer(data)", r"ended early"),
        (DAEMON + "time.sleep(600)", LATE),
        (DAEMON + "os._exit(0)", r"ended early"),
        ("return answer(data).head(3)", r"predict gave 3 rows for 24576"),
        ("return pd.concat([answer(data)] * 2)", r"predict gave 49152 rows for 24576"),
        ("return answer(data)[::-1]", r"predict changed the order of rows"),
        ("return answer(data).set_axis([0] * len(data))", r"predict changed the order of rows"),
        (UNCHECKED.replace("ROWS", "3"), r"gave 3 rows for 24576"),
        (UNCHECKED.replace("ROWS", "batch.num_rows + 1"), r"gave 24577 rows for 24576"),
    ],
)  # fmt: skip
def test_a_run_of_a_hostile_model_fails_in_words_and_nothing_is_left(
    stage: Stage, bubblewrap: Tier, body: str, reason: str
) -> None:
    started = time.monotonic()
    job = stage.with_predict(body, stretched(DEADLINE_S if LATE in reason else 60))
    done = stage.require_failure(reason, job, bubblewrap)
    assert "\nLast lines of its log:\n" in done.reason
    assert done.reason.endswith("last words")
    assert time.monotonic() - started < SLEEP_S


def test_a_model_that_leaks_memory_meets_its_limit(stage: Stage) -> None:
    body = "kept = []\nwhile True: kept.append(bytearray(64 << 20))"
    job = stage.with_predict(body, stretched(20), memory_mib=512)
    stage.require_failure(r"(predict|score) raised MemoryError(.|\n)*last words", job)


@pytest.fixture(scope="module")
def room(stage: Stage) -> Iterator[Room]:
    """Return a room without a wall that several children use one after the other.

    A run would copy the environment, which takes long; no script here writes into one.
    """
    lock, scratch = stage.job.bundle.lock, stage.home.root / "scratch of the room"
    with built_environment(scratch, "churn", lock) as environment:
        yield Room(stage.home, environment, C)


def answers(stage: Stage, room: Room, body: str, deadline_s: float) -> None:
    """Let a child without a wall answer one row."""
    features = pa.table({"x": [1.0]})
    outputs = pa.schema([("probability", pa.float64())])
    folder = stage.with_predict(body, deadline_s).bundle.folder
    with scoring_child(room, folder, {}) as child:
        list(child.score(features.to_batches(), features.schema, outputs))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("signal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: pass", LATE),
        (BOMB, r"started more than 256 processes"),
        (DAEMON + "time.sleep(600)", LATE),
        (DAEMON + "os._exit(0)", r"ended early"),
        # This one cannot be found: its variables are gone, its session is its own.
        (HIDDEN, r"ended early"),
    ],
)
def test_without_a_wall_it_ends_just_as_well(
    stage: Stage, room: Room, body: str, reason: str
) -> None:
    started = time.monotonic()
    with pytest.raises(ChildError, match=reason) as caught:
        answers(stage, room, body, stretched(DEADLINE_S if reason == LATE else 60))
    assert str(caught.value).endswith("last words")
    assert time.monotonic() - started < (240 if body == HIDDEN else SLEEP_S)
    if body != HIDDEN:
        stage.require_nothing_left()


def status_mib(name: str) -> float:
    found = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024


def test_a_gigabyte_of_log_costs_the_parent_no_memory(stage: Stage) -> None:
    body = "for n in range(1024): os.write(2, b'x' * (1 << 20))\nos.write(2, b'\\nthe end')\n"
    Path("/proc/self/clear_refs").write_text("5")  # proc_pid_clear_refs(5): forget the peak
    before = status_mib("VmRSS")
    done = stage.require_failure(
        r"raised ValueError: enough(.|\n)*the end$",
        stage.with_predict(body + "raise ValueError('enough')", stretched(60)),
    )
    assert len(done.reason) < 2 * LOG_TAIL_BYTES
    assert status_mib("VmHWM") - before < 200  # the rows and their reader are some of it


def test_a_model_behind_the_wall_finds_nothing_of_ours(
    stage: Stage, bubblewrap: Tier, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PILOTLINE_SECRET", "password")
    secret = tmp_path / "secret"
    secret.write_text("password")
    held = os.open(secret, os.O_RDWR)
    os.set_inheritable(held, True)
    with socket.create_server(("127.0.0.1", 0)) as server:
        os.set_inheritable(server.fileno(), True)
        tries = {
            "the network": f"socket.create_connection(('127.0.0.1', {server.getsockname()[1]}), 2)",
            "another host": "socket.create_connection(('192.0.2.1', 80), 2)",
            "a name": "socket.getaddrinfo('localhost.localdomain.example', 80)",
            "our variables": "os.environ['PILOTLINE_SECRET']",
            "our process": f"os.kill({os.getpid()}, 0)",
            "its parent's variables": "Path('/proc/1/environ').read_bytes().index(b'password')",
            "an open file": f"os.pread({held}, 8, 0).index(b'password')",
            "an open socket": f"os.fstat({server.fileno()}) and socket.socket(fileno="
            f"{server.fileno()}).getsockname()[1] == {server.getsockname()[1]} or 1 / 0",
            # The interpreter may live there, and stands alone then.
            "the home of the user": f"[n for n in os.listdir({str(Path.home())!r})"
            f" if not {sys.base_prefix!r}.startswith(f'{Path.home()}/{{n}}')][0]",
            "the registry": f"open({str(stage.home.root / 'registry.db')!r}, 'rb')",
            "the lake": f"os.listdir({str(stage.home.lake)!r})",
            "the blobs": f"os.listdir({str(stage.home.root / 'blobs')!r})",
            "the cache": f"os.listdir({str(stage.home.root / 'cache')!r})",
            "a folder of ours": f"open({str(tmp_path / 'new')!r}, 'w')",
            "its environment": "open('/env/new', 'w')",
            "its settings": "open('/work/settings.json', 'a')",
            "compiled code": "open('/bytecode/new', 'w')",
            "the system": "open('/usr/new', 'w')",
        }
        body = "reached = []\n"
        for name, attempt in tries.items():
            body += f"try:\n    {attempt}\n    reached.append({name!r})\nexcept Exception: pass\n"
        body += "raise ValueError(f'reached {reached}')"
        stage.require_failure(
            r"ValueError: reached \[\]", stage.with_predict(body, stretched(30)), bubblewrap
        )
    os.close(held)
    assert secret.read_text() == "password"
    assert not (tmp_path / "new").exists()


def test_also_without_a_wall_a_child_holds_four_pipes_and_no_file_of_ours(
    stage: Stage, room: Room, tmp_path: Path
) -> None:
    with (tmp_path / "secret").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        body = (
            "links = [os.readlink(f'/proc/self/fd/{n}') for n in range(100)\n"
            "    if os.path.lexists(f'/proc/self/fd/{n}')]\n"
            "pipes = {link for link in links if link.startswith('pipe:')}\n"
            "rest = {link for link in links if link not in pipes} - {'/dev/null'}\n"
            "raise ValueError(f'{len(pipes)} pipes and {sorted(rest)}')"
        )
        with pytest.raises(ChildError, match=r"ValueError: 4 pipes and \[\]"):
            answers(stage, room, body, stretched(60))
