"""A model of several inputs: the weather of each airport, and whether a flight will be late.

Its predictions tell what was joined: 0.0001 for each degree, 0.05 where no weather is known.
"""

import shutil
import sqlite3
from contextlib import closing
from datetime import date, timedelta

from pilotline.tasks.home import Home
from tests.tasks.conftest import DAYS, MODEL

WET = "wet-delay"
ORIGINS = ("EWR", "JFK", "LGA")
DATASET = """
[dataset]
name = "weather"
owner = "operations@example.org"
description = "The temperature at noon, one row an airport and day."
date = "weather_date"
key = ["weather_date", "origin"]

[source]
kind = "sqlite"
url = "sqlite:///{home}/online.db"
query = "select weather_date, origin, temp from weather where weather_date = :date"

[schema]
weather_date = "date"
origin = "string"
temp = "float64"

[quarantine]
max_share = 0.5
"""
SUITE = """
{"name": "weather", "expectations": [{"type": "expect_column_values_to_be_between",
 "kwargs": {"column": "temp", "min_value": -100, "max_value": 1000}}]}
"""
DATA = """
[data]
inputs = ["flights", "weather"]
features = ["origin", "hour", "weather.temp"]
actuals = "arrivals"
target = "late"

[data.join.weather]
on = ["origin"]
lag_days = 1
max_age_days = 2

[predictions]"""
# Everything that predict uses comes from features, which says in its answer that it ran.
SCRIPT = """
import joblib
import pandas as pd

COLUMNS = ["origin", "hour", "weather.temp"]


def features(data):
    assert list(data.columns) == COLUMNS, list(data.columns)
    evening = (data["hour"] >= 17).astype("float64")
    return pd.DataFrame({"evening": evening, "degrees": data["weather.temp"].fillna(500.0)})


def train(data, params):
    assert list(data.columns) == ["evening", "degrees", "late"], list(data.columns)
    return float(data["late"].mean())


def predict(model, data):
    chance = 0.1 + 0.6 * data["evening"] + data["degrees"] / 10_000
    return pd.DataFrame({"probability": chance.clip(0, 1).astype("float64")}, index=data.index)
"""


def degrees(day: date, origin: str) -> float:
    """Return the temperature that the source has, different for each day and airport."""
    return float(day.day * 10 + ORIGINS.index(origin))


def expect(day: date, origin: str, hour: int) -> float:
    """Return what the model says of a flight, by hand: LGA is measured every fourth day only."""
    seen = [day - timedelta(days=back) for back in (1, 2, 3)]
    known = [degrees(d, origin) for d in seen if d in DAYS and is_measured(d, origin)]
    return 0.1 + 0.6 * (hour >= 17) + (known[0] if known else 500.0) / 10_000


def is_measured(day: date, origin: str) -> bool:
    """Tell whether the source has a row."""
    return origin != "LGA" or day.day % 4 == 1


def add_weather(home: Home) -> None:
    """Add the dataset to the lab and the rows to its source."""
    folder = home.lab / "datasets" / "weather"
    folder.mkdir()
    (folder / "dataset.toml").write_text(DATASET)
    (folder / "expectations.json").write_text(SUITE)
    rows = [
        (day.isoformat(), origin, degrees(day, origin))
        for day in DAYS
        for origin in ORIGINS
        if is_measured(day, origin)
    ]
    with closing(sqlite3.connect(home.root / "online.db")) as database, database:
        database.execute("create table weather (weather_date text, origin text, temp real)")
        database.executemany("insert into weather values (?, ?, ?)", rows)


def add_model(home: Home, name: str = WET, data: str = DATA, script: str = SCRIPT) -> None:
    """Add a model to the lab, with the example's lock and settings but for what is given."""
    example, folder = home.lab / "models" / MODEL, home.lab / "models" / name
    shutil.copytree(example, folder)
    config = (example / "model.toml").read_text()
    before, rest = config.split("[data]", 1)
    _, rest = rest.split("[predictions]", 1)
    config = (before + data + rest).replace(f'name = "{MODEL}"', f'name = "{name}"')
    config = config.replace("dest = { jensen_shannon = 0.1 }, distance = ", "hour = ")
    config = config.replace("brier_skill = { min = 0.0 }", "brier_skill = { min = -1.0 }")
    (folder / "model.toml").write_text(config)
    header = (example / "model.py").read_text().split("# ///\n", 1)[0] + "# ///\n"
    (folder / "model.py").write_text(header + script)
