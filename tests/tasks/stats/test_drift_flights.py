"""Drift on the flights of 2013: false alarms within January, scores beside Evidently's."""

import os
from pathlib import Path

import numpy as np
import pytest

from benchmarks.bench_drift import compare_scores, write_month
from benchmarks.flights import load_month
from benchmarks.rivals import EVIDENTLY, ask, make_environment
from pilotline.tasks.stats.drift import judge_others
from pilotline.tasks.stats.profiles import profile_rows

SPLITS = 200


def test_january_split_at_random_is_at_most_one_time_in_a_hundred_called_drift() -> None:
    """Any alarm counts, of any measure of any of the 16 columns, by default thresholds."""
    random = np.random.default_rng(2013)
    january = load_month(1)
    alarmed, judged = 0, 0
    for _ in range(SPLITS):
        rows = int(np.exp(random.uniform(np.log(500), np.log(20_000))))
        order = random.permutation(january.num_rows)
        reference = profile_rows(january.take(order[rows:]))
        current = profile_rows(january.take(order[:rows]))
        verdicts = [judgement.verdict for judgement in judge_others(reference, current, {})]
        alarmed += "drift" in verdicts
        judged += len(verdicts) - verdicts.count("not enough rows")
    assert alarmed <= SPLITS / 100
    # Silence would raise no alarm either: nine in ten can be judged.
    assert judged > SPLITS * 40


def test_july_is_not_january() -> None:
    found = judge_others(profile_rows(load_month(1)), profile_rows(load_month(7)), {})
    drifted = {judged.column for judged in found if judged.verdict == "drift"}
    # In summer the air is still and the flights are late; New York's airports stay where they are.
    assert {"dep_delay", "arr_delay", "air_time", "dest"} <= drifted
    assert not {"origin", "hour", "day", "carrier"} & drifted


@pytest.mark.skipif(
    os.environ.get("PILOTLINE_SLOW") != "1",
    reason="makes an environment with Evidently; PILOTLINE_SLOW=1 runs it, and make bench does",
)
def test_scores_are_evidently_s(tmp_path: Path) -> None:
    files = [str(write_month(tmp_path, month)) for month in (1, 7)]
    theirs = ask(make_environment("evidently", EVIDENTLY), "evidently_side.py", *files)
    found = judge_others(profile_rows(load_month(1)), profile_rows(load_month(7)), {})
    ours = {f"{judged.column}.{judged.distance}": judged.value for judged in found}
    assert compare_scores(theirs["scores"], ours) <= 1e-9
