"""CPU seconds of this process and all that it started, sandboxed children included.

The kernel's account of children that were waited for misses a model's child: bubblewrap ends
without waiting for it (0.8), so that 0.36 s of work count as 0.005 s. So this process becomes the
one that orphans are handed to, looks at everything below it, and waits for the orphans itself.
"""

import ctypes
import json
import os
import resource
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

RECORDS = "PILOTLINE_TEST_RECORDS"  # the file that every process of a run appends to
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
TICK_S = 1 / os.sysconf("SC_CLK_TCK")

_starting = threading.Lock()  # what has just started is nobody's orphan
_started: weakref.WeakSet[subprocess.Popen[bytes]] = weakref.WeakSet()
_counted_elsewhere: set[int] = set()
_left_out_s: list[float] = []


def adopt_orphans() -> None:
    """Let what loses its parent below this process become its child, where Linux allows it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def watch_starts() -> None:
    """Keep note of what ``subprocess`` starts here: only its own code may wait for those."""
    start: Callable[..., None] = subprocess.Popen.__init__

    def noting(process: subprocess.Popen[bytes], *given: object, **named: object) -> None:
        with _starting:
            start(process, *given, **named)
            _started.add(process)

    type.__setattr__(subprocess.Popen, "__init__", noting)


def leave_out(pid: int) -> None:
    """Leave a child, and all below it, out of this process's account: it keeps one of its own."""
    _counted_elsewhere.add(pid)


def leave_out_s(cpu_s: float) -> None:
    """Leave seconds below this process out of its account: no test asked for them."""
    _left_out_s.append(cpu_s)


def tree_cpu_s() -> float:
    """Return the CPU seconds of this process, of all it waited for, and of all below it now."""
    total = 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        used = resource.getrusage(who)
        total += used.ru_utime + used.ru_stime
    return total + sum(_look_at(pid).cpu_s for pid in descendants()) - sum(_left_out_s)


def descendants() -> Iterator[int]:
    """Give the processes below this one, but for those that are counted elsewhere.

    Only Linux tells without a look at every process there is; elsewhere there are none.
    """
    waiting = _children(os.getpid())
    while waiting:
        pid = waiting.pop()
        if pid not in _counted_elsewhere:
            waiting += _children(pid)
            yield pid


def wait_for_orphans() -> None:
    """Wait for the dead that were handed to this process; nobody else would."""
    with _starting:
        own = {process.pid for process in _started if process.returncode is None}
        for pid in _children(os.getpid()):
            if pid not in own and _look_at(pid).state == "Z":
                with suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)


@dataclass(frozen=True)
class _Look:
    state: str
    cpu_s: float  # with the children it waited for


def _look_at(pid: int) -> _Look:
    try:
        said = Path(f"/proc/{pid}/stat").read_text()
    except OSError:  # it ended meanwhile, and is in its parent's account
        return _Look("", 0.0)
    fields = said[said.rindex(")") + 2 :].split()  # proc(5): a name may hold spaces
    return _Look(fields[0], sum(map(int, fields[11:15])) * TICK_S)


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with suppress(OSError):
                text = Path(f"/proc/{pid}/task/{thread}/children").read_text()
                found += map(int, text.split())
    return found


def records_of(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variable that leads to the run's records, for a process that notes its own."""
    return {name: text for name, text in environment.items() if name == RECORDS}


def record(fact: dict[str, object]) -> None:
    """Append a fact to the run's records, where a run keeps some."""
    path = os.environ.get(RECORDS)
    if path:
        with open(path, "a", encoding="utf-8") as records:  # one write, so that lines stay whole
            records.write(json.dumps(fact) + "\n")
