"""Releasing corrected rows from quarantine: back through the same checks, and in if they pass."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa

from pilotline.registry.runs import Ingest, get_partition, release_token
from pilotline.tasks import lake
from pilotline.tasks.errors import CorrectionRefusedError, PartitionRefusedError
from pilotline.tasks.home import Home
from pilotline.tasks.ingest.commit import QUARANTINE_SCHEMA, Admitted, commit_days
from pilotline.tasks.ingest.corrections import Correction, parse_row
from pilotline.tasks.ingest.quarantine import read_quarantined
from pilotline.tasks.ingest.validation import Validator
from pilotline.tasks.lab import Dataset
from pilotline.tasks.lake import canonical_order, check_day, digest_sorted


@dataclass(frozen=True)
class Judgement:
    """What came of one corrected row."""

    date: date
    row_number: int
    released: bool  # False: it stays in quarantine as it was
    reasons: tuple[str, ...]  # why it stays


@dataclass(frozen=True)
class Release:
    """What came of corrected rows."""

    dataset: str
    rows: list[Judgement]
    digests: dict[date, str]  # of the days that hold other rows now

    @property
    def stay(self) -> int:
        """How many did not pass."""
        return sum(not row.released for row in self.rows)


def release_rows(
    home: Home, dataset: Dataset, corrections: Sequence[Correction], by: str
) -> Release:
    """Judge corrected rows with the accepted rows of their days, and move those that pass.

    What passes leaves the quarantine and joins the accepted rows in one ingest of its day, which
    has a new digest; what does not stays in quarantine as it was. All days or none.

    Args:
        home: where everything lies.
        dataset: what the rows are of.
        corrections: each for another quarantined row.
        by: who releases them; it is kept with the commit.

    Raises:
        CorrectionRefusedError: a correction is for a row that is not in quarantine.
        UnknownPartitionError: a day was never ingested.
        PartitionRefusedError: the accepted rows of a day do not pass themselves.
        ConflictError: a day was ingested again meanwhile.
        LakeError: a table cannot be read or written, or is damaged.
    """
    validator = Validator(dataset)
    judged: list[Judgement] = []
    admitted: list[Admitted] = []
    with home.open_registry() as registry:
        for day in sorted({correction.date for correction in corrections}):
            with registry.read() as session:
                partition = get_partition(session, dataset.name, day)
            own = sorted((c for c in corrections if c.date == day), key=lambda c: c.row_number)
            said, rows = _judge_day(home, dataset, validator, partition, own)
            judged += said
            if any(row.released for row in said):
                admitted.append(_admit(home, dataset, partition, said, rows, by))
        done = commit_days(dataset, admitted, registry, home.lake) if admitted else []
    digests = {each.ingest.date: each.ingest.partition_digest for each in done}
    return Release(dataset.name, judged, digests)


def as_they_are(
    home: Home, dataset: Dataset, day: date, numbers: Sequence[int]
) -> list[Correction]:
    """Return quarantined rows as their own corrections, for rules that changed since.

    Raises:
        CorrectionRefusedError: a row is not in quarantine, or has a value that no column takes.
        UnknownPartitionError: the day was never ingested.
    """
    with home.open_registry() as registry, registry.read() as session:
        partition = get_partition(session, dataset.name, day)
    there = read_quarantined(home, partition)
    _require_there(partition, there, numbers)
    return [
        Correction(day, n, parse_row(f"row {n}", dataset, json.loads(there[n]["row"])))
        for n in dict.fromkeys(numbers)
    ]


def _judge_day(
    home: Home,
    dataset: Dataset,
    validator: Validator,
    partition: Ingest,
    corrections: Sequence[Correction],
) -> tuple[list[Judgement], pa.Table]:
    """Return what the checks say of each correction, and the day's rows with those that pass."""
    numbers = [correction.row_number for correction in corrections]
    _require_there(partition, read_quarantined(home, partition), numbers)
    schema = pa.schema([field.with_nullable(True) for field in dataset.schema])
    accepted = _read_accepted(home, dataset, partition).cast(schema)
    new = pa.Table.from_pylist([dict(correction.row) for correction in corrections], schema)
    verdict = validator.check(pa.concat_tables([accepted, new]), partition.date)
    fails = np.isin(np.arange(new.num_rows) + accepted.num_rows, verdict.broken)
    rows = pa.concat_tables([accepted, new.filter(pa.array(~fails))])
    if fails.any():
        # Without those that failed: an accepted row is not broken because of one of them.
        verdict_without = validator.check(rows, partition.date)
    else:
        verdict_without = verdict
    _require_sound(partition, verdict_without.failures, len(verdict_without.broken))
    said = [
        Judgement(
            partition.date,
            correction.row_number,
            not failed,
            tuple(verdict.reasons.get(accepted.num_rows + n, ())),
        )
        for n, (correction, failed) in enumerate(zip(corrections, fails.tolist(), strict=True))
    ]
    return said, rows


def _admit(
    home: Home,
    dataset: Dataset,
    partition: Ingest,
    said: Sequence[Judgement],
    rows: pa.Table,
    by: str,
) -> Admitted:
    released = {row.row_number for row in said if row.released}
    rows = rows.take(canonical_order(rows, dataset.key))
    digest = digest_sorted(rows)
    token = release_token(partition.token, digest)
    left: list[dict[str, Any]] = [
        {**row, "token": token}
        for number, row in read_quarantined(home, partition).items()
        if number not in released
    ]
    return Admitted(
        date=partition.date,
        token=token,
        digest=digest,
        accepted=rows,
        quarantined=pa.Table.from_pylist(left, schema=QUARANTINE_SCHEMA),
        base=partition.token,
        released=tuple(sorted(released)),
        by=by,
    )


def _read_accepted(home: Home, dataset: Dataset, partition: Ingest) -> pa.Table:
    """Return what the recorded ingest accepted, whatever a crashed one left in the table since."""
    path = lake.accepted_path(home.lake, dataset.name)
    table = lake.open_table(path, partition.table_version)
    rows = lake.read(table, dataset.schema, lake.on_day(dataset.date, partition.date))
    check_day(dataset.name, dataset.key, partition.date, rows, partition.partition_digest)
    return rows


def _require_there(
    partition: Ingest, there: dict[int, dict[str, Any]], numbers: Sequence[int]
) -> None:
    for number in numbers:
        if number not in there:
            listed = ", ".join(str(each) for each in sorted(there)[:8]) or "none"
            raise CorrectionRefusedError(
                f"row {number} of {partition.dataset} {partition.date}",
                f"it is not in quarantine; there: {listed}",
                f"See 'pilotline quarantine {partition.dataset} --date {partition.date}'.",
            )


def _require_sound(partition: Ingest, failures: Sequence[str], broken: int) -> None:
    problems = list(failures)
    if broken:
        problems.append(f"{broken} accepted rows do not pass the present checks themselves")
    if problems:
        raise PartitionRefusedError(
            partition.dataset,
            partition.date.isoformat(),
            "; ".join(problems),
            f"Ingest it again first: 'pilotline ingest {partition.dataset} "
            f"--date {partition.date}'.",
        )
