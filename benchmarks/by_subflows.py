"""What a user would write with Prefect alone: a subflow for each day, the model in process.

It checks nothing: no digest, no completeness, no isolation, no record. It is here to be beside.
"""

import json
import os
import sys
import time
from datetime import date, timedelta
from pathlib import Path

import pandas as pd
from deltalake import DeltaTable, write_deltalake
from prefect import flow

from benchmarks.bench import ROOT
from benchmarks.by_hand import FEATURES, KEY, load_module, read


def main() -> None:
    """Print the seconds that the days took."""
    home = Path(os.environ["PILOTLINE_HOME"])
    start, end = map(date.fromisoformat, sys.argv[1:])
    days = [start + timedelta(days=n) for n in range((end - start).days + 1)]
    module = load_module(ROOT / "lab" / "models" / "flight-delay" / "model.py")
    flights = DeltaTable(str(home / "lake" / "datasets" / "flights" / "accepted"))
    arrivals = DeltaTable(str(home / "lake" / "datasets" / "arrivals" / "accepted"))
    january = read(flights, "flight_date <= '2013-01-24'")
    known = read(arrivals, "flight_date <= '2013-01-24'")[[*KEY, "late"]]
    model = module.train(january.merge(known, on=KEY)[[*FEATURES, "late"]], {"max_iter": 30})
    table = home / "by-subflows"

    @flow
    def score_day(day: date) -> int:
        rows = read(flights, f"flight_date = '{day}'")
        predicted = pd.concat([rows[KEY], module.predict(model, rows[FEATURES])], axis=1)
        if table.exists():
            write_deltalake(table, predicted, mode="overwrite", predicate=f"flight_date = '{day}'")
        else:
            write_deltalake(table, predicted, partition_by=["flight_date"])
        return len(predicted)

    @flow
    def score_range(days: list[date]) -> int:
        return sum(score_day(day) for day in days)

    began = time.perf_counter()
    rows = score_range(days)
    print(json.dumps({"seconds": time.perf_counter() - began, "rows": rows}))


if __name__ == "__main__":
    main()
