"""The broken rows set aside, and why."""

import json
from collections import Counter
from typing import Any

from deltalake import DeltaTable

from registry.ingests import list_partitions
from tasks import lake
from tasks.home import Home
from tasks.ingestion import QUARANTINE_SCHEMA


def list_quarantine(home: Home, dataset: str) -> list[dict[str, Any]]:
    """Return the quarantined rows of ``dataset`` with their reasons, oldest day first.

    Rows whose ingest was never finished have a token no recorded ingest has, and do not count.
    """
    path = lake.quarantine_path(home.lake, dataset)
    if not DeltaTable.is_deltatable(str(path)):
        return []
    with home.open_registry() as registry, registry.read() as session:
        tokens = {partition.token for partition in list_partitions(session, dataset)}
    rows = lake.read(lake.open_table(path), QUARANTINE_SCHEMA, None)
    rows = rows.sort_by([("date", "ascending"), ("row_number", "ascending")])
    return [
        {
            "date": row["date"].isoformat(),
            "row": json.loads(row["row"]),
            "reasons": json.loads(row["reasons"]),
        }
        for row in rows.to_pylist()
        if row["token"] in tokens
    ]


def count_reasons(home: Home, dataset: str) -> dict[str, int]:
    """Return how many quarantined rows each reason stands on."""
    rows = list_quarantine(home, dataset)
    return dict(Counter(reason for row in rows for reason in row["reasons"]))
