"""Processes that begin with their imports done: forks of one that has made them and called nothing.

A process that runs a flow imports Prefect, Great Expectations and what they need for two to five
CPU seconds before it does anything. Here one process of each worker has done that; whoever wants
``python ARGUMENTS`` run gets a fork of it, with an environment, a session and standard streams of
its own. What a process is as it starts is not tried so: its exit code, signals, output in bytes,
what it imports and the seed of its hashes are tried with processes that start from nothing. In
/proc a fork shows the command line and environment of the process that it came from.
"""

import atexit
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from tempfile import TemporaryFile
from typing import Any

from tests.support.places import ROOT
from tests.support.suite.cpu_time import leave_out_s

MODULES = (
    *("pilotline.flows.lifecycle", "pilotline.flows.night", "pilotline.flows.replay"),
    *("pilotline.flows.commands.main", "great_expectations", "scipy.stats", "alembic.command"),
    *("pyarrow.compute", "pyarrow.csv", "pyarrow.parquet", "psycopg"),
)
OURS = ("PILOTLINE_", "PREFECT_")  # variables that a fork is to be told, not to inherit
FDS = 3  # standard output, standard error, and where the end is told
MOST_BYTES, MOST_WORD = 2**20, 64
ANY = -1


def run_warm(
    arguments: Sequence[str], env: Mapping[str, str], limit_s: float
) -> subprocess.CompletedProcess[str]:
    """Run ``python ARGUMENTS``, or the command ``pilotline``, in a fork; return what came of it.

    Args:
        arguments: -c and code, -m and a module, or pilotline, and the words after it.
        env: the whole environment.
        limit_s: in seconds.

    Raises:
        subprocess.TimeoutExpired: it took longer; it was killed with all of its session.
    """
    with TemporaryFile() as out, TemporaryFile() as err:
        pid, told = _parent().begin(arguments, env, out.fileno(), err.fileno())
        with os.fdopen(told, "rb") as ending:
            try:
                if not select.select([ending], [], [], limit_s)[0]:
                    raise subprocess.TimeoutExpired(list(arguments), limit_s)
                status = int(ending.read())
            except BaseException:  # Ctrl-C too, which does not reach a session of its own
                with suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)
                raise
        said = []
        for stream in (out, err):
            stream.seek(0)
            said.append(stream.read().decode())
    return subprocess.CompletedProcess(list(arguments), status, *said)


class _Parent:
    """The process that has imported everything, as its worker sees it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, "-m", __spec__.name, str(theirs.fileno())]
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={k: v for k, v in os.environ.items() if not k.startswith(OURS)},
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        leave_out_s(float(self._hear()))  # its imports are no one test's

    @property
    def lives(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def begin(
        self, arguments: Sequence[str], env: Mapping[str, str], out: int, err: int
    ) -> tuple[int, int]:
        """Start a fork; return its id, and the descriptor from which its exit status is read."""
        told, telling = os.pipe()
        wish = {"arguments": list(arguments), "env": dict(env)}
        try:
            with self._lock:  # a test may run two at once
                socket.send_fds(self._socket, [json.dumps(wish).encode()], [out, err, telling])
                pid = int(self._hear())
        except BaseException:
            os.close(told)
            raise
        finally:
            os.close(telling)
        return pid, told

    def _hear(self) -> str:
        said = self._socket.recv(MOST_WORD).decode()
        if not said:
            status = self._process.wait()
            raise RuntimeError(f"the process that has everything imported ended with {status}")
        return said


_making = threading.Lock()
_made: list[_Parent] = []


def _parent() -> _Parent:
    with _making:
        if not _made or not _made[-1].lives:
            _made.append(_Parent())
        return _made[-1]


def _serve(number: int) -> None:
    """Fork for each wish that comes on a socket, and tell how each fork ended."""
    ends: dict[int, int] = {}  # descriptors by process
    with socket.socket(fileno=number) as wishes:
        wishes.send(str(time.process_time()).encode())
        died, dying = os.pipe()
        os.set_blocking(dying, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(dying)
        while True:
            ready = select.select([number, died], [], [])[0]
            if died in ready:
                os.read(died, 4096)
                _tell_ends(ends)
            if number in ready:
                data, fds, _, _ = socket.recv_fds(wishes, MOST_BYTES, FDS)
                if not data:
                    return
                pid = os.fork()
                if not pid:
                    signal.set_wakeup_fd(ANY)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    for left in (number, died, dying, *ends.values(), fds[2]):
                        os.close(left)
                    wishes.detach()
                    _become(json.loads(data), fds[0], fds[1])
                ends[pid] = fds[2]
                os.close(fds[0])
                os.close(fds[1])
                wishes.send(str(pid).encode())


def _tell_ends(ends: dict[int, int]) -> None:
    while ends:
        pid, status = os.waitpid(ANY, os.WNOHANG)
        if not pid:
            return
        telling = ends.pop(pid)
        with suppress(BrokenPipeError):
            os.write(telling, str(os.waitstatus_to_exitcode(status)).encode())
        os.close(telling)


def _become(wish: dict[str, Any], out: int, err: int) -> None:
    """Be ``python ARGUMENTS`` from here on; does not return."""
    code = 70
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.setsid()
        os.dup2(out, 1)
        os.dup2(err, 2)
        os.close(out)
        os.close(err)
        os.chdir(ROOT)
        os.environ.clear()
        os.environ.update(wish["env"])
        _look_at_environment_again()
        code = _exit_code(lambda: _run(wish["arguments"]))
        threading._shutdown()  # type: ignore[attr-defined]  # as an interpreter that ends does
        atexit._run_exitfuncs()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)


def _look_at_environment_again() -> None:
    """Let Prefect, which read it when it was imported, read what it is by now."""
    from prefect.context import refresh_global_settings_context
    from prefect.logging.configuration import setup_logging

    from pilotline.flows.server.choice import prepare_environment
    from pilotline.tasks.home import find_home

    if "PILOTLINE_HOME" in os.environ and "PREFECT_HOME" not in os.environ:
        prepare_environment(find_home(os.environ, ROOT), os.environ)
    refresh_global_settings_context()
    setup_logging(incremental=False)


def _run(arguments: list[str]) -> None:
    first, *rest = arguments
    if first == "-c":
        sys.argv = ["-c", *rest[1:]]
        exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
    elif first == "-m":
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        from pilotline.flows.commands.main import main

        main(prog_name="pilotline")


def _exit_code(run: Callable[[], None]) -> int:
    try:
        run()
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
            return 1
        return end.code or 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
        return 1
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.environ |= {"GX_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}
    for name in MODULES:
        importlib.import_module(name)
    _serve(int(sys.argv[1]))
