"""What a user would write instead of a backfill: a loop over days with the model in process.

It checks nothing: no digest, no completeness, no isolation, no record. It is here to be beside.
"""

import importlib.util
import os
import sys
import time
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
from deltalake import DeltaTable, write_deltalake

FEATURES = ["carrier", "origin", "dest", "hour", "distance", "weekday"]
KEY = ["flight_date", "carrier", "flight", "origin"]


def main() -> None:
    """Print the seconds a day takes."""
    home = Path(os.environ["PILOTLINE_HOME"])
    start, end = map(date.fromisoformat, sys.argv[1:])
    days = [start + timedelta(days=n) for n in range((end - start).days + 1)]
    module = load_module(Path("lab/models/flight-delay/model.py"))
    flights = DeltaTable(str(home / "lake" / "datasets" / "flights" / "accepted"))
    arrivals = DeltaTable(str(home / "lake" / "datasets" / "arrivals" / "accepted"))
    january = read(flights, "flight_date <= '2013-01-24'")
    known = read(arrivals, "flight_date <= '2013-01-24'")[[*KEY, "late"]]
    model = module.train(january.merge(known, on=KEY)[[*FEATURES, "late"]], {"max_iter": 30})
    table = home / "by-hand"
    began = time.perf_counter()
    for day in days:
        rows = read(flights, f"flight_date = '{day}'")
        predicted = module.predict(model, rows[FEATURES])
        out = pd.concat([rows[KEY], predicted], axis=1)
        if table.exists():
            write_deltalake(table, out, mode="overwrite", predicate=f"flight_date = '{day}'")
        else:
            write_deltalake(table, out, partition_by=["flight_date"])
    print((time.perf_counter() - began) / len(days))


def read(table: DeltaTable, predicate: str) -> pd.DataFrame:
    """Return rows as a frame."""
    import pyarrow as pa

    frame: pd.DataFrame = pa.table(table.scan(predicate=predicate)).to_pandas()
    return frame


def load_module(path: Path) -> Any:
    """Return the model's module, imported into this very process."""
    spec = importlib.util.spec_from_file_location("model", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main()
