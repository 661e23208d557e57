"""Champion against challenger: verdicts, intervals and the rows that would tell."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import numpy as np
import pytest
from scipy.stats import ttest_ind, ttest_rel
from sklearn.metrics import roc_auc_score

from pilotline.registry import Registry
from pilotline.registry.record.events import list_events
from pilotline.registry.record.metrics import list_metrics
from pilotline.registry.record.versions import get_version
from pilotline.registry.runs.shown import shown_variants
from pilotline.tasks.errors import ShardError
from pilotline.tasks.home import Home
from pilotline.tasks.lab.bundle import load_bundle, load_champion
from pilotline.tasks.lab.datasets import load_dataset
from pilotline.tasks.lab.policy import ScoringRules
from pilotline.tasks.monitor.versus import (
    COMPARED,
    Comparison,
    Difference,
    compare_challengers,
    compare_outcomes,
)
from pilotline.tasks.sandbox.walls import Tier
from pilotline.tasks.score.days import score_days
from pilotline.tasks.score.job import Job, plan_job
from pilotline.tasks.score.shards.cuts import Part, PartDone
from pilotline.tasks.score.shards.part import score_part
from pilotline.tasks.stats.metrics import Outcomes
from tests.support.tasks.truth import DAY, Truth
from tests.tasks.conftest import copy_home, train

RANDOM = np.random.default_rng(11)
TRUTH = RANDOM.normal(size=400)
OURS = TRUTH + RANDOM.normal(size=400)
SAME_ERROR = RANDOM.normal(size=400)


def numbers(said: np.ndarray[tuple[int], np.dtype[np.float64]], truth: object = None) -> Outcomes:
    """Return predictions beside the invented truth."""
    return Outcomes("regression", TRUTH if truth is None else np.asarray(truth), said)


def test_a_paired_difference_is_that_of_a_paired_test() -> None:
    theirs = TRUTH + 0.9 * (OURS - TRUTH) + 0.1 * SAME_ERROR
    (found,) = compare_outcomes(["mae"], numbers(OURS), numbers(theirs), paired=True)
    gaps = np.abs(theirs - TRUTH) - np.abs(OURS - TRUTH)
    assert found.difference == pytest.approx(gaps.mean())
    # Half an interval of 95 % over the normal's quantile is the standard error of scipy's t.
    error = found.difference / ttest_rel(np.abs(theirs - TRUTH), np.abs(OURS - TRUTH)).statistic
    assert found.high is not None
    assert (found.high - found.difference) / 1.959964 == pytest.approx(error, rel=1e-6)


def test_without_pairs_both_errors_count() -> None:
    one, two = numbers(OURS[:200], TRUTH[:200]), numbers(OURS[200:], TRUTH[200:])
    (found,) = compare_outcomes(["mae"], one, two, paired=False)
    losses = [np.abs(each.predicted - each.happened) for each in (two, one)]
    error = found.difference / ttest_ind(*losses, equal_var=False).statistic
    assert found.high is not None
    assert (found.high - found.difference) / 1.959964 == pytest.approx(error, rel=1e-6)


def test_a_smaller_error_is_better_and_a_larger_one_worse() -> None:
    half = TRUTH + 0.5 * (OURS - TRUTH)
    (better,) = compare_outcomes(["mae"], numbers(OURS), numbers(half), paired=True)
    (worse,) = compare_outcomes(["mae"], numbers(half), numbers(OURS), paired=True)
    assert (better.verdict, worse.verdict) == ("better", "worse")
    assert (better.more_rows, worse.more_rows) == (0, 0)


def test_a_better_ranking_is_better() -> None:
    happened = (TRUTH > 0).astype(float)
    blurred, sharp = TRUTH + 2 * SAME_ERROR, TRUTH + 0.5 * SAME_ERROR
    ours, theirs = (Outcomes("binary", happened, 1 / (1 + np.exp(-x))) for x in (blurred, sharp))
    (found,) = compare_outcomes(["roc_auc"], ours, theirs, paired=True)
    assert found.verdict == "better"
    gap = roc_auc_score(happened, sharp) - roc_auc_score(happened, blurred)
    assert found.difference == pytest.approx(gap)


def test_the_rows_that_would_tell_do_tell_four_times_in_five() -> None:
    # Losses that differ by 0.1 with deviation 1: 785 rows at 80 % power, (1.95996 + 0.84162)^2 100.
    random = np.random.default_rng(5)
    gap = random.normal(size=100)
    gap = 0.1 + (gap - gap.mean()) / gap.std(ddof=1)
    base = np.full(100, 10.0)
    ours, theirs = (Outcomes("regression", np.zeros(100), x) for x in (base, base + gap))
    (found,) = compare_outcomes(["mae"], ours, theirs, paired=True)
    assert found.verdict == "not yet known"
    assert found.more_rows == 785 - 100


def test_one_that_says_the_same_is_never_known_to_differ() -> None:
    (found,) = compare_outcomes(["mae"], numbers(OURS), numbers(OURS), paired=True)
    assert (found.verdict, found.more_rows) == ("not yet known", None)


def test_few_rows_tell_nothing_yet() -> None:
    one = Outcomes("regression", TRUTH[:20], OURS[:20])
    two = Outcomes("regression", TRUTH[:20], TRUTH[:20])
    (found,) = compare_outcomes(["mae"], one, two, paired=True)
    assert (found.verdict, found.low, found.more_rows) == ("not yet known", None, 10)


def test_false_verdicts_are_as_rare_as_promised() -> None:
    random, called = np.random.default_rng(2), 0
    for _ in range(400):
        truth = random.normal(size=200)
        ours, theirs = (
            Outcomes("regression", truth, truth + random.normal(size=200)) for _ in range(2)
        )
        (found,) = compare_outcomes(["rmse"], ours, theirs, paired=True)
        called += found.verdict != "not yet known"
    # Of 400 at 5 %: at most 34 in all but one of a thousand (binomial).
    assert called <= 34


@pytest.mark.parametrize(
    ("difference", "words"),
    [
        (
            Difference("roc_auc", 0.6, 0.65, 0.05, 0.02, 0.08, "better", 0),
            "2.0.0 against champion 1.0.0 on the same 8,412 rows: better by roc_auc, +0.0500 "
            "(+0.0200 to +0.0800)",
        ),
        (
            Difference("roc_auc", 0.6, 0.61, 0.01, -0.02, 0.04, "not yet known", 12300),
            "2.0.0 against champion 1.0.0 on the same 8,412 rows: not yet known by roc_auc, "
            "+0.0100 (-0.0200 to +0.0400); about 12,300 more rows would tell, if it stays as it "
            "looks",
        ),
        (
            Difference("roc_auc", 0.6, 0.6, 0.0, 0.0, 0.0, "not yet known", None),
            "2.0.0 against champion 1.0.0 on the same 8,412 rows: not yet known by roc_auc, "
            "+0.0000 (+0.0000 to +0.0000); they do not differ, so no number of rows would tell",
        ),
    ],
)
def test_a_verdict_is_told_in_words(difference: Difference, words: str) -> None:
    day = date(2013, 7, 21)
    found = Comparison("1.0.0", "2.0.0", "shadow/2.0.0", True, day, day, 8412, [difference])
    assert found.sentence() == words


class OneByOne:
    """Scores the parts of a split one after another."""

    rules = ScoringRules()

    def __init__(self, home: Home, registry: Registry) -> None:
        self._home, self._registry = home, registry

    def score(self, run_id: str, parts: Sequence[Part]) -> list[PartDone | ShardError]:
        """Return what became of each part."""
        return [
            score_part(self._registry, self._home, run_id, index, part)
            for index, part in enumerate(parts)
        ]


@pytest.fixture(scope="module")
def rivals(
    scored: Home, tmp_path_factory: pytest.TempPathFactory, tier: Tier
) -> Iterator[tuple[Registry, Home, Job]]:
    """Return a home whose 2.0.0 scored three days as a shadow, and half of the next three."""
    home = copy_home(scored, tmp_path_factory.mktemp("rivals") / "copy")
    number = train(home, tier, DAY - timedelta(days=3)).number
    with home.open_registry() as registry:
        with registry.read() as session:
            rival = load_bundle(registry, get_version(session, "flight-delay", number))
        job = plan_job(load_champion(registry, "flight-delay"), "production", "score")
        shadow = plan_job(rival, f"shadow/{number}", "score")
        split = replace(job, challenger=rival, share=Decimal("0.5"), reason="a trial")
        crew = OneByOne(home, registry)
        for one, first in ((shadow, 0), (split, 3)):
            days = [DAY + timedelta(days=first + n) for n in range(3)]
            done = score_days(registry, home, tier, one, days, print, crew)
            assert [day.state for day in done] == ["succeeded"] * 3
        yield registry, home, job


def compare(rivals: tuple[Registry, Home, Job]) -> list[Comparison]:
    """Return what is known of the challenger on the sixth day."""
    registry, home, job = rivals
    with registry.read() as session:
        variants = shown_variants(session, job.bundle.version.model_id)
    arrivals = load_dataset(home.lab, "arrivals")
    day = DAY + timedelta(days=5)
    return compare_challengers(registry, home, job, arrivals, variants, day)


def test_a_shadow_is_compared_on_the_same_keys_and_a_split_on_the_same_days(
    rivals: tuple[Registry, Home, Job],
) -> None:
    registry, home, job = rivals
    shadow, split = compare(rivals)
    assert (shadow.challenger, shadow.variant, shadow.paired) == ("2.0.0", "shadow/2.0.0", True)
    assert (shadow.start, shadow.end, shadow.rows) == (DAY, DAY + timedelta(days=2), 3 * 95)
    assert (split.challenger, split.variant, split.paired) == ("2.0.0", "production", False)
    assert (split.start, split.rows) == (DAY + timedelta(days=3), 3 * 95)
    truth = Truth(home, registry, job, load_dataset(home.lab, "arrivals"))
    late, areas = {}, []
    with closing(sqlite3.connect(home.root / "online.db")) as database:
        for *key, delay in database.execute("select * from arrivals"):
            late[tuple(key)] = delay >= 15
    names = ("flight_date", "carrier", "flight", "origin")
    for variant in ("production", "shadow/2.0.0"):
        rows = [
            (late[key], row["probability"])
            for n in range(3)
            for row in truth.predicted(DAY + timedelta(days=n), variant)
            if (key := tuple(str(v) if v == row["flight_date"] else v for v in map(row.get, names)))
            in late
        ]
        areas.append(roc_auc_score(*zip(*rows, strict=True)))
    first = shadow.differences[0]
    assert first.metric == "roc_auc"
    assert [first.champion, first.challenger] == pytest.approx(areas)


def test_a_comparison_is_kept_with_its_interval_and_told_once(
    rivals: tuple[Registry, Home, Job],
) -> None:
    registry, _, job = rivals
    found = compare(rivals)
    assert not any(one.new for one in compare(rivals))
    with registry.read() as session:
        rival = get_version(session, "flight-delay", "2.0.0")
        kept = list_metrics(session, rival, "versus")
        events = list_events(session, job.bundle.version.model_id, COMPARED)
    shown = {(metric.variant, metric.name): metric for metric in kept}
    for one in found:
        for difference in one.differences:
            metric = shown[one.variant, difference.metric]
            assert (metric.value, metric.low) == (difference.difference, difference.low)
    told = [(event.facts()["variant"], event.facts()["verdict"]) for event in events]
    assert told == [(one.variant, one.verdict) for one in found]
