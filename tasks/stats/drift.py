"""How far a window has moved from the reference, and whether that can be judged at all."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pilotline.tasks.errors import LabError
from pilotline.tasks.stats.columns import Column, Numbers, Texts, to_buckets
from pilotline.tasks.stats.distances import OF_SHARES, wasserstein
from pilotline.tasks.stats.noise import (
    Noise,
    noise_of_share,
    noise_of_shares,
    noise_of_shift,
    noise_of_wasserstein,
)
from pilotline.tasks.stats.pairs import Pair, pair_numbers, pair_texts
from pilotline.tasks.stats.profiles import Profile

# Thresholds of what nobody watches: reported, and never a reason to act. The distances' are
# Evidently 0.7's and, for PSI, what Siddiqi (2006) calls a major shift; the two shares are ours.
DEFAULTS: Mapping[str, float] = {
    "jensen_shannon": 0.12,  # 0.1 by natural logarithms, as Evidently takes them
    "psi": 0.25,
    "wasserstein": 0.1,  # numbers only
    "missing": 0.05,  # change of the share of missing values
    "unseen": 0.05,  # share of rows of categories that the reference does not have
}
MEASURES = tuple(DEFAULTS)
WATCHED, BY_THE_DOZEN = 0.99, 0.9975  # quantiles without drift that must not reach the threshold


@dataclass(frozen=True)
class Judgement:
    """One distance of one column in one window."""

    column: str
    distance: str
    value: float
    threshold: float
    expected: float  # its mean without drift, at these numbers of rows
    noise: float  # its 99 % quantile without drift; of what is not watched, its 99.75 %
    rows: int  # of the window
    verdict: str  # drift, no drift or not enough rows
    reference_rows: int = 0
    effect: float = 0.0  # what of the value is more than expected without drift; at least 0
    watched: bool = True  # False: by default thresholds, reported only


@dataclass(frozen=True)
class _Sides:
    """One column in reference and window."""

    before: Column
    after: Column
    pair: Pair | None  # None where one side has no values

    @property
    def rows(self) -> tuple[int, int]:
        return self.before.rows, self.after.rows

    @property
    def all_rows(self) -> tuple[int, int]:
        return self.before.rows + self.before.missing, self.after.rows + self.after.missing


def judge_window(
    reference: Profile, current: Profile, watch: Mapping[str, Mapping[str, float]]
) -> list[Judgement]:
    """Return a judgement for every watched distance.

    A distance is judged only where at most 1 % of windows of these numbers of rows would reach its
    threshold without drift; otherwise the verdict is ``not enough rows``. A column that one of
    them lacks has no rows there.

    Raises:
        ValueError: a column was retyped.

    Source:
        docs/decisions/judging-drift.md.
    """
    return [
        judgement
        for column, distances in watch.items()
        for judgement in _judge(column, distances, reference, current, True)
    ]


def judge_others(
    reference: Profile, current: Profile, watch: Mapping[str, Mapping[str, float]]
) -> list[Judgement]:
    """Return a judgement, by default thresholds, for everything that is not watched.

    These are dozens, so each is judged only where at most one driftless window in 400 would reach
    its threshold.

    Raises:
        ValueError: a column was retyped.
    """
    found = []
    for column, known in reference.columns.items():
        distances = {
            name: DEFAULTS[name]
            for name in list_measures(known)
            if name not in watch.get(column, {})
        }
        found += _judge(column, distances, reference, current, False)
    return found


def list_measures(column: Column) -> Iterable[str]:
    """Return what can be measured of a column like this."""
    if isinstance(column, Numbers):
        return ("jensen_shannon", "psi", "wasserstein", "missing")
    # In buckets a new text cannot be told from a known one.
    shares = ("jensen_shannon", "psi", "missing")
    return shares if column.hashed else (*shares, "unseen")


def check_watch(model: str, reference: Profile, watch: Mapping[str, Mapping[str, float]]) -> None:
    """Do nothing if everything watched can be measured.

    Raises:
        LabError: it cannot.
    """
    for name, distances in watch.items():
        for distance in distances:
            possible = tuple(list_measures(reference.columns[name]))
            if distance not in possible:
                raise LabError(
                    f"lab/models/{model}/model.toml [drift] [watch]",
                    f"{distance!r} cannot be measured of {name!r}",
                    f"Possible: {', '.join(possible)}.",
                )


def _judge(
    name: str,
    thresholds: Mapping[str, float],
    reference: Profile,
    current: Profile,
    watched: bool,
) -> list[Judgement]:
    before, after = reference.columns.get(name), current.columns.get(name)
    sides = _bring_together(name, before, after)
    measured = _measure(sides, list(thresholds), WATCHED if watched else BY_THE_DOZEN)
    return [
        _conclude(name, distance, thresholds[distance], found, sides, watched)
        for distance, found in measured.items()
    ]


def _bring_together(name: str, before: Column | None, after: Column | None) -> _Sides:
    before, after = before or _empty_like(after), after or _empty_like(before)
    # A column without any value may have lost its type on the way.
    if before.rows == 0 or after.rows == 0:
        return _Sides(before, after, None)
    if isinstance(before, Numbers) and isinstance(after, Numbers):
        return _Sides(before, after, pair_numbers(before, after))
    if isinstance(before, Texts) and isinstance(after, Texts):
        return _Sides(before, after, pair_texts(before, after))
    raise ValueError(
        f"Column {name!r}: expected one type in reference and window, got numbers and texts. "
        "The column was retyped: train a new version."
    )


def _empty_like(column: Column | None) -> Column:
    return Texts(0, False, {}) if isinstance(column, Texts) else Numbers()


def _measure(
    sides: _Sides, distances: list[str], quantile: float
) -> dict[str, tuple[float, Noise] | None]:
    """Return each distance and its noise; None where one side has no rows to measure."""
    found: dict[str, tuple[float, Noise] | None] = dict.fromkeys(distances)
    unordered = [name for name in distances if name in OF_SHARES]
    if sides.pair is not None and unordered:
        one, two = sides.pair.grouped().shares()
        calls = [OF_SHARES[name] for name in unordered]
        noises = noise_of_shares(calls, one, sides.rows, quantile)
        for name, call, noise in zip(unordered, calls, noises, strict=True):
            found[name] = (float(call(one, two)), noise)
    if sides.pair is not None and sides.pair.places is not None and "wasserstein" in found:
        one, two = sides.pair.shares()
        value = wasserstein(one, two, sides.pair.places)
        noise = noise_of_wasserstein(one, sides.pair.places, sides.rows, quantile)
        found["wasserstein"] = (value, noise)
    if "missing" in found and min(sides.all_rows) > 0:
        found["missing"] = _measure_missing(sides, quantile)
    if "unseen" in found and sides.pair is not None and "unseen" in list_measures(sides.before):
        found["unseen"] = _measure_unseen(sides, quantile)
    return found


def _measure_missing(sides: _Sides, quantile: float) -> tuple[float, Noise]:
    """Return by how much the share of missing values has changed.

    Source:
        The share without drift is (missing + 1) / (rows + 2), Laplace's rule of succession: none
        missing among few does not prove that none ever is.
    """
    rows = sides.all_rows
    value = abs(sides.after.missing / rows[1] - sides.before.missing / rows[0])
    return value, noise_of_shift((sides.before.missing + 1) / (rows[0] + 2), rows, quantile)


def _measure_unseen(sides: _Sides, quantile: float) -> tuple[float, Noise]:
    """Return the share of rows whose category the reference does not have.

    Source:
        Without drift it is about the share of reference rows whose category came once: Good
        (1953), Biometrika 40; one more, because none among few does not prove that there is none.
    """
    assert isinstance(sides.before, Texts), "list_measures says so"
    assert isinstance(sides.after, Texts), "both sides are of one type"
    known = sides.before.counts
    once = sum(count == 1 for count in known.values())
    if sides.after.hashed:  # far more categories than before; those in new buckets are new
        known = to_buckets(known)
    seen = sum(count for text, count in sides.after.counts.items() if text in known)
    value = 1 - seen / sides.after.rows
    share = min(1.0, (once + 1) / (sides.before.rows + 1))
    return value, noise_of_share(share, sides.after.rows, quantile)


def _conclude(
    column: str,
    distance: str,
    threshold: float,
    found: tuple[float, Noise] | None,
    sides: _Sides,
    watched: bool,
) -> Judgement:
    before, after = sides.all_rows if distance == "missing" else sides.rows
    value, noise = found or (0.0, Noise(0.0, 0.0))
    if found is None or noise.limit > threshold:
        verdict = "not enough rows"
    else:
        verdict = "drift" if value >= threshold else "no drift"
    return Judgement(
        column=column,
        distance=distance,
        value=value,
        threshold=threshold,
        expected=noise.expected,
        noise=noise.limit,
        rows=after,
        verdict=verdict,
        reference_rows=before,
        effect=max(0.0, value - noise.expected),
        watched=watched,
    )
