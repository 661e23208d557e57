"""What log lines are about follows the code that writes them."""

from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from datetime import date

from pilotline.tasks.logs import NOTHING, Facts, about, note, present_facts


def test_nothing_is_known_at_first() -> None:
    assert present_facts() == NOTHING == Facts(None, None, None, None)


def test_a_block_adds_what_its_lines_are_about_and_takes_it_back() -> None:
    with about(model="m", version="1.0.0"):
        with about(date=date(2013, 2, 1), version="1.0.1"):
            assert present_facts() == Facts("m", "1.0.1", "2013-02-01")
        assert present_facts() == Facts("m", "1.0.0")
    assert present_facts() == NOTHING


def test_what_is_noted_holds_to_the_end_of_the_block_around() -> None:
    with about(model="m"):
        note(date=date(2013, 2, 1), run="r")
        assert present_facts() == Facts("m", None, "2013-02-01", "r")
        note(date=date(2013, 2, 2), run=None)
        assert present_facts() == Facts("m", None, "2013-02-02")
    assert present_facts() == NOTHING


def test_a_block_that_fails_takes_it_back_too() -> None:
    try:
        with about(model="m"):
            note(run="r")
            raise ValueError
    except ValueError:
        assert present_facts() == NOTHING


def test_a_thread_that_copies_the_context_knows_it_and_keeps_its_own_to_itself() -> None:
    def work() -> Facts:
        before = present_facts()
        note(run="inner")
        return before

    with about(model="m"), ThreadPoolExecutor(1) as pool:
        assert pool.submit(copy_context().run, work).result() == Facts("m")
        assert present_facts() == Facts("m")
