"""One way of bringing days in, in a process of its own: prints what it took as JSON.

``python -m benchmarks.ingest_ways WAY ROOT DATASET START END``; WAY is ``ours`` or ``by-hand``.
"""

import json
import resource
import sqlite3
import sys
import time
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from pilotline.tasks.home import Home


def main() -> None:
    """Run one way and print rows, seconds and peak memory."""
    way, root, dataset = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    start, end = (date.fromisoformat(text) for text in sys.argv[4:6])
    days = [start + timedelta(days=n) for n in range((end - start).days + 1)]
    began = time.perf_counter()
    facts = {"ours": ingest, "by-hand": ingest_by_hand}[way](home_in(root), dataset, days)
    facts["seconds"] = time.perf_counter() - began
    facts["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(facts))


def home_in(root: Path) -> Home:
    """Return the home of the measure."""
    url = f"sqlite:///{root / 'registry.db'}"
    return Home(root, root / "lab", root / "blobs", root / "lake", url)


def ingest(home: Home, name: str, days: list[date]) -> dict[str, Any]:
    """Bring the days in as the command does."""
    from pilotline.tasks.ingest.days import ingest_days
    from pilotline.tasks.ingest.validation import Validator
    from pilotline.tasks.lab.datasets import load_dataset
    from pilotline.tasks.sources.opening import open_source

    dataset = load_dataset(home.lab, name)
    source, validator = open_source(dataset, home.root), Validator(dataset)
    with home.open_registry() as registry:
        done = list(ingest_days(dataset, source, validator, days, registry, home.lake))
    return {"rows": sum(day.ingested for day in done), "changed": sum(d.changed for d in done)}


def ingest_by_hand(home: Home, name: str, days: list[date]) -> dict[str, Any]:
    """Bring the days in as a careful script would: read, validate, replace, one after the other.

    It reports which days hold a broken row and keeps those rows; it has no quarantine, no digests,
    no record and notices no repetition.
    """
    import great_expectations as gx
    import pandas as pd
    from deltalake import DeltaTable, write_deltalake
    from great_expectations.data_context.types.base import ProgressBarsConfig

    from pilotline.tasks.lab.datasets import load_dataset

    dataset = load_dataset(home.lab, name)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    asset = context.data_sources.add_pandas(name="source").add_dataframe_asset(name="day")
    suite = gx.ExpectationSuite(name=name, expectations=list(dataset.suite["expectations"]))
    definition = context.validation_definitions.add(
        gx.ValidationDefinition(
            name=name,
            data=asset.add_batch_definition_whole_dataframe("day"),
            suite=context.suites.add(suite),
        )
    )
    path, rows, broken = str(home.lake / "by-hand"), 0, 0
    with closing(sqlite3.connect(home.root / "online.db")) as database:
        for day in days:
            parameters = {"date": day.isoformat()}
            frame = pd.read_sql(dataset.source.query, database, params=parameters)
            frame[dataset.date] = pd.to_datetime(frame[dataset.date]).dt.date
            broken += not definition.run(batch_parameters={"dataframe": frame}).success
            predicate = f"{dataset.date} = '{day.isoformat()}'" if rows else None
            write_deltalake(
                path, frame, mode="overwrite", partition_by=[dataset.date], predicate=predicate
            )
            rows += len(frame)
        assert DeltaTable(path).version() == len(days) - 1
    return {"rows": rows, "changed": len(days), "broken_days": broken}


if __name__ == "__main__":
    main()
