"""The as-of join: beside each row the newest one of another table that is not too new or old."""

from collections.abc import Sequence
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc

from pilotline.tasks.errors import InputRefusedError
from pilotline.tasks.features.plans import JoinPlan
from pilotline.tasks.lab import arrow_schema

PLACE = "\x00place"  # a name that no declared column has


class AsOf:
    """The rows of one further input, in memory."""

    def __init__(self, plan: JoinPlan, rows: pa.Table) -> None:
        """Keep ``rows``, in the plan's schema.

        Raises:
            InputRefusedError: two rows of one day are alike in all columns of the join.
        """
        for name in plan.on:  # nothing is equal to what is missing
            rows = rows.filter(pc.is_valid(rows[name]))
        _refuse_repeated(plan, rows)
        self._plan, self._rows = plan, rows.sort_by(plan.date_column)
        self._newest: tuple[date, pa.Table] | None = None  # of the day asked for last

    def find(self, rows: pa.Table, day: date) -> pa.Table:
        """Return the plan's features beside each of ``rows``, which are of ``day``; null for none.

        Args:
            rows: with the columns of the join; the answer is in their order.
            day: theirs.
        """
        on = list(self._plan.on)
        asked = rows.select(on).append_column(PLACE, pa.array(range(rows.num_rows), pa.int64()))
        found = asked.join(self._newest_on(day), keys=on, join_type="left outer").sort_by(PLACE)
        return found.select(list(self._plan.features)).cast(arrow_schema(self._plan.features))

    def _newest_on(self, day: date) -> pa.Table:
        """Return the newest row for each value of the join that a row of ``day`` may see."""
        if self._newest is not None and self._newest[0] == day:
            return self._newest[1]
        plan, (start, end) = self._plan, self._plan.window(day)
        days = self._rows[plan.date_column]
        rows = self._rows.filter(
            pc.and_(
                pc.greater_equal(days, pa.scalar(start, pa.date32())),
                pc.less_equal(days, pa.scalar(end, pa.date32())),
            )
        )
        placed = rows.append_column(PLACE, pa.array(range(rows.num_rows), pa.int64()))
        last = placed.group_by(list(plan.on), use_threads=False).aggregate([(PLACE, "max")])
        rows = rows.take(last[f"{PLACE}_max"])
        columns = {name: rows[name] for name in plan.on}
        columns |= {
            feature: rows[name] for feature, name in zip(plan.features, plan.columns, strict=True)
        }
        self._newest = (day, pa.table(columns))
        return self._newest[1]


class Joined:
    """All further inputs of a model."""

    def __init__(self, inputs: Sequence[AsOf], date_column: str) -> None:
        """Join ``inputs`` to rows whose day stands in ``date_column``."""
        self._inputs, self._date = inputs, date_column

    def add(self, rows: pa.Table) -> pa.Table:
        """Return ``rows`` with the features of every input, each row by its own day."""
        days = pc.unique(rows[self._date]).to_pylist()
        if len(days) != 1:
            placed = rows.append_column(PLACE, pa.array(range(rows.num_rows), pa.int64()))
            # No row has the day for which the empty table is asked.
            parts = [
                self.add(placed.filter(pc.equal(placed[self._date], pa.scalar(day, pa.date32()))))
                for day in days
            ] or [self._add(placed, date.max)]
            return pa.concat_tables(parts).sort_by(PLACE).drop_columns([PLACE])
        return self._add(rows, days[0])

    def _add(self, rows: pa.Table, day: date) -> pa.Table:
        for one in self._inputs:
            found = one.find(rows, day)
            for field in found.schema:
                rows = rows.append_column(field, found[field.name])
        return rows


def _refuse_repeated(plan: JoinPlan, rows: pa.Table) -> None:
    names = [*plan.on, plan.date_column]
    counted = rows.group_by(names, use_threads=False).aggregate([([], "count_all")])
    repeated = counted.filter(pc.greater(counted["count_all"], 1))
    if repeated.num_rows:
        first = repeated.sort_by([(name, "ascending") for name in reversed(names)]).slice(0, 1)
        (values,) = first.to_pylist()
        said = ", ".join(f"{name}={values[name]}" for name in plan.on)
        raise InputRefusedError(
            plan.input,
            f"{values['count_all']} rows of {values[plan.date_column]} have {said}",
            "Which one belongs to a row is anybody's guess: join by more columns, or ingest fewer.",
        )
