"""What model.toml says of further inputs, and what is refused of it."""

import tomllib

import pytest

from pilotline.tasks.errors import LabError
from pilotline.tasks.lab.joins import Join, read_joins, short_name
from pilotline.tasks.lab.toml_table import Table

OWNER = "operations@example.org"
WEATHER = """
inputs = ["flights", "weather"]
actuals = "arrivals"
[join.weather]
on = ["origin"]
max_age_days = 7
"""
OTHER = """
inputs = ["flights", "predictions/no-show"]
actuals = "arrivals"
[join."predictions/no-show"]
on = ["carrier", "flight"]
lag_days = 0
max_age_days = 0
"""


def read(text: str, *features: str, owner: str = OWNER) -> tuple[Join, ...]:
    """Return the joins that a [data] table of these lines says."""
    return read_joins(Table("[data]", tomllib.loads(text)), features, "flight-delay", owner)


def test_a_dataset_is_joined_from_the_day_before_on_unless_another_is_declared() -> None:
    (join,) = read(WEATHER, "hour", "weather.temp", "weather.wind")
    assert join == Join("weather", ("origin",), 1, 7, ("temp", "wind"))
    (join,) = read(WEATHER + "lag_days = 0", "weather.temp")
    assert join.lag_days == 0
    assert read('inputs = ["flights"]\nactuals = "arrivals"', "hour") == ()


def test_predictions_are_joined_by_a_consumer_who_can_be_told() -> None:
    (join,) = read(OTHER, "no-show.probability")
    assert (join.model, join.columns) == ("no-show", ("probability",))
    assert (join.needs, join.contact) == (">=0", OWNER)
    more = OTHER + 'needs = "~=1.2"\ncontact = "env:PAGER"'
    (join,) = read(more, "no-show.probability", owner="the crew")
    assert (join.needs, join.contact) == ("~=1.2", "env:PAGER")
    assert (short_name("predictions/no-show"), short_name("weather")) == ("no-show", "weather")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('["flights", "weather"]', "[]", r"inputs are empty\. Name the main dataset"),
        (
            '"flights", "weather"',
            '"predictions/x", "weather"',
            r"the first input is 'predictions/x",
        ),
        ('"weather"]', '"weather", "weather"]', r"Each once, and none called like another"),
        ('"weather"]', '"weather", "predictions/weather"]', r"none called like another"),
        ('"weather"]', '"weather", "../x"]', r"input '../x' is no name"),
        ('"weather"]', '"weather", "predictions/flight-delay"]', r"'flight-delay' reads itself"),
        ('"weather"]', f'"weather", "predictions/{"x" * 60}"]', r"is too long\. At most 63"),
        ('"weather"]', '"weather", "tides"]', r"key 'tides' is missing"),
        ("[join.weather]", "[join.tides]", r"unknown key 'tides'\. Known: weather"),
        ('on = ["origin"]', "on = []", r"on is \[\]\. Name columns that both have"),
        ('on = ["origin"]', 'on = ["origin", "origin"]', r"Name columns that both have, each once"),
        ("max_age_days = 7", "max_age_days = -1", r"max_age_days is -1\. Expected 0 to 3660; no"),
        ("max_age_days = 7", "lag_days = -1\nmax_age_days = 7", r"lag_days is -1\. .*days to come"),
        ("max_age_days = 7", 'max_age_days = 7\nneeds = ">=1"', r"unknown key 'needs'"),
        ("max_age_days = 7", "", r"key 'max_age_days' is missing"),
        (
            '"arrivals"',
            '"weather"\n[join.weather]\nlag_days = 0\nmax_age_days = 1\non = ["origin"]\n#',
            r"lag_days is 0 for the dataset that brings the truth\. A row would know its own out",
        ),
    ],
)
def test_an_impossible_rule_is_refused_in_words(old: str, new: str, message: str) -> None:
    assert old in WEATHER
    text = WEATHER.replace(old, new)
    if text.count("[join.weather]") > 1:
        text = text.split("#")[0]
    with pytest.raises(LabError, match=message):
        read(text, "weather.temp", "tides.high")


@pytest.mark.parametrize(
    ("more", "owner", "message"),
    [
        ('needs = "latest"', OWNER, r"needs is 'latest'\. Write such as"),
        ("", "the crew", r"nobody can be told at 'the crew' when these predictions are taken back"),
        ('contact = "mailto://user:pass@host"', OWNER, r"nobody can be told at 'mailto"),
    ],
)
def test_a_consumer_that_cannot_be_told_is_refused(more: str, owner: str, message: str) -> None:
    with pytest.raises(LabError, match=message):
        read(OTHER + more, "no-show.probability", owner=owner)


def test_an_input_that_no_feature_is_of_is_refused() -> None:
    said = r"no feature is of 'weather'\. Name one, weather\.COLUMN, or drop the input"
    with pytest.raises(LabError, match=said):
        read(WEATHER, "hour")
