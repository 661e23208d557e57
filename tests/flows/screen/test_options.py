"""Values that several commands share: moments, words of one's own, heads."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import click
import pytest

from pilotline.flows.screen.options import Head, Moment, Words
from pilotline.flows.screen.text import show

SUMMER = datetime(2026, 7, 1, 9, 37, 5, 250_000, tzinfo=UTC)
WINTER = datetime(2026, 11, 21, 9, 37, 5, 250_000, tzinfo=UTC)


@pytest.fixture(params=["UTC", "Europe/Berlin", "America/New_York", "Asia/Riyadh"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Let the test's process live in a time zone."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield str(request.param)
    monkeypatch.undo()
    time.tzset()


def read(text: str) -> datetime:
    """Return the moment that ``text`` means."""
    return Moment().convert(text, None, None)


@pytest.mark.parametrize("moment", [SUMMER, WINTER])
def test_a_moment_is_read_as_it_is_printed(moment: datetime, zone: str) -> None:
    found = read(show(moment))
    assert found >= moment  # the printed second is over: what began in it counts
    assert (found - moment).total_seconds() < 1
    assert show(found) == show(moment)


def test_utc_is_understood_everywhere(zone: str) -> None:
    assert read("2026-11-21 09:37:05 UTC").replace(microsecond=0) == WINTER.replace(microsecond=0)


def test_a_fraction_is_taken_at_its_word(zone: str) -> None:
    assert read("2026-11-21T09:37:05.250000+00:00") == WINTER


@pytest.mark.parametrize("text", ["soon", "2026-11-21 09:37:05 XYZ", "2026-02-30", ""])
def test_what_is_no_time_is_wrong_use(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is no time; expected such as"):
        read(text)


@pytest.mark.parametrize("text", ["", " \n", "TEXT", " TEXT "])
def test_nobody_s_words_are_wrong_use(text: str) -> None:
    with pytest.raises(click.BadParameter, match=r"say why|your own words"):
        Words().convert(text, None, None)


def test_a_head_is_a_hash_or_how_it_begins() -> None:
    assert Head().convert("AB" * 6, None, None) == "ab" * 6
    for text in ("0000", "g" * 64, "0" * 65):
        with pytest.raises(click.BadParameter, match="is no head; expected the 64"):
            Head().convert(text, None, None)
