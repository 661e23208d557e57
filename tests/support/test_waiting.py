"""Limits are said for a quick machine and hold on a slow one."""

import time
from collections.abc import Iterator

import pytest

from tests.support import waiting
from tests.support.waiting import stretched, wait_until


@pytest.fixture(autouse=True)
def measured_anew() -> Iterator[None]:
    """Let each test measure for itself."""
    waiting.slowness.cache_clear()
    yield
    waiting.slowness.cache_clear()


def test_a_limit_grows_with_what_the_calibration_line_took(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(waiting.CALIBRATION, "3.00")
    assert 30 <= stretched(10) <= 200


def test_a_limit_is_never_shorter_than_it_was_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(waiting.CALIBRATION, "0.25")
    assert stretched(10) >= 10


def test_a_limit_is_stretched_twenty_times_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(waiting.CALIBRATION, "1000.00")
    assert stretched(10) == 200


def test_waiting_ends_when_it_happened_and_tells_when_it_did_not() -> None:
    soon = time.monotonic() + 0.1
    assert wait_until(lambda: time.monotonic() > soon, 5)
    assert not wait_until(lambda: False, 0.01)
