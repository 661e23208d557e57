"""Failures are grouped by the step and the first line of the reason."""

from dataclasses import replace
from datetime import timedelta

from pilotline.tasks.report.operations import RunFacts, amount, list_failures
from tests.support.tasks.reported import START, run_on


def failed(days: int, step: str, reason: str) -> RunFacts:
    """Return a failed run of the day ``days`` after the first."""
    run = run_on(START + timedelta(days=days))
    return replace(run, state="failed", failed_in=step, reason=reason)


def test_failures_of_one_step_and_reason_are_counted_together() -> None:
    runs = [
        failed(0, "build", "No space.\nline 7"),
        failed(3, "build", "No space.\nline 9"),
        failed(1, "predict", "\nIt died."),
        run_on(START),
    ]
    found = [(f.step, f.reason, f.runs, f.last) for f in list_failures(runs)]
    assert found == [
        ("build", "No space.", 2, START + timedelta(days=3)),
        ("predict", "It died.", 1, START + timedelta(days=1)),
    ]


def test_a_failure_without_a_reason_says_so() -> None:
    (found,) = list_failures([failed(0, "unknown", " \n")])
    assert found.reason == "no reason is on record"


def test_a_long_reason_is_cut() -> None:
    (found,) = list_failures([failed(0, "unknown", "x" * 10_000)])
    assert len(found.reason) == 300


def test_nonsense_of_an_import_counts_as_nothing() -> None:
    used = {"a": 1.5, "b": -1, "c": "7", "d": float("nan")}
    assert [amount(used, name) for name in "abcde"] == [1.5, 0, 0, 0, 0]
