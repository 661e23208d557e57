"""How long a test waits: limits said for a quiet quick machine, stretched for this one."""

import os
import time
from collections.abc import Callable
from functools import cache
from typing import Any

CALIBRATION = "PILOTLINE_TEST_SLOWNESS"  # what suite/run.py measured, for every worker
PARTS = 20  # a twentieth of the calibration line python3 -c "sum(range(10**8))" tells enough
LOOP = 10**8 // PARTS
MOST = 20.0
POLL_S = 0.02


def wait_until(happened: Callable[[], Any], limit_s: float, every_s: float = POLL_S) -> bool:
    """Tell whether ``happened`` turned true within ``limit_s`` of a quiet quick machine.

    Where looking is work for somebody, as a server that is asked, let ``every_s`` be longer.
    """
    until = time.monotonic() + stretched(limit_s)
    while time.monotonic() < until:
        if happened():
            return True
        time.sleep(every_s)
    return bool(happened())


def stretched(limit_s: float) -> float:
    """Return what ``limit_s`` of a quiet quick machine is here and now, in seconds.

    The longer of two views counts: how slow the processor was when the run began, times how many
    processes want each core at the moment.
    """
    waiting = os.getloadavg()[0] / cores()
    return limit_s * min(MOST, max(1.0, slowness()) * max(1.0, waiting))


@cache
def slowness() -> float:
    """Return how many times longer this machine takes than the one that limits are meant for."""
    known = os.environ.get(CALIBRATION)
    return float(known) if known else slowness_now()


def slowness_now() -> float:
    """Return how many CPU seconds the calibration line would take at this moment."""
    began = time.process_time()
    sum(range(LOOP))
    return (time.process_time() - began) * PARTS


def cores() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
