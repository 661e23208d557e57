"""The part of pytest that notes what each test costs; budgets.py sums it up."""

import math
import statistics
import time
from collections import deque
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.support.places import TESTS
from tests.support.suite.cpu_time import (
    adopt_orphans,
    record,
    tree_cpu_s,
    wait_for_orphans,
    watch_starts,
)
from tests.support.waiting import slowness_now

LOOK_S = 10
TRIFLE_S = 0.2  # of a session fixture that makes nothing


class Metering:
    """Notes CPU and wall seconds of each test, and those of each session fixture apart."""

    def __init__(self) -> None:
        adopt_orphans()
        watch_starts()
        self._looks: deque[float] = deque(maxlen=3)  # at how slow the machine is
        self._looked = -math.inf
        self._session_cpu_s = 0.0  # of the fixtures set up so far
        self._session_wall_s = 0.0

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Note one test, with its fixtures but for those of the session."""
        slowness = self._slowness()
        cpu_s, wall_s = tree_cpu_s() - self._session_cpu_s, time.monotonic() - self._session_wall_s
        try:
            return (yield)
        finally:
            record(
                {
                    "kind": "test",
                    "name": _file_of(item.path),
                    "id": item.nodeid,
                    "cpu_s": tree_cpu_s() - self._session_cpu_s - cpu_s,
                    "wall_s": time.monotonic() - self._session_wall_s - wall_s,
                    "slowness": slowness,
                }
            )
            wait_for_orphans()

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[object]
    ) -> Generator[None, object, object]:
        """Note a session fixture, without those it needs itself."""
        if fixturedef.scope != "session":
            return (yield)
        cpu_s, wall_s = tree_cpu_s(), time.monotonic()
        inner_cpu_s, inner_wall_s = self._session_cpu_s, self._session_wall_s
        try:
            return (yield)
        finally:
            cpu_s, wall_s = tree_cpu_s() - cpu_s, time.monotonic() - wall_s
            own = cpu_s - (self._session_cpu_s - inner_cpu_s)
            if own > TRIFLE_S:
                slowness = self._slowness()
                name = fixturedef.argname
                record({"kind": "session", "name": name, "cpu_s": own, "slowness": slowness})
            self._session_cpu_s = inner_cpu_s + cpu_s
            self._session_wall_s = inner_wall_s + wall_s

    def _slowness(self) -> float:
        """Return how slow the machine is these seconds: neighbours come and go within a run."""
        if time.monotonic() - self._looked > LOOK_S:
            self._looks.append(slowness_now())
            self._looked = time.monotonic()
        return statistics.median(self._looks)


def _file_of(path: Path) -> str:
    return path.relative_to(TESTS).as_posix()
