"""A Great Expectations suite, split by what an expectation must see to judge a row."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pilotline.tasks.errors import LabError
from pilotline.tasks.lab import Dataset

# Their verdict on a row is that row's alone, so they may see a slice of a day, or several days.
# Left out: what compares rows (unique, increasing), what looks at a column's statistics (z-scores)
# and what looks at the type that pandas gives a column, which nulls elsewhere in it change.
ROW_LEVEL = frozenset(
    {
        "expect_column_pair_values_a_to_be_greater_than_b",
        "expect_column_pair_values_to_be_equal",
        "expect_column_pair_values_to_be_in_set",
        "expect_column_value_lengths_to_be_between",
        "expect_column_value_lengths_to_equal",
        "expect_column_values_to_be_between",
        "expect_column_values_to_be_dateutil_parseable",
        "expect_column_values_to_be_in_set",
        "expect_column_values_to_be_json_parseable",
        "expect_column_values_to_be_null",
        "expect_column_values_to_match_json_schema",
        "expect_column_values_to_match_regex",
        "expect_column_values_to_match_regex_list",
        "expect_column_values_to_match_strftime_format",
        "expect_column_values_to_not_be_in_set",
        "expect_column_values_to_not_be_null",
        "expect_column_values_to_not_match_regex",
        "expect_column_values_to_not_match_regex_list",
        "expect_multicolumn_sum_to_equal",
        "expect_multicolumn_values_to_be_equal",
        "expect_select_column_values_to_be_unique_within_record",
    }
)
ABOUT_NULLS = ("expect_column_values_to_be_null", "expect_column_values_to_not_be_null")
ONE_COLUMN = ("column", "column_A", "column_B")
COLUMNS = ("column_list", "column_set")
ORDER = "pilotline_order"  # place in the suite, in an expectation's meta


@dataclass(frozen=True)
class Suite:
    """Some of a dataset's expectations, ready to run."""

    dataset: Dataset
    entries: Sequence[Mapping[str, Any]]  # as the file has them, with their place in it
    definition: Any  # of Great Expectations; None where there are no entries

    def run(
        self, rows: pa.Table, failures: list[str] | None = None
    ) -> Iterator[tuple[int, str, NDArray[np.int64]]]:
        """Yield place, reason and broken rows of each expectation that rows break.

        Args:
            rows: shape (rows, declared columns).
            failures: gets what failed without naming rows.

        Raises:
            LabError: an expectation cannot be evaluated at all.
        """
        if self.definition is None:
            return
        for result in self.explain(self._of_use(rows)).results:
            reason = reason_of(result.expectation_config)
            self._refuse_exception(result.exception_info, reason)
            broken = result.result.get("unexpected_index_list")
            if broken:
                order = int(result.expectation_config.meta[ORDER])
                yield order, reason, np.asarray(broken, dtype=np.int64)
            elif broken is None and not result.success and failures is not None:
                failures.append(f"{reason} (found {result.result.get('observed_value')})")

    def explain(self, rows: pa.Table) -> Any:
        """Return Great Expectations' own result."""
        return self.definition.run(
            batch_parameters={"dataframe": rows.to_pandas().reset_index(drop=True)},
            # The index query would cost a second pass; names of columns would copy the rows.
            result_format={"result_format": "COMPLETE", "return_unexpected_index_query": False},
        )

    def values_of(self) -> Iterator[tuple[str, str]]:
        """Yield column and reason of what is expected of one column's values."""
        for entry in self.entries:
            column, meta = entry.get("kwargs", {}).get("column"), entry.get("meta") or {}
            if column and entry["type"] not in ABOUT_NULLS and not meta.get("vacuous"):
                yield column, str(meta.get("reason") or entry["type"])

    def _of_use(self, rows: pa.Table) -> pa.Table:
        """Return the columns that the expectations name: to turn one into pandas is to copy it."""
        named = {self.dataset.date}
        for entry in self.entries:
            settings = entry.get("kwargs", {})
            own = [settings[name] for name in ONE_COLUMN if name in settings]
            own += [column for name in COLUMNS for column in settings.get(name, ())]
            is_count = str(entry["type"]).startswith("expect_table_row_count")
            if not (own or is_count) or "row_condition" in settings:
                return rows
            named.update(own)
        return rows.select([name for name in rows.column_names if name in named])

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


def split_suite(dataset: Dataset) -> dict[str, Suite]:
    """Return the dataset's suite by what its expectations must see, and ``all`` of it.

    ``row``: rows alone; ``key``: a whole day, or several, since the date is part of what must be
    unique; ``day``: exactly one day.

    Raises:
        LabError: Great Expectations does not know an expectation, or what it is given.
    """
    entries = [_placed(entry, n) for n, entry in enumerate(dataset.suite["expectations"])]
    groups: dict[str, list[Any]] = {"row": [], "key": [], "day": []}
    for entry in entries:
        groups[_group(entry, dataset.date)].append(entry)
    context = _make_context()
    # All of it first: a mistake is then told of the suite, whichever part it is in.
    suites = {"all": _build(context, dataset, "all", entries)}
    return suites | {name: _build(context, dataset, name, own) for name, own in groups.items()}


def reason_of(config: Any) -> str:
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


def _placed(entry: Any, order: int) -> Any:
    if not isinstance(entry, dict):
        return entry
    return {**entry, "meta": {**(entry.get("meta") or {}), ORDER: order}}


def _group(entry: Any, date: str) -> str:
    if not isinstance(entry, dict):
        return "day"
    if entry.get("type") in ROW_LEVEL:
        return "row"
    settings = entry.get("kwargs", {})
    is_key = entry.get("type") == "expect_compound_columns_to_be_unique"
    together = (
        is_key and date in settings.get("column_list", ()) and "row_condition" not in settings
    )
    return "key" if together else "day"


def _make_context() -> Any:
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    return context


def _build(context: Any, dataset: Dataset, group: str, entries: Sequence[Any]) -> Suite:
    import great_expectations as gx
    from great_expectations.core.batch_definition import BatchDefinition

    if not entries:
        return Suite(dataset, entries, None)
    name = f"{dataset.name} {group}"
    asset = context.data_sources.add_pandas(name=name).add_dataframe_asset(name=name)
    batches: BatchDefinition[Any] = asset.add_batch_definition_whole_dataframe("day")
    try:
        suite = gx.ExpectationSuite(name=name, expectations=list(entries))
        _refuse_dropped(dataset, suite, entries)
        context.suites.add(suite)
    except LabError:
        raise
    except Exception as err:  # the library raises many kinds for one mistake
        raise LabError(
            f"lab/datasets/{dataset.name}/expectations.json",
            f"Great Expectations refuses the suite ({err})",
            "Compare it with a suite the library wrote.",
        ) from err
    definition = gx.ValidationDefinition(name=name, data=batches, suite=suite)
    return Suite(dataset, entries, context.validation_definitions.add(definition))


def _refuse_dropped(dataset: Dataset, suite: Any, entries: Sequence[Any]) -> None:
    # What the library does not know it leaves out and only logs (Great Expectations 1.24): a
    # misspelt expectation would check nothing.
    kept = [expectation.expectation_type for expectation in suite.expectations]
    for entry in entries:
        kind = entry.get("type") if isinstance(entry, dict) else entry
        if kind not in kept:
            raise LabError(
                f"lab/datasets/{dataset.name}/expectations.json",
                f"Great Expectations refuses {kind!r}, or what it is given",
                "Compare it with the library's list of expectations.",
            )
        kept.remove(kind)
