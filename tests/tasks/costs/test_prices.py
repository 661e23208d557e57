"""Prices: read strictly, each from its day on."""

from datetime import date, timedelta
from pathlib import Path

import pytest

from pilotline.tasks.costs.prices import Price, load_prices
from pilotline.tasks.errors import LabError, SettingsError
from pilotline.tasks.home import Home

FIRST = "[[price]]\ncpu_hour = 2\ngib_hour = 0.5\n"
CHANGED = FIRST + "[[price]]\nsince = 2026-03-01\ncpu_hour = 3.0\ngib_hour = 0.0\n"


@pytest.fixture
def place(tmp_path: Path) -> Home:
    """Return a home beside a project's lab, with no prices yet."""
    root = tmp_path / ".pilotline"
    for folder in (root, tmp_path / "deployments"):
        folder.mkdir()
    return Home(root, tmp_path / "lab", root / "blobs", root / "lake", "sqlite://")


def write(home: Home, text: str) -> None:
    """Put prices into the home."""
    (home.root / "costs.toml").write_text(f'currency = "EUR"\n{text}', "utf-8")


def test_a_price_holds_from_its_day_on(place: Home) -> None:
    write(place, CHANGED)
    prices, day = load_prices(place), date(2026, 3, 1)
    assert prices.currency == "EUR"
    assert prices.on(day - timedelta(days=1)) == Price(date.min, 2.0, 0.5)
    assert prices.on(day) == prices.on(date(2040, 1, 1)) == Price(day, 3.0, 0.0)


def test_the_home_s_own_prices_go_before_the_project_s(place: Home) -> None:
    project = place.lab.parent / "deployments" / "costs.toml"
    project.write_text(f'currency = "USD"\n{FIRST}', "utf-8")
    assert load_prices(place).currency == "USD"
    write(place, FIRST)
    assert load_prices(place).currency == "EUR"


def test_without_own_prices_those_that_come_with_the_package_are_read(place: Home) -> None:
    price = load_prices(place).on(date(2026, 11, 21))
    assert (price.cpu_hour, price.gib_hour) == (0.04, 0.005)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("price = []\n", r"^costs\.toml: no \[\[price\]\]\. Add one\."),
        ("price = [3]\n", r"\[\[price\]\] 1: 3 is no table\. Write \[\[price\]\] above it\."),
        (FIRST.replace("2", "-2"), r"\[\[price\]\] 1: cpu_hour -2\.0\. Expected 0 or more\."),
        (FIRST.replace("0.5", "nan"), r"gib_hour nan\. Expected 0 or more\."),
        (FIRST + "since = 2026-03-01\n", r"the first price holds from the beginning\. Leave"),
        (CHANGED.replace("03-01", "03-01T10:00:00"), r"since 2026-03-01 10:00:00\. Expected a day"),
        (
            CHANGED + "[[price]]\nsince = 2026-02-01\ncpu_hour = 1\ngib_hour = 1\n",
            r"since 2026-02-01 stands after the one since 2026-03-01\. Put the oldest first\.",
        ),
    ],
)
def test_prices_that_make_no_sense_are_refused(place: Home, text: str, message: str) -> None:
    write(place, text)
    with pytest.raises(SettingsError, match=message):
        load_prices(place)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (FIRST + "gpu_hour = 1\n", r"\[\[price\]\] 1: unknown key 'gpu_hour'"),
        ("[[price]]\ncpu_hour = 2\n", r"key 'gib_hour' is missing"),
        (FIRST.replace("2", '"2"'), r"'cpu_hour' is '2', expected float"),
        (FIRST + FIRST, r"\[\[price\]\] 2: key 'since' is missing"),
    ],
)
def test_a_wrong_key_is_named(place: Home, text: str, message: str) -> None:
    write(place, text)
    with pytest.raises(LabError, match=message):
        load_prices(place)
