"""The second part of a report's page: how good the predictions were, and what has drifted."""

from collections.abc import Sequence

from pilotline.tasks.report.drift import (
    FURTHEST,
    Distribution,
    DriftFacts,
    DriftWindow,
    share_of,
    worst_by_column,
)
from pilotline.tasks.report.facts import Report
from pilotline.tasks.report.pages.pieces import badge, figure, grid, nothing
from pilotline.tasks.report.plots.heat import Cell, draw_heat
from pilotline.tasks.report.plots.markup import Markup, join, table, tag
from pilotline.tasks.report.plots.series import Line, Point, draw_key, draw_lines
from pilotline.tasks.report.plots.shapes import draw_shape
from pilotline.tasks.report.science import COVERAGE, Series, VersionFacts, Versus
from pilotline.tasks.stats import HIGHER_IS_BETTER

STATES = {"drift": "over", "no drift": "under", "not enough rows": "unsure"}


def show_science(report: Report) -> Markup:
    """Return the part as a section."""
    return tag(
        "section",
        tag("h2", "Science"),
        tag("h3", "Versions"),
        _show_versions(report.versions),
        tag("h3", "Performance"),
        _show_performance(report),
        tag("h3", "Champion against challenger"),
        _show_versus(report.versus),
        tag("h3", "Drift"),
        _show_drift(report.drift),
        id="science",
    )


def _show_versions(versions: Sequence[VersionFacts]) -> Markup:
    if not versions:
        return nothing("No version is registered.")
    names = list(dict.fromkeys(name for version in versions for name in version.evaluation))
    rows = [
        [
            v.number,
            join(v.status, *(badge(alias, "plain") for alias in v.aliases)),
            v.recorded_at[:10],
            *(f"{v.evaluation[name]:.4f}" if name in v.evaluation else "-" for name in names),
        ]
        for v in versions
    ]
    note = "Metrics on the held-out days, as evaluated at training."
    listed = table(["version", "status", "registered", *names], rows, numbers=3)
    return join(tag("p", note, class_="note"), listed)


def _show_performance(report: Report) -> Markup:
    metrics = list(dict.fromkeys(series.metric for series in report.series))
    if not metrics:
        return nothing("No outcome is known yet for the predictions of these days.")
    ordered = [name for name in metrics if name != COVERAGE]
    if COVERAGE in metrics:
        ordered.append(COVERAGE)
    plots = (_show_metric(name, report) for name in ordered)
    note = "Realized, once the outcomes were known; bands are 95 % intervals."
    return join(tag("p", note, class_="note"), grid(*plots))


def _show_metric(name: str, report: Report) -> Markup:
    found = [series for series in report.series if series.metric == name]
    lines = [Line(s.name, [Point(d.date, d.value, d.low, d.high) for d in s.days]) for s in found]
    level = report.minimum.get(name)
    title, note = _name_metric(name)
    desc = f"{title} by day, for {', '.join(line.name for line in lines)}."
    drawing = draw_lines(title, desc, lines, from_zero=name == COVERAGE, level=level)
    asked = "" if level is None else f"{level:g} is asked for at training"
    key = draw_key([line.name for line in lines], asked)
    return figure(title, note, drawing, key, _list_series(found))


def _name_metric(name: str) -> tuple[str, str]:
    if name == COVERAGE:
        return "Coverage of actuals", "Share of predictions whose outcome is known."
    if name not in HIGHER_IS_BETTER:
        return name, "The model's own metric."
    return name, "Higher is better." if HIGHER_IS_BETTER[name] else "Lower is better."


def _list_series(found: Sequence[Series]) -> Markup:
    rows = [
        [
            str(day.date),
            series.name,
            f"{day.value:.4f}",
            "-" if day.low is None else f"{day.low:.4f}",
            "-" if day.high is None else f"{day.high:.4f}",
            f"{day.rows:,}",
        ]
        for series in found
        for day in series.days
    ]
    return table(["day", "version", "value", "low", "high", "outcomes"], rows, numbers=2)


def _show_versus(versus: Sequence[Versus]) -> Markup:
    if not versus:
        return nothing("No challenger was compared with the champion in these days.")
    return join(*(_show_verdict(found) for found in versus))


def _show_verdict(found: Versus) -> Markup:
    kinds = {"better": "good", "worse": "bad"}
    rows = [
        [
            gap.metric,
            f"{gap.difference:+.4f}",
            "-" if gap.low is None else f"{gap.low:+.4f}",
            "-" if gap.high is None else f"{gap.high:+.4f}",
            gap.verdict,
        ]
        for gap in found.gaps
    ]
    said = tag("p", badge(found.verdict, kinds.get(found.verdict, "plain")), f" {found.sentence}.")
    listed = table(["metric", "difference", "low", "high", "verdict"], rows)
    return tag("div", said, listed, class_="card")


