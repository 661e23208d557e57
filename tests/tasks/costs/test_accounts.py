"""Costs: what is expected was worked out by hand from round prices."""

import json
from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from pilotline.registry.runs.usage import RunUsage
from pilotline.tasks.costs.accounts import Cost, add_up
from pilotline.tasks.costs.prices import Price, Prices

PRICES = Prices("EUR", (Price(date.min, cpu_hour=2.0, gib_hour=0.5),))
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
# One CPU-hour, 2.00; 4 GiB for half an hour, 2 GiB-hours, 1.00; together 3.00.
USED = {
    "wall_s": 1800.0,
    "parent_cpu_s": 900.0,
    "child_cpu_s": 2700.0,
    "parent_peak_mib": 1024.0,
    "child_peak_mib": 3072.0,
    "bytes_in": 5_000,
    "bytes_out": 700,
}


def run(
    name: str = "a",
    *,
    model: str = "churn",
    owner: str = "ada",
    minor: int = 0,
    state: str | None = "succeeded",
    rows: int | None = 1_000_000,
    resources: str | None = json.dumps(USED),
    started_at: datetime = NOON,
) -> RunUsage:
    """Return a run as the registry gives it."""
    version = (1, minor, 0)
    place = ("production", date(2026, 3, 1), started_at)
    return RunUsage(name, model, owner, *version, *place, state, rows, resources)


def test_a_run_costs_its_cpu_hours_and_its_gib_hours() -> None:
    account = add_up([run()], PRICES, "run")
    assert account.currency == "EUR"
    assert account.groups == [
        Cost(
            "a",
            runs=1,
            rows=1_000_000,
            wall_s=1800.0,
            cpu_s=3600.0,
            gib_hours=2.0,
            bytes_in=5_000,
            bytes_out=700,
            cost=3.0,
        )
    ]
    assert account.total.cost == 3.0


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("run", {"a": 3.0, "b": 3.0, "c": 3.0, "d": 3.0}),
        ("version", {"churn 1.0.0": 3.0, "churn 1.1.0": 3.0, "late 1.0.0": 6.0}),
        ("model", {"churn": 6.0, "late": 6.0}),
        ("owner", {"ada": 9.0, "bob": 3.0}),
    ],
)
def test_costs_are_added_up_by_what_is_asked_for(by: str, expected: dict[str, float]) -> None:
    runs = [run("a"), run("b", minor=1), run("c", model="late"), run("d", model="late")]
    runs[3] = runs[3]._replace(owner="bob")
    account = add_up(runs, PRICES, by)
    assert {cost.group: cost.cost for cost in account.groups} == expected
    assert account.total.cost == 12.0
    assert account.total.runs == 4


def test_the_highest_cost_comes_first() -> None:
    runs = [run("a", model="small"), run("b", model="large"), run("c", model="large")]
    assert [cost.group for cost in add_up(runs, PRICES, "model").groups] == ["large", "small"]


@pytest.mark.parametrize("state", ["failed", "superseded", "crashed"])
def test_a_run_without_success_costs_and_is_for_nothing(state: str) -> None:
    runs = [run("a"), run("b"), run("c"), run("d", state=state, rows=0)]
    total = add_up(runs, PRICES, "model").total
    assert (total.cost, total.cost_for_nothing) == (12.0, 3.0)
    assert total.share_for_nothing == 0.25


def test_the_cost_per_million_rows_includes_what_was_for_nothing() -> None:
    runs = [run("a", rows=1_500_000), run("b", state="failed", rows=0)]
    assert add_up(runs, PRICES, "model").total.cost_per_million_rows == 4.0  # 6.00 for 1.5 M


def test_without_predictions_there_is_no_cost_per_million_rows() -> None:
    assert (
        add_up([run(state="failed", rows=0)], PRICES, "model").total.cost_per_million_rows is None
    )


@pytest.mark.parametrize(("state", "resources"), [(None, None), ("crashed", "{}")])
def test_a_run_whose_use_is_not_known_is_counted_apart(
    state: str | None, resources: str | None
) -> None:
    total = add_up([run(), run("b", state=state, rows=0, resources=resources)], PRICES, "run").total
    assert (total.runs, total.unmeasured, total.cost) == (2, 1, 3.0)


def test_a_run_keeps_the_price_of_the_day_on_which_it_began() -> None:
    prices = Prices("EUR", (*PRICES.steps, Price(date(2026, 3, 1), cpu_hour=20.0, gib_hour=5.0)))
    runs = [run("new"), run("old", started_at=NOON - timedelta(days=1))]
    assert [cost.cost for cost in add_up(runs, prices, "run").groups] == [30.0, 3.0]


def test_days_of_prices_are_those_of_utc() -> None:
    prices = Prices("EUR", (*PRICES.steps, Price(date(2026, 3, 1), cpu_hour=20.0, gib_hour=5.0)))
    east = timezone(timedelta(hours=9))
    still_february = datetime(2026, 3, 1, 8, tzinfo=east)  # 23 o'clock in UTC
    assert add_up([run(started_at=still_february)], prices, "run").total.cost == 3.0


@pytest.mark.parametrize("nonsense", ['"much"', "-5", "NaN", "null", "[]"])
def test_an_amount_that_is_none_counts_as_nothing(nonsense: str) -> None:
    resources = f'{{"wall_s": 1800, "parent_cpu_s": {nonsense}, "child_cpu_s": 3600}}'
    assert add_up([run(resources=resources)], PRICES, "run").total.cost == 2.0


def test_no_runs_cost_nothing() -> None:
    account = add_up([], PRICES, "owner")
    assert account.groups == []
    assert account.total == Cost("total")
    assert account.total.share_for_nothing is None
