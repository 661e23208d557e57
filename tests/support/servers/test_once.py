"""What is shared by all workers is made once, and servers end with their last user."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.places import ROOT
from tests.support.servers.once import made_once
from tests.support.suite.cpu_time import RECORDS
from tests.support.waiting import wait_until

MAKE = """
import sys, time
from pathlib import Path
from tests.support.suite.cpu_time import RECORDS
from tests.support.servers.once import made_once

def make(folder):
    with open(folder.parent / "calls", "a") as calls:
        calls.write("x")
    (folder / "file").write_text("whole")

print((made_once(Path(sys.argv[1]), "thing", make) / "file").read_text())
"""
# Uses a server until its standard input closes.
USE = """
import sys
from pathlib import Path
from tests.support.servers.once import kept_server

def ready(folder):
    said = folder / "pid"
    return {"pid": said.read_text()} if said.exists() else None

serve = (
    "import os, sys, time; new = sys.argv[1] + '.new'; open(new, 'w').write(str(os.getpid()));"
    "os.rename(new, sys.argv[1]); time.sleep(600)"
)
command = lambda folder: [sys.executable, "-c", serve, str(folder / "pid")]
with kept_server(Path(sys.argv[1]), "sleeper", command, ready) as kept:
    print(kept.facts["pid"], flush=True)
    sys.stdin.read()
"""


def start(script: str, shared: Path) -> subprocess.Popen[str]:
    """Start a worker."""
    own = {name: text for name, text in os.environ.items() if name != RECORDS}
    return subprocess.Popen(
        [sys.executable, "-c", script, str(shared)],
        cwd=ROOT,
        env=own,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def is_there(pid: int) -> bool:
    """Tell whether a process runs."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_several_processes_make_it_once_and_see_it_whole(tmp_path: Path) -> None:
    workers = [start(MAKE, tmp_path) for _ in range(3)]
    with ThreadPoolExecutor() as pool:
        said = list(pool.map(lambda worker: worker.communicate()[0], workers))
    assert said == ["whole\n"] * 3
    assert (tmp_path / "calls").read_text() == "x"


def test_what_failed_once_fails_the_others_at_once(tmp_path: Path) -> None:
    calls = []

    def make(folder: Path) -> None:
        calls.append(folder)
        raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError):
        made_once(tmp_path, "thing", make)
    with pytest.raises(pytest.fail.Exception, match=r"thing could not be made .* the disk is full"):
        made_once(tmp_path, "thing", make)
    assert len(calls) == 1


def test_a_server_ends_with_its_last_user_however_that_one_ended(tmp_path: Path) -> None:
    first, second = start(USE, tmp_path), start(USE, tmp_path)
    assert first.stdout is not None
    assert second.stdout is not None
    pid = int(first.stdout.readline())
    assert int(second.stdout.readline()) == pid
    first.communicate("")
    assert is_there(pid)
    os.kill(second.pid, signal.SIGKILL)
    second.communicate()
    assert wait_until(lambda: not is_there(pid), 10)


def test_the_next_user_after_its_end_gets_a_server_of_its_own(tmp_path: Path) -> None:
    pids = []
    for _ in range(2):
        user = start(USE, tmp_path)
        assert user.stdout is not None
        pids.append(int(user.stdout.readline()))
        user.communicate("")
        assert wait_until(lambda: not is_there(pids[-1]), 10)
    assert pids[0] != pids[1]
