"""The table of tiers names each file of tests once, in order."""

import tomllib

import pytest

from tests.support.places import TESTS
from tests.support.suite.tiers import TABLE, Tier, read_table


def test_every_file_of_tests_has_a_line() -> None:
    files = {path.relative_to(TESTS).as_posix() for path in TESTS.rglob("test_*.py")}
    assert set(read_table()) == files


def test_the_table_is_sorted_so_that_a_review_sees_what_moved() -> None:
    names = list(tomllib.loads(TABLE.read_text("utf-8")))
    assert names == sorted(names)


def test_a_file_that_waits_is_in_no_quick_tier() -> None:
    assert not [n for n, place in read_table().items() if place.waits and place.tier is Tier.QUICK]


@pytest.mark.parametrize(
    ("target", "runs"),
    [
        (Tier.QUICK, {Tier.QUICK}),
        (Tier.TEST, {Tier.QUICK, Tier.TEST}),
        (Tier.CI, {Tier.QUICK, Tier.TEST, Tier.CI}),
        (Tier.ALL, set(Tier)),
    ],
)
def test_a_target_runs_what_those_before_it_run(target: Tier, runs: set[Tier]) -> None:
    assert {tier for tier in Tier if target.runs(tier)} == runs
