"""The first part of a report's page: what running the model took and gave."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import date

from pilotline.tasks.costs import Cost
from pilotline.tasks.report.facts import Report
from pilotline.tasks.report.operations import STEPS, Operations, RunFacts
from pilotline.tasks.report.pages.pieces import figure, grid, nothing
from pilotline.tasks.report.plots.markup import Markup, join, table, tag
from pilotline.tasks.report.plots.series import Line, Point, Stack, draw_key, draw_lines, draw_stack
from pilotline.tasks.report.volume import DayVolume


def show_operations(report: Report) -> Markup:
    """Return the part as a section."""
    facts = report.operations
    plots = [_show_time(facts.runs), _show_memory(facts.runs)]
    plots += [_show_volume(report, facts.volume), _show_predicted(facts.volume)]
    parts = [
        tag("h2", "Operations"),
        grid(*(plot for plot in plots if plot is not None)),
        tag("h3", "Runs that did not succeed"),
        _show_failures(facts),
        tag("h3", "Deadlines"),
        _show_deadlines(facts),
        tag("h3", "Cost"),
        _show_cost(facts),
    ]
    if not facts.runs:
        parts[1:2] = [nothing("No run is on record for these days."), parts[1]]
    return tag("section", *parts, id="operations")


def _show_time(runs: Sequence[RunFacts]) -> Markup | None:
    if not runs:
        return None
    amounts: dict[str, dict[date, float]] = {step: defaultdict(float) for step in STEPS}
    for run in runs:
        for step, seconds in run.seconds.items():
            amounts[step][run.date] += seconds
    drawing = draw_stack(
        "Seconds by step",
        "For each day of data, the seconds that its runs took, stacked by step.",
        Stack(amounts),
    )
    days = sorted({run.date for run in runs})
    rows = [
        [str(day), *(f"{amounts[s][day]:.2f}" for s in STEPS), f"{_sum(amounts, day):.2f}"]
        for day in days
    ]
    note = "All runs of a day of data together; a child that served several days started once."
    listed = table(["day", *(f"{step} s" for step in STEPS), "all s"], rows)
    return figure("Time by step, in seconds", note, drawing, draw_key(STEPS), listed)


def _sum(amounts: dict[str, dict[date, float]], day: date) -> float:
    return sum(part[day] for part in amounts.values())


def _show_memory(runs: Sequence[RunFacts]) -> Markup | None:
    lines = []
    listed: dict[date, list[float]] = {}
    sides: tuple[tuple[str, Callable[[RunFacts], float]], ...] = (
        ("pilotline", lambda run: run.parent_mib),
        ("the model's process", lambda run: run.child_mib),
    )
    for index, (name, peak_of) in enumerate(sides):
        peaks: dict[date, float] = {}
        for run in runs:
            if peak_of(run):
                peaks[run.date] = max(peak_of(run), peaks.get(run.date, 0.0))
        for day, peak in peaks.items():
            listed.setdefault(day, [0.0, 0.0])[index] = peak
        if peaks:
            lines.append(Line(name, [Point(day, peaks[day]) for day in sorted(peaks)]))
    if not lines:
        return None
    desc = "For each day of data, the highest peak of its runs, in MiB."
    drawing = draw_lines("Peak memory in MiB", desc, lines, from_zero=True)
    rows = [[str(day), *(f"{peak:,.0f}" for peak in listed[day])] for day in sorted(listed)]
    key = draw_key([line.name for line in lines])
    told = table(["day", *(f"{name} MiB" for name, _ in sides)], rows)
    return figure("Peak memory, in MiB", "The highest of a day's runs.", drawing, key, told)


def _show_volume(report: Report, volume: Sequence[DayVolume]) -> Markup | None:
    held = [day for day in volume if day.ingested]
    if not held:
        return None
    amounts = {
        "accepted": {day.date: float(day.accepted) for day in held},
        "in quarantine": {day.date: float(day.quarantined) for day in held},
    }
    name = report.inputs[0]
    desc = f"For each day, the rows of {name} that were accepted and those in quarantine."
    drawing = draw_stack(f"Rows of {name}", desc, Stack(amounts))
    rows = [
        [
            str(day.date),
            f"{day.accepted:,}",
            f"{day.quarantined:,}",
            f"{day.actuals:,}",
            f"{day.actuals_quarantined:,}",
        ]
        for day in volume
    ]
    actuals = report.inputs[1]
    columns = ["day", f"{name} accepted", "quarantined", f"{actuals} accepted", "quarantined"]
    total, broken = sum(d.accepted for d in held), sum(d.quarantined for d in held)
    note = f"{total + broken:,} rows came in, {broken:,} of them are in quarantine."
    return figure(f"Rows in: {name}", note, drawing, draw_key(list(amounts)), table(columns, rows))


def _show_predicted(volume: Sequence[DayVolume]) -> Markup | None:
    shown = [day for day in volume if day.predicted]
    if not shown:
        return None
    amounts = {
        "up to date": {d.date: float(d.predicted) for d in shown if not d.stale},
        "stale": {d.date: float(d.predicted) for d in shown if d.stale},
    }
    desc = "For each day, the predictions of production that readers see."
    drawing = draw_stack("Predictions out", desc, Stack(amounts))
    rows = [[str(d.date), f"{d.predicted:,}", "stale" if d.stale else ""] for d in shown]
    total = sum(day.predicted for day in shown)
    note = f"{total:,} predictions on {len(shown):,} days are what readers of production see."
    listed = table(["day", "predictions", "state"], rows)
    return figure("Predictions out", note, drawing, draw_key(list(amounts)), listed)


def _show_failures(facts: Operations) -> Markup:
    if not facts.failures:
        return nothing("Every run succeeded." if facts.runs else "There was no run.")
    rows = [
        [failure.step, failure.state, failure.reason, f"{failure.runs:,}", str(failure.last)]
        for failure in facts.failures
    ]
    bad = sum(failure.runs for failure in facts.failures)
    note = f"{bad:,} of {len(facts.runs):,} runs; the step is the first not measured to its end."
    listed = table(["step", "state", "reason", "runs", "last day"], rows, numbers=3)
    return join(tag("p", note, class_="note"), listed)


def _show_deadlines(facts: Operations) -> Markup:
    if not facts.schedule:
        return nothing("The model has no schedule.")
    said = f"Schedule: {facts.schedule}. "
    if not facts.deliveries:
        return nothing(f"{said}No night was delivered by it in these days.")
    late = [d for d in facts.deliveries if d.margin_s < 0]
    said += f"{len(facts.deliveries) - len(late):,} of {len(facts.deliveries):,} nights on time."
    points = [Point(d.date, d.margin_s / 3600) for d in facts.deliveries]
    drawing = draw_lines(
        "Hours before the deadline",
        "For each night, how long before its deadline it was delivered; below zero it was late.",
        [Line("hours before the deadline", points)],
        from_zero=True,
        level=0.0,
    )
    rows = [
        [str(d.date), f"{d.margin_s / 3600:.2f}", "on time" if d.margin_s >= 0 else "late"]
        for d in facts.deliveries
    ]
    listed = table(["day", "hours before", "state"], rows)
    return grid(figure("Hours before the deadline", said, drawing, None, listed))


def _show_cost(facts: Operations) -> Markup:
    if not facts.currency:
        return nothing("No prices are known: costs.toml cannot be read.")
    if not facts.costs:
        return nothing("Nothing was spent.")
    rows = [_cost_row(cost, cost.group.rpartition(" ")[2]) for cost in facts.costs]
    rows.append(_cost_row(facts.total, "all"))
    money = facts.currency
    columns = ["version", "runs", "predictions", "wall s", "CPU s", "GiB h", "MB in", "MB out"]
    columns += [money, f"{money} per M", "for nothing"]
    note = "At the prices of costs.toml. GiB h: peak memory x hours, an upper bound."
    return join(tag("p", note, class_="note"), table(columns, rows))


def _cost_row(cost: Cost, name: str) -> list[str]:
    by_million, wasted = cost.cost_per_million_rows, cost.share_for_nothing
    return [
        name,
        f"{cost.runs:,}",
        f"{cost.rows:,}",
        f"{cost.wall_s:,.1f}",
        f"{cost.cpu_s:,.1f}",
        f"{cost.gib_hours:,.4f}",
        f"{cost.bytes_in / 1e6:,.2f}",
        f"{cost.bytes_out / 1e6:,.2f}",
        f"{cost.cost:,.6f}",
        "-" if by_million is None else f"{by_million:,.4f}",
        "-" if wasted is None else f"{wasted:.1%}",
    ]
