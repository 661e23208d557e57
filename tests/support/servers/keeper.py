"""A process that keeps one server for all workers of a run, and ends it after the last of them.

Run as ``python -m tests.support.servers.keeper PIPE FOLDER NAME COMMAND...``. Each user holds the
pipe open for writing; when nobody does any more, however they ended, the server and all it started
are ended.
"""

import fcntl
import os
import resource
import select
import signal
import subprocess
import sys
from contextlib import suppress
from io import FileIO
from pathlib import Path

from tests.support.suite.cpu_time import adopt_orphans, descendants, record

LOOK_S = 0.2  # how soon a server that ends by itself is noticed
END_S = 30


def keep(pipe: Path, folder: Path, name: str, command: list[str]) -> None:
    """Run ``command`` until its last user is gone."""
    adopt_orphans()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C: the users end, and then we do
    server = subprocess.Popen(command, stdin=subprocess.PIPE)  # some end when that closes
    with pipe.open("rb", buffering=0) as users:  # returns when the first one is there
        os.set_blocking(users.fileno(), False)
        while server.poll() is None:
            ready, _, _ = select.select([users], [], [], LOOK_S)
            if ready and _close_to_users(pipe, users):
                break
    server.terminate()
    try:
        server.wait(END_S)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
    for pid in list(descendants()):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    with suppress(ChildProcessError):
        while True:
            os.wait()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    record({"kind": "session", "name": name, "cpu_s": used.ru_utime + used.ru_stime})
    (folder / "ended").touch()


def _close_to_users(pipe: Path, users: FileIO) -> bool:
    """Let nobody join any more, unless somebody did since the last one left."""
    with pipe.with_suffix(".lock").open("w") as lock:  # which each who joins holds: see once.py
        fcntl.flock(lock, fcntl.LOCK_EX)
        if users.read(1) is None:  # None: a user is there and says nothing
            return False
        pipe.unlink()
        return True


if __name__ == "__main__":
    keep(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4:])
