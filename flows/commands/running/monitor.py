"""The command monitor: how a model does in production, in tables and in words."""

from dataclasses import asdict
from datetime import date
from typing import TYPE_CHECKING, Any

import click

from pilotline.flows.run.place import current_home
from pilotline.flows.screen.console import out, print_json, print_table
from pilotline.flows.screen.options import Day, json_option
from pilotline.flows.screen.text import show
from pilotline.flows.server.at_server import flow_run
from pilotline.registry.gates import champion

if TYPE_CHECKING:
    from pilotline.tasks.monitor import Watch
    from pilotline.tasks.stats import Interval


@click.command()
@click.argument("model")
@click.option("--date", "day", type=Day(), required=True, help="Judge up to this day.")
@json_option
def monitor(model: str, day: date, as_json: bool) -> None:
    """Judge MODEL in production: realized performance, drift, challengers, staleness."""
    _check_champion(model)
    with flow_run(f"monitoring {model}"):
        from pilotline.flows.monitor import monitor

        watch = monitor(model, day)
    if as_json:
        print_json(_describe(watch))
        return
    _print_realized(watch)
    _print_drift(watch)
    for found in watch.compared:
        out.print(found.sentence(), markup=False)
    for one in watch.stale:
        out.print(f"[yellow]stale:[/] {one.said}")
    out.print(
        "Drift persists: a retraining may be asked for." if watch.fired else "No drift persists."
    )


def _describe(watch: "Watch") -> dict[str, Any]:
    facts = asdict(watch)
    facts["compared"] = [
        {**asdict(found), "verdict": found.verdict, "sentence": found.sentence()}
        for found in watch.compared
    ]
    return facts


def _print_realized(watch: "Watch") -> None:
    names = list(dict.fromkeys(name for day in watch.realized for name in day.metrics))
    rows = [
        (
            d.date,
            d.number,
            d.variant,
            d.rows,
            f"{d.coverage:.1%}",
            *(_measured(d.metrics.get(name), d.intervals.get(name)) for name in names),
        )
        for d in watch.realized
    ]
    columns = ["date", "version", "variant", "rows", "known", *names]
    title = "Realized performance with 95 % intervals; known: predictions with an outcome"
    print_table(title, columns, rows)
    aside = [
        (day, variant, why, count)
        for (day, variant), counts in {
            (d.date, d.variant): d.set_aside for d in watch.realized
        }.items()
        for why, count in counts.items()
    ]
    if aside:
        print_table("Actuals that judge nothing", ["date", "variant", "why", "rows"], aside)
    for d in watch.realized:
        for name, why in d.missing.items():
            out.print(f"[yellow]missing:[/] {d.date} {d.number}", end=" ")
            out.print(f"{name}: {show(why)}", markup=False)
        if d.times > 1:
            said = "its rows, or what happened, changed since"
            out.print(f"{d.date} {d.number} {d.variant}: judged {d.times} times; {said}")


def _print_drift(watch: "Watch") -> None:
    drift = [
        (
            f"{w.start}..{w.end:%m-%d}",
            j.column,
            j.distance,
            j.value,
            j.threshold,
            j.noise,
            j.verdict,
        )
        for w in watch.windows
        for j in w.judgements
    ]
    columns = ["window", "column", "distance", "value", "limit", "noise", "verdict"]
    first, last = watch.learned
    print_table(f"Drift against what {watch.number} learned, {first} to {last}", columns, drift)
    out.print("noise: 99 % of windows this large stay below it without any drift")


def _measured(value: float | None, interval: "Interval | None") -> str:
    if value is None:
        return "-"
    if interval is None:
        return f"{value:.4f}"
    return f"{value:.4f} ({interval[0]:.3f}..{interval[1]:.3f})"


def _check_champion(model: str) -> None:
    with current_home().open_registry() as registry, registry.read() as session:
        champion(session, model)
