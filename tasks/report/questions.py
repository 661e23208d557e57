"""Open questions about a model: what somebody should look at, who that is, and what to type."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from pilotline.tasks.monitor import BETTER, UNKNOWN, Stale
from pilotline.tasks.report.drift import DriftFacts, share_of, worst_by_column
from pilotline.tasks.report.operations import DIED, Operations, RunFacts, first_line
from pilotline.tasks.report.science import Versus
from pilotline.tasks.report.volume import DayVolume

ALERT, NOTICE = "alert", "notice"


@dataclass(frozen=True)
class Question:
    """One thing that is open."""

    level: str  # alert: something is wrong; notice: somebody is to decide
    title: str
    said: str
    owner: str
    command: str  # empty where there is nothing to type


@dataclass(frozen=True)
class Waits:
    """A version that waits for a decision."""

    number: str
    gate: str
    approvers: tuple[str, ...]  # who may decide


@dataclass(frozen=True)
class Missed:
    """Metrics of a day that could not be had."""

    number: str
    date: str
    missing: dict[str, str]  # metric -> why


@dataclass(frozen=True)
class Asked:
    """What open questions are looked for in."""

    model: str
    owner: str
    champion: str  # empty where there is none
    datasets: tuple[str, str]  # what it reads, and what brings its actuals
    end: date
    operations: Operations
    drift: DriftFacts
    versus: Sequence[Versus]
    stale: Sequence[Stale]
    waiting: Sequence[Waits]
    missed: Sequence[Missed]
    learned: frozenset[date]  # days the version learned from: nobody scores them


def list_questions(asked: Asked) -> list[Question]:
    """Return what is open, alerts first."""
    found = [
        *_about_champion(asked),
        *_about_runs(asked),
        *_about_drift(asked),
        *_about_staleness(asked),
        *_about_rows(asked),
        *_about_deliveries(asked),
        *_about_metrics(asked),
        *_about_decisions(asked),
        *_about_challengers(asked),
    ]
    return sorted(found, key=lambda question: question.level != ALERT)


def _about_champion(asked: Asked) -> Iterable[Question]:
    if not asked.champion:
        said = "No version may score in production, so nothing is scored, watched or delivered."
        yield _ask(asked, ALERT, "No champion", said, f"pilotline show {asked.model}")


def _about_runs(asked: Asked) -> Iterable[Question]:
    last: dict[tuple[str, date], RunFacts] = {}
    for run in asked.operations.runs:  # in the order they began
        last[run.variant, run.date] = run
    bad = [run for run in last.values() if run.state in ("failed", "crashed", DIED)]
    if not bad:
        return
    newest = max(bad, key=lambda run: run.started_at)
    said = f"{_list_days(run.date for run in bad)}. The last one, {newest.date} {newest.variant}, "
    said += f"{newest.state}: {first_line(newest.reason)}"
    command = f"pilotline backfill {asked.model} {_span(r.date for r in bad)} --using champion"
    if newest.variant.startswith("shadow/"):
        shadow = newest.variant.removeprefix("shadow/")
        command = f"pilotline score {asked.model} --date {newest.date} --shadow {shadow}"
    count = "1 day's last run" if len(bad) == 1 else f"The last runs of {len(bad):,} days"
    yield _ask(asked, ALERT, f"{count} did not succeed", said, command)


def _about_drift(asked: Asked) -> Iterable[Question]:
    drift = asked.drift
    if drift.problem:
        yield _ask(asked, ALERT, "Drift cannot be judged", drift.problem, "")
    if drift.unread:
        said = f"{drift.unread:,} scored days have no profile that this release can read."
        yield _ask(asked, NOTICE, "Days left out of the drift watch", said, "")
    if not drift.windows:
        return
    window = drift.windows[-1]
    watched = [j for j in window.judgements if j.watched]
    if drift.fired:
        worst = next(iter(worst_by_column([j for j in watched if j.verdict == "drift"]).values()))
        said = (
            f"{drift.persistence} windows in a row moved away from what {drift.number} learned; "
            f"furthest is {worst.column} by {worst.distance}: {worst.value:.4f}, "
            f"{share_of(worst):.1f} times its threshold."
        )
        command = f"pilotline train {asked.model} --until {window.end}"
        if asked.waiting:  # somebody retrained: whether it helps comes first
            newest = asked.waiting[-1].number
            said += f" Version {newest} waits for a decision already."
            command = f"pilotline diff {asked.model} {drift.number} {newest}"
        yield _ask(asked, ALERT, "Drift persists", said, command)
    elif window.drifted:
        said = f"The last window, {window.start} to {window.end}, moved; the one before did not."
        command = f"pilotline monitor {asked.model} --date {window.end}"
        yield _ask(asked, NOTICE, "Drift in one window", said, command)
    if watched and all(j.verdict == "not enough rows" for j in watched):
        said = f"With {window.rows:,} rows in the last window nothing watched can be judged."
        yield _ask(asked, NOTICE, "Too few rows to judge drift", said, "")


def _about_staleness(asked: Asked) -> Iterable[Question]:
    commands = {
        "no score": f"pilotline score {asked.model} --date {asked.end}",
        "no actuals": f"pilotline ingest {asked.datasets[1]} --new --end {asked.end}",
        "data late": f"pilotline ingest {asked.datasets[0]} --new --end {asked.end}",
        "version old": f"pilotline train {asked.model}",
    }
    for one in asked.stale:
        title = f"{one.kind.capitalize()}"
        said = one.said.removeprefix(f"{one.kind}: ")
        yield _ask(asked, ALERT, title, f"{said[0].upper()}{said[1:]}.", commands[one.kind])


def _about_rows(asked: Asked) -> Iterable[Question]:
    volume = asked.operations.volume
    stale = [day.date for day in volume if day.stale]
    if stale:
        said = f"{_list_days(stale)}: the rows changed after they were predicted."
        command = f"pilotline backfill {asked.model} {_span(stale)} --using champion"
        yield _ask(asked, ALERT, f"{_days(stale)} with stale predictions", said, command)
    open_days = list_unscored(volume, asked.learned)
    if open_days and asked.champion:
        said = f"{_list_days(open_days)}: ingested between scored days, and never scored."
        command = f"pilotline backfill {asked.model} {_span(open_days)} --using champion --plan"
        yield _ask(asked, NOTICE, f"{_days(open_days)} not scored", said, command)
    for dataset, broken in (
        (asked.datasets[0], [(d.date, d.quarantined) for d in volume if d.quarantined]),
        (asked.datasets[1], [(d.date, d.actuals_quarantined) for d in volume]),
    ):
        rows = sum(count for _, count in broken)
        if rows:
            day = max(broken, key=lambda item: item[1])[0]
            said = f"{_list_days(d for d, n in broken if n)}; most of them on {day}."
            command = f"pilotline quarantine {dataset} --date {day}"
            title = f"{rows:,} rows of {dataset} in quarantine"
            yield _ask(asked, NOTICE, title, said, command)


def list_unscored(volume: Sequence[DayVolume], learned: frozenset[date]) -> list[date]:
    """Return ingested days after the first predicted one that readers see no predictions of."""
    first = next((day.date for day in volume if day.predicted), None)
    return [
        day.date
        for day in volume
        if first is not None
        and day.date > first
        and day.accepted
        and not day.predicted
        and day.date not in learned
    ]


def _about_deliveries(asked: Asked) -> Iterable[Question]:
    late = [d for d in asked.operations.deliveries if d.margin_s < 0]
    if late:
        worst = min(late, key=lambda d: d.margin_s)
        said = f"{_list_days(d.date for d in late)}; worst {worst.date}, "
        said += f"{-worst.margin_s / 60:,.0f} minutes late."
        title = f"{len(late):,} of {len(asked.operations.deliveries):,} nights delivered late"
        yield _ask(asked, ALERT, title, said, "pilotline status")


def _about_metrics(asked: Asked) -> Iterable[Question]:
    if asked.missed:
        last = asked.missed[-1]
        what = "; ".join(f"{name}: {why}" for name, why in last.missing.items())
        said = f"Most recently {last.date}, version {last.number}. {what}"
        command = f"pilotline monitor {asked.model} --date {last.date}"
        title = f"Metrics missing on {len(asked.missed):,} occasions"
        yield _ask(asked, ALERT, title, said, command)


def _about_decisions(asked: Asked) -> Iterable[Question]:
    for waits in asked.waiting:
        who = waits.approvers[0] if len(waits.approvers) == 1 else "NAME"
        command = f"pilotline approve {asked.model} {waits.number} --gate {waits.gate} "
        command += f'--by {who} --comment "..."'
        said = f"Version {waits.number} waits at the gate {waits.gate!r}"
        said += f" for {' or '.join(waits.approvers)}." if waits.approvers else "."
        yield _ask(asked, NOTICE, "A decision is awaited", said, command)


def _about_challengers(asked: Asked) -> Iterable[Question]:
    for found in asked.versus:
        titles = {BETTER: "is better", UNKNOWN: "is not yet known to be better or worse"}
        if found.verdict not in titles or found.champion != asked.champion:
            continue
        title = f"Challenger {found.challenger} {titles[found.verdict]}"
        command = f"pilotline diff {asked.model} {found.champion} {found.challenger}"
        if found.verdict == UNKNOWN and found.variant.startswith("shadow/"):
            after = found.end + timedelta(days=1)
            command = f"pilotline score {asked.model} --date {after} --shadow {found.challenger}"
        yield _ask(asked, NOTICE, title, f"{found.sentence}.", command)


def _ask(asked: Asked, level: str, title: str, said: str, command: str) -> Question:
    return Question(level, title, said, asked.owner, command)


def _days(days: Sequence[date]) -> str:
    return "1 day" if len(days) == 1 else f"{len(days):,} days"


def _span(days: Iterable[date]) -> str:
    listed = sorted(days)
    return f"--start {listed[0]} --end {listed[-1]}"


def _list_days(days: Iterable[date]) -> str:
    """Return days as ranges, the last of them where there are many."""
    ranges: list[list[date]] = []
    for day in sorted(set(days)):
        if ranges and (day - ranges[-1][-1]).days == 1:
            ranges[-1].append(day)
        else:
            ranges.append([day])
    words = [str(r[0]) if len(r) == 1 else f"{r[0]} to {r[-1]}" for r in ranges]
    if len(words) <= 4:
        return ", ".join(words)
    return f"{len(ranges):,} times from {ranges[0][0]}, the last {words[-1]}"