def _show_drift(drift: DriftFacts) -> Markup:
    if not drift.windows:
        why = drift.problem or "No day in this range was scored by a version with a profile."
        return nothing(why)
    first, last = drift.learned or ("?", "?")
    note = (
        f"Windows of {drift.window_days} days against what {drift.number} learned, {first} to "
        f"{last}. A number is the column's furthest distance as a share of its threshold; 1 is the "
        "threshold. Below are the windows' last days. Grey: too few rows to judge. "
        f"Besides what is watched or predicted, the up to {FURTHEST} furthest of the last window."
    )
    heat = figure("Drift by column and window", note, _draw_heat(drift), None, _list(drift), True)
    window = drift.windows[-1]
    ends = f"{window.start} to {window.end}"
    shapes = (_show_shape(each, drift.number, ends) for each in drift.distributions)
    heading = tag("h3", f"Distributions: learned from, and {ends}")
    return join(heat, heading, grid(*shapes))


def _draw_heat(drift: DriftFacts) -> Markup:
    watched = [j.column for j in drift.windows[-1].judgements if j.watched]
    # Of a wide model the last window has all columns, the others those that are followed.
    followed = {j.column for j in drift.windows[0].judgements}
    every = [j for window in drift.windows for j in window.judgements]
    worst = [name for name in worst_by_column(every) if name in followed]
    columns = list(dict.fromkeys([*watched, *worst]))
    cells = [[_cell(window, column) for window in drift.windows] for column in columns]
    names = [f"{c} (watched)" if c in watched and len(c) < 11 else c for c in columns]
    ends = [_name_window(window, drift.window_days) for window in drift.windows]
    over = sum(cell.state == "over" for row in cells for cell in row)
    desc = f"{len(columns)} columns by {len(ends)} windows; {over} fields are over a threshold."
    return draw_heat("Drift by column and window", desc, names, ends, cells)


def _name_window(window: DriftWindow, length: int) -> tuple[str, str]:
    return f"{window.end:%-d %b}", "" if window.days == length else f"{window.days} of {length} d"


def _cell(window: DriftWindow, column: str) -> Cell:
    own = [j for j in window.judgements if j.column == column]
    # What is watched decides; the others are dozens, by thresholds that nobody chose.
    worst = worst_by_column([j for j in own if j.watched] or own).get(column)
    if worst is None:
        return Cell(None, "unsure", f"{column}, {window.start} to {window.end}: not measured")
    said = (
        f"{column}, {window.start} to {window.end}: {worst.distance} {worst.value:.4f}, threshold "
        f"{worst.threshold:g}, {worst.rows:,} rows: {worst.verdict}"
    )
    return Cell(share_of(worst), STATES[worst.verdict], said)


def _list(drift: DriftFacts) -> Markup:
    rows = [
        [
            f"{window.start} to {window.end}",
            judgement.column,
            judgement.distance,
            "watched" if judgement.watched else "",
            f"{judgement.value:.4f}",
            f"{judgement.threshold:g}",
            f"{judgement.expected:.4f}",
            f"{judgement.rows:,}",
            judgement.verdict,
        ]
        for window in reversed(drift.windows)
        for judgement in window.judgements
    ]
    columns = ["window", "column", "distance", "", "value", "threshold", "without drift", "rows"]
    return table([*columns, "verdict"], rows, numbers=4)


def _show_shape(found: Distribution, number: str, ends: str) -> Markup:
    title = f"{found.column} ({found.role})"
    before, after = found.missing
    note = f"Missing: {before:.1%} before, {after:.1%} now. " if before or after else ""
    if found.shape.others:
        single = len(found.shape.labels) - 1
        note += f"The {single} categories that moved most, of {single + found.shape.others:,}."
    desc = f"Shares of rows of {found.column}: what {number} learned from, and {ends}."
    drawing = draw_shape(f"Distribution of {found.column}", desc, found.shape)
    rows = [
        [label, f"{one:.2%}", f"{two:.2%}"]
        for label, one, two in zip(
            found.shape.labels, found.shape.before, found.shape.after, strict=True
        )
    ]
    key = tag(
        "ul",
        tag("li", tag("i", class_="before"), "learned from"),
        tag("li", tag("i", class_="s1"), "last window"),
        class_="key",
    )
    listed = table(["from" if found.shape.ordered else "category", "before", "now"], rows)
    return figure(title, note, drawing, key, listed)
