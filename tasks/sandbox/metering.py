"""Measuring what each day of a job uses, the child by the kernel's account of it."""

import os
import re
import resource
import threading
import time
from dataclasses import dataclass
from typing import Any

from pilotline.tasks.sandbox.child import Child, Usage
from pilotline.tasks.sandbox.environments import Environment
from pilotline.tasks.sandbox.strays import PROCESSES, list_tree

SAMPLE_S = 0.2  # what a child that dies used since the last look is not known; a look takes 0.25 ms
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
MAX_PROCESSES = 1000  # one that forks on and on would never be seen whole
PEAK = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)


@dataclass(frozen=True)
class Look:
    """What the kernel says of a child and its descendants since they began."""

    cpu_s: float
    peak_mib: float


class Meter:
    """Measures the days of one job, one after the other; a child may serve several of them.

    A walled child's usage cannot be read after it ended: bubblewrap does not wait for it, so that
    ``RUSAGE_CHILDREN`` counts 2 ms of bubblewrap (0.8). So it is looked at while it runs.
    """

    def __init__(self) -> None:
        self._child: Child | None = None
        self._look: Look | None = None  # the last one at the child
        self._counted: dict[str, float] = {}  # what of the child was read for earlier days
        self._rest = threading.Event()

    def begin(self) -> None:
        """Begin a day."""
        self._watching = False
        self._started, self._parent_cpu_s = time.perf_counter(), _parent_cpu_s()

    def watch(self, child: Child) -> None:
        """Look at ``child`` every now and then until the day is read."""
        if child is not self._child:
            self._child, self._look, self._counted = child, None, {}
        self._rest, self._watching = threading.Event(), True
        self._note(child)
        threading.Thread(target=self._sample, args=(child, self._rest), daemon=True).start()

    def read(self, environment: Environment | None) -> dict[str, Any]:
        """End the day and return what it used; rows, tier and teardown have places of their own.

        Whose word each figure is: wall, build and start seconds and bytes in and out are the
        parent's own measures. CPU and peak memory are the kernel's: of the parent as a process
        (all its threads; the peak since it began, over everything it did), of the child with its
        descendants and bubblewrap, in clock ticks. ``child_measured_by`` is "child" where the
        kernel does not tell: then CPU and peak are the child's word, as ``predict_s`` always is.
        CPU, bytes and predict seconds are this day's, also when a child serves several; the first
        day bears the child's start. ``build_s`` and ``start_s`` are the same for all of them.
        """
        usage, child = self._read_child()
        now = {"child_cpu_s": child.cpu_s, "predict_s": usage.predict_s}
        now |= {"bytes_in": usage.bytes_in, "bytes_out": usage.bytes_out}
        today = {name: max(0, value - self._counted.get(name, 0)) for name, value in now.items()}
        self._counted = now
        return {
            "wall_s": round(time.perf_counter() - self._started, 4),
            "build_s": round(environment.build_s, 4) if environment else 0.0,
            "packages_from": environment.origin if environment else "",
            "start_s": round(usage.start_s, 4),
            "predict_s": round(today["predict_s"], 4),
            "child_cpu_s": round(today["child_cpu_s"], 4),
            "child_peak_mib": round(child.peak_mib, 1),
            "child_measured_by": "kernel" if self._look else "child",
            "parent_cpu_s": round(_parent_cpu_s() - self._parent_cpu_s, 4),
            "parent_peak_mib": round(_parent_peak_mib(), 1),
            "bytes_in": today["bytes_in"],
            "bytes_out": today["bytes_out"],
        }

    def _read_child(self) -> tuple[Usage, Look]:
        self._rest.set()
        if self._child is None or not self._watching:  # none could be started
            self._look, self._counted = None, {}
            return Usage(), Look(0.0, 0.0)
        self._note(self._child)
        usage = self._child.usage
        return usage, self._look or Look(usage.cpu_s, usage.peak_mib)

    def _sample(self, child: Child, rest: threading.Event) -> None:
        while not rest.wait(SAMPLE_S) and self._note(child):
            pass

    def _note(self, child: Child) -> bool:
        """Look at ``child``; return whether there was something to see."""
        look = look_at(child.pid)
        if look is not None and child is self._child:
            before = self._look or Look(0.0, 0.0)  # whoever of the tree ended takes its part along
            self._look = Look(max(look.cpu_s, before.cpu_s), max(look.peak_mib, before.peak_mib))
        return look is not None


def _parent_peak_mib() -> float:
    """Return this process's peak memory in MiB.

    Not ``ru_maxrss``, where the kernel has better: it counts what a process was before its exec,
    which is as large as whoever started it.
    """
    try:
        found = PEAK.search((PROCESSES / "self" / "status").read_text())
    except OSError:
        found = None
    peak_kib = int(found[1]) if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak_kib / 1024


def look_at(pid: int) -> Look | None:
    """Return what process ``pid`` and its descendants used, None where the kernel does not say."""
    ticks = peak_kib = 0
    for process in list_tree(pid, MAX_PROCESSES):
        folder = PROCESSES / str(process)
        try:
            # After the name, which may hold anything, comes field 3: proc_pid_stat(5).
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            status = (folder / "status").read_text()
        except OSError:  # it ended meanwhile, or this kernel has no such files
            if process == pid:
                return None
            continue
        ticks += sum(map(int, fields[11:15]))  # its own and those of the children it waited for
        found = PEAK.search(status)  # not there when it is a zombie
        peak_kib += int(found[1]) if found else 0
    return Look(ticks * TICK_S, peak_kib / 1024)


def _parent_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
