"""Figures of a real child: all are shown, and only the budget decides."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from pilotline.tasks.errors import ChildError
from pilotline.tasks.home import Home
from pilotline.tasks.sandbox.launching import Room
from pilotline.tasks.sandbox.walls import Tier
from pilotline.tasks.verify.budgets import Figures, check_budgets, measure_child
from pilotline.tasks.verify.verification import examine
from tests.support.tasks.misbehaving import make_bundle, open_room
from tests.tasks.conftest import copy_home

FIGURES = Figures(
    rows_per_s=1_234_567.0,
    batch_rows=65_536,
    batches=10,
    batch_p50_ms=53.04,
    batch_p95_ms=61.0,
    singles=50,
    row_p50_ms=3.25,
    row_p95_ms=4.5,
    peak_mib=225.4,
)


@pytest.fixture(scope="module")
def room(workshop: Home, tier: Tier, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    """Return one environment for every child here."""
    home = copy_home(workshop, tmp_path_factory.mktemp("budgets"))
    with open_room(home, tier) as room:
        yield room


def test_a_version_that_is_too_slow_and_too_big_fails_with_its_figures(room: Room) -> None:
    # Shared memory is beyond what the limit on a process's own data holds back.
    load = "state['m'] = mmap.mmap(-1, 600 << 20)\nfor i in range(0, 600 << 20, 4096):"
    load += "\n    state['m'][i] = 1"
    bundle = make_bundle(room.home, load=load, rows_per_s=1e15, memory_mib=512)
    found = examine(room, bundle, print)
    assert found.failed == ["throughput", "peak memory"]
    assert found.figures is not None
    assert 600 < found.figures.peak_mib < 2000
    assert 0 < found.figures.row_p50_ms <= found.figures.row_p95_ms
    assert 0 < found.figures.batch_p50_ms <= found.figures.batch_p95_ms
    assert found.summarize() == (
        f"failed: throughput, peak memory; 0 of {len(found.cases)} robustness cases refused; "
        f"{found.figures}"
    )


def test_a_batch_that_does_not_fit_in_memory_is_an_error_with_the_reason(room: Room) -> None:
    body = "if len(data) > 20000: state['x'] = np.ones(2 << 27)"  # 2 GiB
    with pytest.raises(ChildError, match=r"Unable to allocate 2\.00 GiB"):
        measure_child(room, make_bundle(room.home, body, memory_mib=1024))


def test_all_figures_are_in_one_line() -> None:
    assert str(FIGURES) == (
        "1,234,567 rows/s, 65,536 rows in p50 53.0 ms and p95 61.0 ms, "
        "one row in p50 3.2 ms and p95 4.5 ms, peak 225 MiB"
    )


@pytest.mark.parametrize(
    ("rows_per_s", "memory_mib", "passed"),
    [
        (1_234_567.0, 226, [True, True]),
        (1_234_568.0, 226, [False, True]),
        (1.0, 225, [True, False]),
    ],
)
def test_the_budget_is_a_limit_that_may_be_reached(
    workshop: Home, rows_per_s: float, memory_mib: int, passed: list[bool]
) -> None:
    bundle = make_bundle(workshop, rows_per_s=rows_per_s, memory_mib=memory_mib)
    checks = check_budgets(bundle, FIGURES)
    assert [check.name for check in checks] == ["throughput", "peak memory"]
    assert [check.passed for check in checks] == passed


def test_a_child_that_does_not_say_how_much_memory_it_takes_fails(workshop: Home) -> None:
    (_, memory) = check_budgets(make_bundle(workshop), replace(FIGURES, peak_mib=0.0))
    assert not memory.passed
