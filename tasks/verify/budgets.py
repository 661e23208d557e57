"""The figures of a version in its real environment: latency, throughput, memory, and its budget."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pilotline.tasks.lab import Bundle
from pilotline.tasks.sandbox import BATCH_ROWS, Room, scoring_child
from pilotline.tasks.stats import Check
from pilotline.tasks.verify.golden import read_golden, score_batches

MAX_BATCHES = 10  # full batches timed, after one that warms up
MAX_SINGLES = 50  # streams of one row timed
ENOUGH_S = 3.0  # of timing each kind; a slow model is timed less often
MIN_TIMES = 3


@dataclass(frozen=True)
class Figures:
    """What was measured; only the budget decides."""

    rows_per_s: float
    batch_rows: int
    batches: int  # timed
    batch_p50_ms: float
    batch_p95_ms: float
    singles: int  # streams of one row timed
    row_p50_ms: float
    row_p95_ms: float
    peak_mib: float

    def __str__(self) -> str:
        return (
            f"{self.rows_per_s:,.0f} rows/s, {self.batch_rows:,} rows in "
            f"p50 {self.batch_p50_ms:,.1f} ms and p95 {self.batch_p95_ms:,.1f} ms, "
            f"one row in p50 {self.row_p50_ms:,.1f} ms and p95 {self.row_p95_ms:,.1f} ms, "
            f"peak {self.peak_mib:,.0f} MiB"
        )


def measure_child(room: Room, bundle: Bundle) -> Figures:
    """Return how fast a child answers and how much memory it takes.

    Each time is from the first byte written to the last one read, as the parent sees it.

    Raises:
        ChildError: the model failed.
    """
    rows = read_golden(bundle).features
    picked = rows.take(pa.array(np.arange(BATCH_ROWS) % rows.num_rows))
    (batch,) = picked.combine_chunks().to_batches(max_chunksize=BATCH_ROWS)
    single = batch.slice(0, 1)
    with scoring_child(room, bundle.folder, bundle.artifact) as child:
        for warm_up in (single, batch):
            score_batches(child, bundle, [warm_up])
        batches = _time(lambda: score_batches(child, bundle, [batch]), MAX_BATCHES)
        singles = _time(lambda: score_batches(child, bundle, [single]), MAX_SINGLES)
        peak = child.usage.peak_mib
    return Figures(
        BATCH_ROWS * len(batches) / sum(batches),
        BATCH_ROWS,
        len(batches),
        *_quantiles_ms(batches),
        len(singles),
        *_quantiles_ms(singles),
        peak,
    )


def check_budgets(bundle: Bundle, figures: Figures) -> list[Check]:
    """Return a check for each budget of the version."""
    budget, found = bundle.spec.budget, figures
    return [
        Check(
            "throughput",
            found.rows_per_s >= budget.rows_per_s,
            f"{found.rows_per_s:,.0f} rows/s, at least {budget.rows_per_s:,.0f}",
        ),
        Check(
            "peak memory",
            0 < found.peak_mib <= budget.memory_mib,
            f"{found.peak_mib:,.0f} MiB, at most {budget.memory_mib:,} MiB",
        ),
    ]


def _time(act: Callable[[], object], at_most: int) -> list[float]:
    """Return the seconds of each time it was done."""
    seconds: list[float] = []
    while len(seconds) < at_most and (len(seconds) < MIN_TIMES or sum(seconds) < ENOUGH_S):
        started = time.perf_counter()
        act()
        seconds.append(time.perf_counter() - started)
    return seconds


def _quantiles_ms(seconds: list[float]) -> tuple[float, float]:
    p50, p95 = np.quantile(seconds, [0.5, 0.95]) * 1000
    return float(p50), float(p95)
