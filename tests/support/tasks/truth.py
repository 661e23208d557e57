"""Actuals as a test wants them: rows of any kind, put straight into the lake and the registry."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

import pyarrow as pa

from pilotline.registry import Registry
from pilotline.registry.runs.ingests import Ingest, find_partition, record_ingest
from pilotline.registry.runs.runs import Run
from pilotline.registry.runs.shown import visible_runs
from pilotline.tasks.home import Home
from pilotline.tasks.lab.bundle import load_champion
from pilotline.tasks.lab.datasets import Column, Dataset, load_dataset
from pilotline.tasks.lake import tables as lake
from pilotline.tasks.lake.digests import partition_digest
from pilotline.tasks.monitor.actuals import Matched, match_actuals, read_predictions
from pilotline.tasks.score.job import Job, plan_job

DAY = date(2013, 1, 14)


@dataclass(frozen=True)
class Truth:
    """A home whose scored days can be given any outcome."""

    home: Home
    registry: Registry
    job: Job
    dataset: Dataset

    def like(self, key: Sequence[str] = (), **columns: Column) -> "Truth":
        """Return the same with more columns, and more of them in the key."""
        dataset = self.dataset
        more = {**dataset.columns, **columns}
        return replace(self, dataset=replace(dataset, columns=more, key=(*dataset.key, *key)))

    def predicted(self, day: date = DAY, variant: str = "production") -> list[dict[str, Any]]:
        """Return what readers see of a day."""
        found: list[dict[str, Any]] = read_predictions(
            self.home, self.job, variant, day
        ).to_pylist()
        return found

    def rows(self, late: Sequence[int | None], day: date = DAY) -> list[dict[str, Any]]:
        """Return an outcome for as many of the day's predictions as there are in ``late``."""
        return [
            {"flight_date": day, **{name: row[name] for name in ("carrier", "flight", "origin")}}
            | {"late": value}
            for row, value in zip(self.predicted(day), late, strict=False)
        ]

    def bring(
        self, rows: Sequence[dict[str, Any]], day: date = DAY, at: datetime | None = None
    ) -> None:
        """Put a day's rows in, as an ingestion would that found nothing to say against them."""
        dataset = self.dataset
        table = lake.ensure_table(
            lake.accepted_path(self.home.lake, dataset.name), dataset.schema, [dataset.date]
        )
        data = pa.Table.from_pylist(list(rows), schema=dataset.schema)
        version = lake.replace_partition(table, data, lake.on_day(dataset.date, day), {})
        ingest = Ingest(
            dataset=dataset.name,
            date=day,
            token=f"{version:064d}",
            partition_digest=partition_digest(data, dataset.key),
            files_digest=None,
            table_version=version,
            accepted=data.num_rows,
            quarantined=0,
        )
        if at is not None:
            ingest.recorded_at = at
        with self.registry.write() as session:
            record_ingest(session, ingest)

    def run(self, day: date = DAY, variant: str = "production") -> Run:
        """Return the run whose rows readers see."""
        with self.registry.read() as session:
            model_id = self.job.bundle.version.model_id
            return visible_runs(session, model_id, variant, day, day)[day]

    def match(self, day: date = DAY) -> Matched:
        """Return the day's predictions beside what happened."""
        with self.registry.read() as session:
            assert find_partition(session, self.dataset.name, day) is not None
        found = match_actuals(self.registry, self.home, self.job, self.run(day), self.dataset)
        assert found is not None
        return found


@contextmanager
def opened(home: Home) -> Iterator[Truth]:
    """Give ``home`` with its registry open, the champion's job and a dataset of outcomes."""
    with home.open_registry() as registry:
        job = plan_job(load_champion(registry, "flight-delay"), "production", "monitor")
        yield Truth(home, registry, job, outcomes(home))


def outcomes(home: Home) -> Dataset:
    """Return a dataset of outcomes alone, keyed as the flights are."""
    names = ("flight_date", "carrier", "flight", "origin")
    arrivals = load_dataset(home.lab, "arrivals")
    columns = {name: arrivals.columns[name] for name in names}
    return replace(
        arrivals, name="outcomes", columns={**columns, "late": Column("int64", nullable=True)}
    )
