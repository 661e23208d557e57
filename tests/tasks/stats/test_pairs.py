"""Pairs of profiles: groups are made of the reference, so that a window cannot hide in them."""

import numpy as np

from pilotline.tasks.stats.pairs import GROUPS, Pair

PLACES = np.arange(1_000.0)


def test_groups_hold_about_equal_shares_of_the_reference_whatever_the_window_holds() -> None:
    after = np.where(PLACES < 100, 10.0, 0.0)
    grouped = Pair(np.ones(1_000), after, PLACES).grouped()
    assert grouped.before.tolist() == [1_000 / GROUPS] * GROUPS
    # All rows of the window lie in the first tenth of the reference, which is two groups.
    assert grouped.after.tolist() == [500.0, 500.0, *[0.0] * (GROUPS - 2)]
    assert grouped.places is not None
    assert grouped.places.tolist() == list(range(0, 1_000, 50))


def test_few_values_and_texts_are_their_own_groups() -> None:
    few = Pair(np.ones(GROUPS), np.ones(GROUPS), np.arange(float(GROUPS)))
    assert few.grouped() is few
    texts = Pair(np.ones(100), np.ones(100), None)
    assert texts.grouped() is texts
