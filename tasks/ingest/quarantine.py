"""The broken rows set aside, and why."""

import json
from collections import Counter
from datetime import date
from typing import Any

import pyarrow as pa

from pilotline.registry.runs import Ingest, list_partitions
from pilotline.tasks import lake
from pilotline.tasks.errors import LakeError
from pilotline.tasks.home import Home
from pilotline.tasks.ingest.commit import QUARANTINE_SCHEMA


def list_quarantine(home: Home, dataset: str, day: date | None = None) -> list[dict[str, Any]]:
    """Return the quarantined rows of ``dataset`` with their reasons, oldest day first.

    Rows whose ingest was never finished have a token no recorded ingest has, and do not count.
    """
    with home.open_registry() as registry, registry.read() as session:
        tokens = {partition.token for partition in list_partitions(session, dataset, day, day)}
    rows = _read(home, dataset, day)
    rows = rows.sort_by([("date", "ascending"), ("row_number", "ascending")])
    return [
        {
            "date": row["date"].isoformat(),
            "row_number": row["row_number"],
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


def read_quarantined(home: Home, partition: Ingest) -> dict[int, dict[str, Any]]:
    """Return the rows set aside by one ingest, as the table has them, by their numbers.

    Raises:
        LakeError: there are more or fewer than were set aside.
    """
    rows = _read(home, partition.dataset, partition.date).to_pylist()
    own = {row["row_number"]: row for row in rows if row["token"] == partition.token}
    if len(own) != partition.quarantined:
        raise LakeError(
            "quarantine",
            f"holds {len(own)} rows of {partition.dataset} {partition.date}, "
            f"{partition.quarantined} were set aside",
            "Restore the lake from a copy, or ingest the day again.",
        )
    return own


def _read(home: Home, dataset: str, day: date | None) -> pa.Table:
    path = lake.quarantine_path(home.lake, dataset)
    if not lake.is_table(path):
        return QUARANTINE_SCHEMA.empty_table()
    only = lake.on_day("date", day) if day else None
    return lake.read(lake.open_table(path), QUARANTINE_SCHEMA, only)
