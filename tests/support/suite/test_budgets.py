"""A file that became dearer, or is new, is found; a machine that is slow is none of its fault."""

from pathlib import Path

import pytest

from tests.support.suite.budgets import (
    Cost,
    Costs,
    blend,
    find_dearer,
    find_excess,
    read_budgets,
    sum_up,
    write_budgets,
)


def costs(**files: float) -> Costs:
    """Return what files cost."""
    return Costs({f"{name}.py": Cost(cpu_s) for name, cpu_s in files.items()}, {})


@pytest.mark.parametrize(
    ("spent", "allowed", "found"),
    [
        (17.0, 10.0, False),  # 1.5 x 10 + 2
        (17.1, 10.0, True),
        (2.0, 0.0, False),
        (2.1, 0.0, True),
    ],
)
def test_one_and_a_half_times_a_line_and_two_seconds_are_allowed(
    spent: float, allowed: float, found: bool
) -> None:
    excess = find_excess(costs(test_a=spent), costs(test_a=allowed))
    assert bool(excess) is found


@pytest.mark.parametrize(("spent", "found"), [(32.0, False), (32.1, True)])  # 3 x 10 + 2
def test_a_session_fixture_which_is_made_once_has_more_room(spent: float, found: bool) -> None:
    excess = find_excess(Costs({}, {"demo": Cost(spent)}), Costs({}, {"demo": Cost(10.0)}))
    assert bool(excess) is found


def test_what_makes_every_file_dearer_is_the_machine_and_one_that_stands_out_is_found() -> None:
    lines = costs(a=10.0, b=20.0, c=30.0, trifle=0.1)
    spent = costs(a=20.0, b=40.0, c=60.0, trifle=0.9)
    assert find_dearer(spent, lines) == 2.0
    assert find_excess(spent, lines, 2.0) == []
    more = costs(a=20.0, b=40.0, c=92.1)  # more than 2 x 1.5 x 30 + 2
    assert [one.name for one in find_excess(more, lines, 2.0)] == ["c.py"]


def test_no_machine_explains_more_than_twice_the_record() -> None:
    assert find_dearer(costs(a=50.0, b=60.0), costs(a=10.0, b=12.0)) == 2.0


def test_a_run_that_is_cheaper_than_the_record_allows_nobody_less() -> None:
    assert find_dearer(costs(a=5.0, b=6.0), costs(a=10.0, b=12.0)) == 1.0
    assert find_dearer(costs(new=5.0), costs()) == 1.0


def test_a_file_or_session_fixture_without_a_line_is_found() -> None:
    spent = Costs({"test_new.py": Cost(0.1)}, {"demo": Cost(2.1), "folder": Cost(1.9)})
    file, fixture = find_excess(spent, Costs())
    assert "test_new.py has no budget" in file.said
    assert "Session fixture demo has no budget" in fixture.said
    assert (file.is_file, fixture.is_file) == (True, False)


def test_seconds_are_those_of_a_machine_that_does_the_calibration_line_in_one() -> None:
    facts = [
        {"kind": "test", "name": "a.py", "id": "a.py::one", "cpu_s": 3.0, "wall_s": 8.0},
        {"kind": "test", "name": "a.py", "id": "a.py::two", "cpu_s": 1.0, "wall_s": 2.0},
        {"kind": "session", "name": "demo", "cpu_s": 6.0},
    ]
    summed = sum_up(facts, slowness=2.0)
    assert dict(summed.files) == {"a.py": Cost(2.0, 5.0)}
    assert dict(summed.session) == {"demo": Cost(3.0, 0.0)}


def test_what_was_noted_beside_a_test_counts_before_the_whole_run() -> None:
    fact = {"kind": "test", "name": "a.py", "id": "a.py::one", "cpu_s": 8.0, "wall_s": 8.0}
    assert sum_up([fact | {"slowness": 4.0}], slowness=2.0).files["a.py"] == Cost(2.0, 2.0)


@pytest.mark.parametrize(
    ("line", "spent", "after"),
    [
        (10.0, 12.0, 12.0),  # dearer, and somebody asked for new budgets
        (12.0, 10.0, 12.0),  # as before, within what neighbours do
        (20.0, 10.0, 10.0),  # clearly cheaper: more than 1.5 x 10 + 2
    ],
)
def test_a_line_goes_down_only_where_it_clearly_no_longer_holds(
    line: float, spent: float, after: float
) -> None:
    assert blend(costs(test_a=spent), costs(test_a=line)) == costs(test_a=after)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    table = tmp_path / "budgets.toml"
    written = Costs({"a.py": Cost(1.5, 20.0)}, {"demo": Cost(60.0, 0.0)})
    write_budgets(written, table)
    assert read_budgets(table) == written
