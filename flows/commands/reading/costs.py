"""The command costs: what scoring used and cost, in units a bill has."""

from collections.abc import Sequence
from datetime import date

import click

from pilotline.flows.run.place import current_home
from pilotline.flows.screen.console import out, print_json, print_table
from pilotline.flows.screen.options import Day, json_option
from pilotline.tasks.costs import Account, Asked, Cost, account_for, load_prices

SHOWN = 50  # groups on a screen; --json gives all
MB = 1e6


@click.command()
@click.argument("model", required=False)
@click.option(
    "--by",
    type=click.Choice(["run", "version", "model", "owner"]),
    default="version",
    show_default=True,
    help="What to add up.",
)
@click.option("--start", type=Day(), help="First day (UTC) on which runs began.")
@click.option("--end", type=Day(), help="Last such day, included.")
@click.option("--variant", help="Only this: production, shadow/1.0.1 ...")
@json_option
def costs(
    model: str | None,
    by: str,
    start: date | None,
    end: date | None,
    variant: str | None,
    as_json: bool,
) -> None:
    """Say what scoring cost, of MODEL or of all models, at the prices of costs.toml.

    A run costs its CPU-hours and its GiB-hours from claim to commit. GiB-hours are the peak memory
    of parent and child times the hours, an upper bound. Runs that failed or were superseded count
    too: their share of the cost is "for nothing".
    """
    if start and end and end < start:
        raise click.UsageError(f"{end} is before {start}. Swap --start and --end.")
    home, asked = current_home(), Asked(model, variant, start, end)
    prices = load_prices(home)
    with home.open_registry() as registry:
        account = account_for(registry, prices, by, asked)
    if as_json:
        print_json(
            {
                "currency": account.currency,
                "by": by,
                "groups": [cost.facts() for cost in account.groups],
                "total": account.total.facts(),
            }
        )
    elif not account.groups:
        out.print(f"No run{_describe(asked)}: nothing was spent.", markup=False)
    else:
        _print_account(account, by, asked)


def _print_account(account: Account, by: str, asked: Asked) -> None:
    costs = [*account.groups[:SHOWN], account.total]
    currency = account.currency
    total = account.total
    per_million = [cost.cost_per_million_rows for cost in costs]
    shares = [cost.share_for_nothing for cost in costs]
    columns: dict[str, Sequence[object]] = {
        by: [cost.group for cost in costs],
        "runs": [cost.runs for cost in costs],
        "rows": [cost.rows for cost in costs],
        "wall s": _align([cost.wall_s for cost in costs], 1),
        "CPU s": _align([cost.cpu_s for cost in costs], 1),
        "GiB h": _align([cost.gib_hours for cost in costs], _places(total.gib_hours)),
        "MB in": _align([cost.bytes_in / MB for cost in costs], 2),
        "MB out": _align([cost.bytes_out / MB for cost in costs], 2),
        currency: _align([cost.cost for cost in costs], _places(total.cost)),
        f"{currency} per M rows": _align(per_million, _places(total.cost_per_million_rows or 0.0)),
        "for nothing": ["-" if share is None else f"{share:.1%}".rjust(6) for share in shares],
    }
    more = len(account.groups) - SHOWN
    rest = f", the {SHOWN} highest of {len(account.groups):,}" if more > 0 else ""
    title = f"Costs{_describe(asked)}, by {by}{rest}"
    print_table(title, list(columns), zip(*columns.values(), strict=True))
    _print_notes(total)


def _print_notes(total: Cost) -> None:
    out.print()
    out.print("GiB h: peak memory of parent and child x hours, an upper bound.", markup=False)
    if total.unmeasured:
        which = "1 run is" if total.unmeasured == 1 else f"{total.unmeasured:,} runs are"
        reason = "under way or died; what such a run used is not known and counts as 0"
        out.print(f"{which} {reason}.", markup=False)


def _describe(asked: Asked) -> str:
    """Return which runs were asked for, in words."""
    words = [f" of {asked.model}"] if asked.model else []
    words += [f" in {asked.variant}"] if asked.variant else []
    words += [f" from {asked.start}"] if asked.start else []
    words += [f" until {asked.end}"] if asked.end else []
    return "".join(words)


def _places(total: float) -> int:
    """Return how many decimals show the parts of ``total``."""
    return 2 if total >= 100 else 4 if total >= 1 else 6


def _align(values: Sequence[float | None], places: int) -> list[str]:
    """Return amounts under each other, to ``places``."""
    texts = ["-" if value is None else f"{value:,.{places}f}" for value in values]
    width = max(map(len, texts))
    return [text.rjust(width) for text in texts]
