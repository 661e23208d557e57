"""The part of pytest that picks the files of a tier, orders them, and limits each test's time."""

import sys
from pathlib import Path

import pytest

from tests.support.places import TESTS
from tests.support.suite.budgets import Cost, read_budgets
from tests.support.suite.tiers import Tier, place_of
from tests.support.waiting import stretched

TEST_LIMIT_S = 300  # with its fixtures: whoever needs the demo first makes it, in 60 s
STARTS = ("subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system")
UNKNOWN = Cost(0.0, 30.0)  # a new file: early enough not to come last


def add_options(parser: pytest.Parser) -> None:
    """Add what tests/support/suite/run.py says; without them every file that is named runs."""
    group = parser.getgroup("tiers")
    group.addoption("--tier", choices=list(Tier), help="run what tests/tiers.toml says of a tier")
    group.addoption("--only", choices=["computes", "waits"], help="one of a tier's two passes")


class Selection:
    """Picks and orders what a tier runs."""

    def __init__(self, config: pytest.Config) -> None:
        named = config.getoption("--tier")
        self._tier = Tier(named) if named else None
        self._only = config.getoption("--only")

    def pytest_ignore_collect(self, collection_path: Path) -> bool | None:
        """Leave out files of other tiers before they are imported, which takes seconds."""
        if self._tier is None or not collection_path.match("test_*.py"):
            return None
        place = place_of(collection_path)
        elsewhere = self._only is not None and place.waits != (self._only == "waits")
        return True if elsewhere or not self._tier.runs(place.tier) else None

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        """Leave out twins of other tiers, let the slowest files begin, limit each test.

        A file that is named on the command line runs whatever its tier, in its own pass.
        """
        left_out = [
            item for item in items if self._is_other_twin(item) or self._is_other_pass(item)
        ]
        if left_out:
            config.hook.pytest_deselected(items=left_out)
            items[:] = [item for item in items if item not in set(left_out)]
        if self._tier is not None:
            seconds = read_budgets().files
            items.sort(key=lambda item: -seconds.get(_name_of(item), UNKNOWN).wall_s)
        for item in items:
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(stretched(TEST_LIMIT_S)))

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Let tests of the quick tier start no process."""
        distributes = session.config.getoption("numprocesses", None)  # and so starts its workers
        if self._tier is Tier.QUICK and not distributes:
            sys.addaudithook(_refuse_processes)

    def _is_other_pass(self, item: pytest.Item) -> bool:
        return self._only is not None and place_of(item.path).waits != (self._only == "waits")

    def _is_other_twin(self, item: pytest.Item) -> bool:
        if self._tier is None or not isinstance(item, pytest.Function):
            return False
        called = getattr(item, "callspec", None)
        if called is None or called.params.get("database") != "postgresql":
            return False
        return not self._tier.runs(place_of(item.path).postgresql)


def _refuse_processes(event: str, given: tuple[object, ...]) -> None:
    if event in STARTS:
        raise RuntimeError(
            f"{event} {given[:2]}: a test of the quick tier starts no process. Name another tier "
            "for its file in tests/tiers.toml."
        )


def _name_of(item: pytest.Item) -> str:
    return item.path.relative_to(TESTS).as_posix()
