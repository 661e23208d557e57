"""The golden set with real children: drift is named, and what is not the same twice is told."""

from collections.abc import Iterator

import pyarrow as pa
import pytest

from pilotline.tasks.home import Home
from pilotline.tasks.sandbox.launching import Room
from pilotline.tasks.sandbox.walls import Tier
from pilotline.tasks.stats.metrics import Check
from pilotline.tasks.verify.golden import EXACT, check_golden, find_difference
from tests.support.tasks.misbehaving import CHANCES, WORDS, make_bundle, open_room
from tests.tasks.conftest import copy_home


@pytest.fixture(scope="module")
def room(workshop: Home, tier: Tier, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    """Return one environment for every child here."""
    home = copy_home(workshop, tmp_path_factory.mktemp("golden"))
    with open_room(home, tier) as room:
        yield room


def by_name(checks: list[Check]) -> dict[str, Check]:
    """Return the checks under their names."""
    return {check.name: check for check in checks}


def test_drift_is_named_with_row_column_and_both_values(room: Room) -> None:
    drifted = [*CHANCES[:3], 0.5, *CHANCES[4:]], [*WORDS[:7], "yes"]
    found = by_name(check_golden(room, make_bundle(room.home, "pass", "pass", *drifted)))
    assert found["determinism"].passed
    assert found["golden set chance"] == Check(
        "golden set chance",
        False,
        "row 3 of column 'chance': expected 0.5, found 0.75; 1 of 8 differ; "
        "largest difference 2.5e-01, at most 1e-09",
    )
    assert found["golden set word"] == Check(
        "golden set word",
        False,
        "row 7 of column 'word': expected 'yes', found 'no'; 1 of 8 differ",
    )


def test_a_column_s_own_tolerance_is_what_counts(room: Room) -> None:
    drifted = [*CHANCES[:3], 0.5, *CHANCES[4:]]
    bundle = make_bundle(room.home, chances=drifted, tolerances={"chance": 0.25})
    found = by_name(check_golden(room, bundle))
    assert all(check.passed for check in found.values())
    said = "8 rows, largest difference 2.5e-01, at most 0.25"
    assert found["golden set chance"].detail == said
    assert found["golden set word"].detail == "8 rows, equal"


@pytest.mark.parametrize(
    ("load", "body", "where"),
    [
        ("pass", "answer.loc[2, 'chance'] = random.random()", "asked again in the same process"),
        (
            "state['seed'] = random.random()",
            "answer.loc[2, 'chance'] = state['seed']",
            "asked again in another process",
        ),
    ],
)
def test_a_model_that_throws_dice_is_not_deterministic(
    room: Room, load: str, body: str, where: str
) -> None:
    found = by_name(check_golden(room, make_bundle(room.home, body, load)))
    assert not found["determinism"].passed
    assert found["determinism"].detail.startswith(f"{where}, row 2 of column 'chance': expected 0.")


def test_an_answer_that_is_no_number_is_drift(room: Room) -> None:
    body = "answer.loc[5, 'chance'] = float('nan')"
    found = by_name(check_golden(room, make_bundle(room.home, body)))
    assert found["determinism"].passed
    assert not found["golden set chance"].passed
    said = "row 5 of column 'chance': expected 0.75, found None; 1 of 8 differ"
    assert found["golden set chance"].detail.startswith(said)


def test_bits_are_compared_where_no_tolerance_is_given() -> None:
    zero, minus = (pa.table({"x": [1.0, value]}) for value in (0.0, -0.0))
    assert find_difference(zero, minus, "x", 0.0) == ""
    found = find_difference(zero, minus, "x", EXACT)
    assert found == "row 1 of column 'x': expected 0, found -0; 1 of 2 differ"


def test_texts_whole_numbers_and_missing_values_are_compared_as_they_are() -> None:
    expected = pa.table({"n": [1, 2], "t": ["a", "b" * 100], "b": [True, False]})
    found = pa.table({"n": [1, None], "t": ["a", "b" * 101], "b": [True, True]})
    assert find_difference(expected, expected, "n", EXACT) == ""
    assert "row 1 of column 'n': expected 2, found None" in find_difference(
        expected, found, "n", EXACT
    )
    assert "found True; 1 of 2" in find_difference(expected, found, "b", EXACT)
    assert len(find_difference(expected, found, "t", EXACT)) < 250
