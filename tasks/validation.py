"""Checking a day's rows with Great Expectations, set up once and used for every day."""

from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tasks.datasets import Dataset
from tasks.errors import LabError, PartitionRefusedError


@dataclass(frozen=True)
class Verdict:
    """What the checks said of one day."""

    reasons: dict[int, list[str]]  # broken row -> every reason
    failures: list[str]  # checks of the whole table that failed


class Validator:
    """The suite of one dataset, and the guards that a suite alone does not give.

    A suite passes vacuously (Great Expectations 1.24): an empty frame passes most expectations,
    NaN passes Between, null keys pass Unique. So rows > 0, declared not-null columns, finite
    numbers and the partition's own date are checked here in any case.
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
        if rows.num_rows == 0:
            raise PartitionRefusedError(
                self.dataset.name,
                day.isoformat(),
                "the source has no rows for this day",
                "Check the date, or wait until the source has it.",
            )
        reasons = self._guard(rows, day)
        failures = []
        results = self._definition.run(
            batch_parameters={"dataframe": rows.to_pandas().reset_index(drop=True)},
            # The index query would cost a second pass; names of columns would copy the rows.
            result_format={"result_format": "COMPLETE", "return_unexpected_index_query": False},
        )
        for result in results.results:
            reason = _reason(result.expectation_config)
            self._refuse_exception(result.exception_info, reason)
            broken = result.result.get("unexpected_index_list")
            for index in broken or ():
                _add(reasons, int(index), reason)
            if broken is None and not result.success:
                failures.append(f"{reason} (found {result.result.get('observed_value')})")
        return Verdict(dict(sorted(reasons.items())), failures)

    def _guard(self, rows: pa.Table, day: date) -> dict[int, list[str]]:
        reasons: dict[int, list[str]] = {}
        for name, column in self.dataset.columns.items():
            values = rows.column(name)
            if not column.nullable:
                _mark(reasons, pc.is_null(values), f"{name} is null")
            if column.type == "float64":
                _mark(reasons, pc.invert(pc.is_finite(values)), f"{name} is not finite")
        other = pc.not_equal(rows.column(self.dataset.date), pa.scalar(day, pa.date32()))
        _mark(reasons, other, f"{self.dataset.date} is another day than the partition's")
        return reasons

    @cached_property
    def _definition(self) -> Any:
        import great_expectations as gx
        from great_expectations.core.batch_definition import BatchDefinition
        from great_expectations.data_context.types.base import ProgressBarsConfig

        context = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = ProgressBarsConfig(globally=False)
        source = context.data_sources.add_pandas(name=self.dataset.name)
        asset = source.add_dataframe_asset(name=self.dataset.name)
        batches: BatchDefinition[Any] = asset.add_batch_definition_whole_dataframe("day")
        try:
            suite = gx.ExpectationSuite(
                name=self.dataset.name, expectations=list(self.dataset.suite["expectations"])
            )
            self._refuse_dropped(suite)
            context.suites.add(suite)
        except LabError:
            raise
        except Exception as err:  # the library raises many kinds for one mistake
            raise LabError(
                f"lab/datasets/{self.dataset.name}/expectations.json",
                f"Great Expectations refuses the suite ({err})",
                "Compare it with a suite the library wrote.",
            ) from err
        return context.validation_definitions.add(
            gx.ValidationDefinition(name=self.dataset.name, data=batches, suite=suite)
        )

    def _refuse_dropped(self, suite: Any) -> None:
        # What the library does not know it leaves out and only logs (Great Expectations 1.24): a
        # misspelt expectation would check nothing.
        kept = [expectation.expectation_type for expectation in suite.expectations]
        for entry in self.dataset.suite["expectations"]:
            kind = entry.get("type") if isinstance(entry, dict) else entry
            if kind not in kept:
                raise LabError(
                    f"lab/datasets/{self.dataset.name}/expectations.json",
                    f"Great Expectations refuses {kind!r}, or what it is given",
                    "Compare it with the library's list of expectations.",
                )
            kept.remove(kind)

    def _refuse_exception(self, info: dict[str, Any], reason: str) -> None:
        # A missing column and the like are reported, not raised (Great Expectations 1.24).
        nested = info.values() if "raised_exception" not in info else [info]
        for entry in nested:
            if isinstance(entry, dict) and entry.get("raised_exception"):
                raise LabError(
                    f"lab/datasets/{self.dataset.name}/expectations.json",
                    f"{reason!r} cannot be evaluated ({entry.get('exception_message')})",
                    "Name columns that [schema] declares.",
                )


def _mark(reasons: dict[int, list[str]], mask: pa.ChunkedArray, reason: str) -> None:
    for index in pc.indices_nonzero(pc.fill_null(mask, False)).to_pylist():
        _add(reasons, index, reason)


def _add(reasons: dict[int, list[str]], index: int, reason: str) -> None:
    said = reasons.setdefault(index, [])
    if reason not in said:
        said.append(reason)


def _reason(config: Any) -> str:
    """Return the author's own words where the suite gives them, else what was expected."""
    if config.meta and config.meta.get("reason"):
        return str(config.meta["reason"])
    settings = {
        key: value
        for key, value in config.kwargs.items()
        if key not in ("batch_id", "result_format") and value is not None
    }
    words = str(config.type).removeprefix("expect_").replace("_", " ")
    return f"{words} {settings}"
