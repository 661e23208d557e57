"""Checking rows with Great Expectations, set up once and used for a day or many together."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pilotline.tasks.errors import PartitionRefusedError
from pilotline.tasks.ingest.suites import Suite, split_suite
from pilotline.tasks.lab import Dataset

# Great Expectations copies a frame for each mask: half a gigabyte a million rows of a dozen
# columns. Larger frames are checked in slices where a row's verdict is the row's own.
SLICE_ROWS = 500_000

Marks = Mapping[str, NDArray[np.int64]]  # reason -> the broken rows' numbers, ascending


@dataclass(frozen=True)
class Verdict:
    """What the checks said of one day."""

    marks: Marks  # in the order of the checks
    failures: list[str]  # checks of the whole table that failed

    @cached_property
    def broken(self) -> NDArray[np.int64]:
        """The numbers of the broken rows, ascending."""
        found = [*self.marks.values(), np.empty(0, np.int64)]
        return np.unique(np.concatenate(found))

    @cached_property
    def reasons(self) -> dict[int, list[str]]:
        """Every reason of every broken row; large where most rows are broken."""
        reasons: dict[int, list[str]] = {int(row): [] for row in self.broken}
        for reason, rows in self.marks.items():
            for row in rows.tolist():
                reasons[row].append(reason)
        return reasons


class Validator:
    """The suite of one dataset, and the guards that a suite alone does not give.

    A suite passes vacuously (Great Expectations 1.24): an empty frame passes most expectations,
    NaN and nulls alone pass Between, null keys pass Unique. So rows > 0, declared not-null
    columns, finite numbers, unique keys, the partition's own date and columns that hold any value
    at all are checked here in any case.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def check(self, rows: pa.Table, day: date) -> Verdict:
        """Return the broken rows of a day with every reason, and table-level failures.

        Args:
            rows: shape (rows, declared columns), at least one row.
            day: the partition.

        Raises:
            PartitionRefusedError: there are no rows.
            LabError: an expectation cannot be evaluated at all.
        """
        return self.check_days([(day, rows)])[0]

    def check_days(self, days: Sequence[tuple[date, pa.Table]]) -> list[Verdict]:
        """Return the verdict on each day, as if each had been checked alone.

        What judges a row by itself sees all days in one frame, in slices: a run of the suite
        costs a tenth of a second however few its rows are. What judges a day sees that day.

        Raises:
            PartitionRefusedError: a day has no rows.
            LabError: an expectation cannot be evaluated at all.
        """
        for day, rows in days:
            require_rows(self.dataset.name, day, rows)
        guards = [self._guard(rows, day) for day, rows in days]
        found = [_Findings(len(self.dataset.suite["expectations"])) for _ in days]
        starts = np.cumsum([0, *(rows.num_rows for _, rows in days)])
        whole = pa.concat_tables([rows for _, rows in days])
        for first in range(0, whole.num_rows, SLICE_ROWS):
            frame = whole.slice(first, SLICE_ROWS)
            for order, reason, index in self._of_rows.run(frame):
                _deal(found, starts, order, reason, index + first)
        for numbers in self._frames_of_keys(days):
            frame = pa.concat_tables([days[n][1] for n in numbers])
            own = np.cumsum([0, *(days[n][1].num_rows for n in numbers)])
            for order, reason, index in self._of_keys.run(frame):
                _deal([found[n] for n in numbers], own, order, reason, index)
        for (_, rows), finding in zip(days, found, strict=True):
            for order, reason, index in self._of_days.run(rows, finding.failures):
                finding.add(order, reason, index)
        verdicts = zip(days, guards, found, strict=True)
        return [self._judge(rows, guard, finding) for (_, rows), guard, finding in verdicts]

    def explain(self, rows: pa.Table) -> Any:
        """Return Great Expectations' own result for the whole suite on one day's rows."""
        return self._all.explain(rows)

    def _judge(
        self, rows: pa.Table, guard: dict[str, NDArray[np.int64]], found: "_Findings"
    ) -> Verdict:
        marks = dict(guard)
        for reason, index in found.in_order():
            marks[reason] = np.union1d(marks[reason], index) if reason in marks else index
        return Verdict(marks, [*self._of_nothing(rows), *found.failures])

    def _frames_of_keys(self, days: Sequence[tuple[date, pa.Table]]) -> list[list[int]]:
        """Return which days may be looked through together for keys that are not unique.

        The date is part of the key: together they are as each alone, unless a row has another
        day's date.
        """
        column = self.dataset.date
        alone = [
            n
            for n, (day, rows) in enumerate(days)
            if pc.count_distinct(rows[column], mode="all").as_py() != 1
            or rows[column][0].as_py() != day
        ]
        if alone or len({day for day, _ in days}) < len(days):
            return [[n] for n in range(len(days))]
        return [list(range(len(days)))]

    def _guard(self, rows: pa.Table, day: date) -> dict[str, NDArray[np.int64]]:
        marks: dict[str, NDArray[np.int64]] = {}
        for name, column in self.dataset.columns.items():
            values = rows.column(name)
            if not column.nullable and values.null_count:
                _mark(marks, pc.is_null(values), f"{name} is null")
            if column.type == "float64":
                _mark(marks, pc.invert(pc.is_finite(values)), f"{name} is not finite")
        other = pc.not_equal(rows.column(self.dataset.date), pa.scalar(day, pa.date32()))
        _mark(marks, other, f"{self.dataset.date} is another day than the partition's")
        if not self._suite_checks_key:
            twice = rows.select(list(self.dataset.key)).to_pandas().duplicated(keep=False)
            _mark(marks, pa.array(twice), "another row has the same key")
        return marks

    def _of_nothing(self, rows: pa.Table) -> Iterator[str]:
        """Yield what was expected of a column that holds no value: it passed, and said nothing."""
        for name, reason in self._of_rows.values_of():
            values = rows.column(name) if name in rows.column_names else None
            if values is not None and values.null_count == rows.num_rows:
                yield (
                    f"every value of {name} is null, so this checked nothing: {reason} (if that "
                    'may be, say "meta": {"vacuous": true} in the suite)'
                )

    @cached_property
    def _suite_checks_key(self) -> bool:
        return any(
            isinstance(entry, dict)
            and entry.get("type") == "expect_compound_columns_to_be_unique"
            and set(entry.get("kwargs", {}).get("column_list", ())) <= set(self.dataset.key)
            and "row_condition" not in entry.get("kwargs", {})
            for entry in self.dataset.suite["expectations"]
        )

    @cached_property
    def _of_rows(self) -> Suite:
        return self._suites["row"]

    @cached_property
    def _of_keys(self) -> Suite:
        return self._suites["key"]

    @cached_property
    def _of_days(self) -> Suite:
        return self._suites["day"]

    @cached_property
    def _all(self) -> Suite:
        return self._suites["all"]

    @cached_property
    def _suites(self) -> Mapping[str, Suite]:
        return split_suite(self.dataset)


