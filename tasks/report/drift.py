"""Drift for a report: every window of a range against what the version learned from."""

import math
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import pairwise

from pilotline.registry import Registry
from pilotline.tasks.lab import Bundle, ModelSpec
from pilotline.tasks.monitor import calls_drift
from pilotline.tasks.report.plots.shapes import Shape
from pilotline.tasks.report.profiles import load_profiles
from pilotline.tasks.report.shapes import shape_numbers, shape_texts
from pilotline.tasks.stats import (
    Judgement,
    Numbers,
    Profile,
    Texts,
    decode_profile,
    judge_others,
    judge_window,
    merge_profiles,
)

FURTHEST = 12  # columns followed through all windows, besides those watched and predicted
MORE = 4  # columns shown besides those that are watched and predicted


@dataclass(frozen=True)
class DriftWindow:
    """One window of the range."""

    start: date
    end: date
    days: int  # with a profile
    rows: int
    judgements: list[Judgement]
    drifted: bool  # by the watched ones, as model.toml says


@dataclass(frozen=True)
class Distribution:
    """One column before and in the last window."""

    column: str
    role: str  # watched, feature or prediction
    shape: Shape
    missing: tuple[float, float]  # shares before and now


@dataclass(frozen=True)
class DriftFacts:
    """What became of the columns."""

    number: str = ""  # the version whose reference it is
    learned: tuple[date, date] | None = None
    window_days: int = 0
    persistence: int = 0
    windows: list[DriftWindow] = field(default_factory=list)
    distributions: list[Distribution] = field(default_factory=list)
    fired: bool = False  # the last windows in a row have drifted
    unread: int = 0  # days whose profile is missing or of another release
    problem: str = ""  # why nothing can be said


def gather_drift(registry: Registry, bundle: Bundle, start: date, end: date) -> DriftFacts:
    """Return the windows that end with ``end`` and lie in the range, oldest first; reads only.

    Days are read from their profiles and merged; no row is read again.
    """
    spec, drift = bundle.spec, bundle.spec.drift
    days = [date.fromisoformat(day) for day in bundle.json("data.json")["train"]["days"]]
    learned = (days[0], days[-1])
    try:
        reference = decode_profile(bundle.files["profile.json"])
    except ValueError as err:
        return DriftFacts(bundle.version.number, learned, problem=str(err))
    profiles, unread = load_profiles(registry, bundle, start, end)
    windows, problems = _judge_windows(
        spec, reference, profiles, _split(start, end, drift.window_days)
    )
    shapes: list[Distribution] = []
    if windows:
        last = windows[-1]
        current = merge_profiles(p for day, p in profiles.items() if last.start <= day <= last.end)
        assert current is not None
        shapes = _compare(spec, reference, current, last)
    return DriftFacts(
        bundle.version.number,
        learned,
        drift.window_days,
        drift.persistence,
        windows,
        shapes,
        fired=_fires(windows, drift.persistence, drift.window_days, end),
        unread=unread,
        problem="; ".join(problems[-1:]),
    )


def _judge_windows(
    spec: ModelSpec,
    reference: Profile,
    profiles: Mapping[date, Profile],
    spans: Sequence[Sequence[date]],
) -> tuple[list[DriftWindow], list[str]]:
    """Return the windows that hold something, and why others could not be judged.

    The last one says which columns the others are judged by: all those watched or predicted, and
    the furthest of the rest.
    """
    held = [span for span in spans if any(day in profiles for day in span)]
    if not held:
        return [], []

    def judge(span: Sequence[date], known: Profile = reference) -> DriftWindow | str:
        try:
            return _judge(spec, known, [profiles[d] for d in span if d in profiles], span)
        except ValueError as err:  # a column was retyped
            return f"{span[0]} to {span[-1]}: {err}"

    last = judge(held[-1])
    names = list(reference.columns)
    if isinstance(last, DriftWindow):
        kept = {*spec.drift.watch, *spec.predictions}
        furthest = [n for n in worst_by_column(last.judgements) if n not in kept]
        names = [n for n in names if n in kept or n in furthest[:FURTHEST]]
    known = reference.select(names)
    with ThreadPoolExecutor(
        max_workers=os.cpu_count()
    ) as pool:  # NumPy draws outside Python's lock
        found = [*pool.map(lambda span: judge(span, known), held[:-1]), last]
    windows = [window for window in found if isinstance(window, DriftWindow)]
    return windows, [problem for problem in found if isinstance(problem, str)]


def _judge(
    spec: ModelSpec, reference: Profile, profiles: Sequence[Profile], span: Sequence[date]
) -> DriftWindow:
    current = merge_profiles(profile.select(reference.columns) for profile in profiles)
    assert current is not None
    watched = judge_window(reference, current, spec.drift.watch)
    judged = [*watched, *judge_others(reference, current, spec.drift.watch)]
    drifted = calls_drift(watched, spec.drift.fires_when)
    return DriftWindow(span[0], span[-1], len(profiles), current.rows, judged, drifted)


def _split(start: date, end: date, length: int) -> list[list[date]]:
    """Return the days of each whole window, oldest first; what is left at the start is one too."""
    windows = []
    last = end
    while last >= start:
        first = max(start, last - timedelta(days=length - 1))
        windows.append([first + timedelta(days=n) for n in range((last - first).days + 1)])
        last = first - timedelta(days=1)
    return windows[::-1]


def _fires(windows: Sequence[DriftWindow], persistence: int, length: int, end: date) -> bool:
    """Tell whether the last windows until ``end`` drifted, none left out between them."""
    last = windows[-persistence:]
    in_a_row = all((b.end - a.end).days == length for a, b in pairwise(last))
    if len(last) < persistence or last[-1].end != end:
        return False
    return in_a_row and all(window.drifted for window in last)


def _compare(
    spec: ModelSpec, reference: Profile, current: Profile, window: DriftWindow
) -> list[Distribution]:
    roles = {
        **dict.fromkeys(spec.predictions, "prediction"),
        **dict.fromkeys(spec.drift.watch, "watched"),
    }
    others = [n for n in worst_by_column(window.judgements) if n not in roles][:MORE]
    found = []
    for name in [*roles, *others]:
        before, after = reference.columns.get(name), current.columns.get(name)
        if before is None or after is None or not (before.rows and after.rows):
            continue
        if isinstance(before, Numbers) and isinstance(after, Numbers):
            shape = shape_numbers(before, after)
        elif isinstance(before, Texts) and isinstance(after, Texts):
            shape = shape_texts(before, after)
        else:
            continue
        shares = [c.missing / (c.rows + c.missing) for c in (before, after)]
        role = roles.get(name, "feature")
        found.append(Distribution(name, role, shape, (shares[0], shares[1])))
    return found


def worst_by_column(judgements: Sequence[Judgement]) -> dict[str, Judgement]:
    """Return each column's judgement that is furthest of its threshold, the furthest first.

    Those that can be judged come before those of too few rows.
    """
    worst: dict[str, Judgement] = {}
    for judgement in sorted(judgements, key=_rank, reverse=True):
        worst.setdefault(judgement.column, judgement)
    return worst


def share_of(judgement: Judgement) -> float:
    """Return the distance as a share of its threshold; 1 or more is over it."""
    if not math.isfinite(judgement.value):
        return 0.0
    return judgement.value / judgement.threshold if judgement.threshold else 0.0


def _rank(judgement: Judgement) -> tuple[bool, float]:
    return judgement.verdict != "not enough rows", share_of(judgement)