def require_rows(dataset: str, day: date, rows: pa.Table) -> None:
    """Do nothing if the source gave any rows.

    Raises:
        PartitionRefusedError: it gave none.
    """
    if rows.num_rows == 0:
        raise PartitionRefusedError(
            dataset,
            day.isoformat(),
            "the source has no rows for this day",
            "Check the date, or wait until the source has it.",
        )


class _Findings:
    """What the suite found on one day, kept so that reasons come in the suite's order."""

    def __init__(self, expectations: int) -> None:
        self._by_order: list[list[tuple[str, NDArray[np.int64]]]] = [
            [] for _ in range(expectations)
        ]
        self.failures: list[str] = []

    def add(self, order: int, reason: str, rows: NDArray[np.int64]) -> None:
        """Note rows that broke the expectation with this place in the suite."""
        self._by_order[order].append((reason, rows))

    def in_order(self) -> Iterator[tuple[str, NDArray[np.int64]]]:
        """Yield each broken expectation's reason and rows."""
        for found in self._by_order:
            if found:
                yield found[0][0], np.unique(np.concatenate([rows for _, rows in found]))


def _deal(
    found: Sequence[_Findings],
    starts: NDArray[np.int64],
    order: int,
    reason: str,
    rows: NDArray[np.int64],
) -> None:
    """Split row numbers of a frame of several days into those of each day."""
    rows = np.sort(rows)
    cuts = np.searchsorted(rows, starts)
    for n, finding in enumerate(found):
        own = rows[cuts[n] : cuts[n + 1]]
        if own.size:
            finding.add(order, reason, own - starts[n])


def _mark(marks: dict[str, NDArray[np.int64]], mask: pa.ChunkedArray, reason: str) -> None:
    rows = pc.indices_nonzero(pc.fill_null(mask, False)).to_numpy().astype(np.int64)
    if rows.size:
        marks[reason] = rows
