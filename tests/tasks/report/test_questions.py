"""What is open is listed, alerts first, each with whose it is and what to type."""

from dataclasses import replace
from datetime import date, timedelta

import pytest

from pilotline.tasks.monitor.staleness import Stale
from pilotline.tasks.report.drift import DriftFacts, DriftWindow
from pilotline.tasks.report.operations import DIED, Operations
from pilotline.tasks.report.questions import Asked, Missed, Question, Waits, list_questions
from pilotline.tasks.report.science import Gap, Versus
from pilotline.tasks.report.volume import DayVolume, Delivered
from tests.support.tasks.reported import START, empty_report, judged, report_of, run_on

END = START + timedelta(days=13)
NOTHING = Asked(
    model="churn",
    owner="ops",
    champion="1.0.0",
    datasets=("flights", "arrivals"),
    end=END,
    operations=empty_report().operations,
    drift=DriftFacts(),
    versus=(),
    stale=(),
    waiting=(),
    missed=(),
    learned=frozenset(),
)


def operations(**facts: object) -> Operations:
    """Return operations with nothing but ``facts``."""
    known = {**vars(NOTHING.operations), **facts}
    return Operations(**known)


def only(asked: Asked) -> Question:
    """Return the one question there is."""
    (question,) = list_questions(asked)
    assert question.owner == "ops"
    return question


def versus(verdict: str) -> Versus:
    """Return a challenger's comparison."""
    gaps = [Gap("roc_auc", 0.0, -0.1, 0.1, verdict)]
    return Versus("1.0.0", "1.0.1", "shadow/1.0.1", verdict, "about 900 more", END, 90, gaps)


def test_a_model_in_order_has_no_open_question() -> None:
    assert list_questions(NOTHING) == []


def test_a_model_without_a_champion_says_so() -> None:
    assert only(replace(NOTHING, champion="")).title == "No champion"


def test_a_day_that_succeeded_after_it_failed_is_not_open() -> None:
    failed = replace(run_on(START), state="failed", reason="x")
    assert (
        list_questions(replace(NOTHING, operations=operations(runs=[failed, run_on(START)]))) == []
    )
    found = only(replace(NOTHING, operations=operations(runs=[run_on(START), failed])))
    assert found.title == "1 day's last run did not succeed"


def test_a_shadow_that_died_is_scored_again_as_a_shadow() -> None:
    died = replace(run_on(START), state=DIED, variant="shadow/1.0.1", reason="no outcome")
    found = only(replace(NOTHING, operations=operations(runs=[died])))
    assert found.command == f"pilotline score churn --date {START} --shadow 1.0.1"


def test_drift_that_persists_asks_for_training_unless_somebody_trained() -> None:
    window = DriftWindow(START, END, 7, 90, [judged("dest", 0.25, "drift")], True)
    drift = DriftFacts("1.0.0", (START, START), 7, 1, [window], fired=True)
    found = only(replace(NOTHING, drift=drift))
    assert "furthest is dest by psi: 0.2500, 2.5 times its threshold." in found.said
    assert found.command == f"pilotline train churn --until {END}"
    waiting = Waits("1.0.1", "review", ("anna", "bob"))
    asked = replace(NOTHING, drift=drift, waiting=(waiting,))
    first, second = list_questions(asked)
    assert first.command == "pilotline diff churn 1.0.0 1.0.1"
    assert second.said == "Version 1.0.1 waits at the gate 'review' for anna or bob."
    assert "--by NAME" in second.command


@pytest.mark.parametrize(("verdict", "drifted"), [("drift", True), ("not enough rows", False)])
def test_one_window_that_drifted_or_is_too_small_is_a_notice(verdict: str, drifted: bool) -> None:
    window = DriftWindow(START, END, 7, 90, [judged("dest", 0.25, verdict)], drifted)
    drift = DriftFacts("1.0.0", (START, START), 7, 2, [window])
    titles = {True: "Drift in one window", False: "Too few rows to judge drift"}
    found = only(replace(NOTHING, drift=drift))
    assert (found.level, found.title) == ("notice", titles[drifted])


def test_what_is_too_old_is_an_alert_with_what_mends_it() -> None:
    stale = Stale("data late", START, 13, 2, "data late: the last day is old", False)
    found = only(replace(NOTHING, stale=(stale,)))
    assert (found.title, found.said) == ("Data late", "The last day is old.")
    assert found.command == f"pilotline ingest flights --new --end {END}"


def test_days_that_nobody_predicted_are_listed_unless_the_version_learned_from_them() -> None:
    days = [date(2014, 1, 1 + n) for n in range(5)]
    volume = [DayVolume(day, accepted=9, predicted=9 * (n in (1, 4))) for n, day in enumerate(days)]
    asked = replace(NOTHING, operations=operations(volume=volume))
    found = only(asked)
    assert found.title == "2 days not scored"
    assert found.said.startswith("2014-01-03 to 2014-01-04:")
    assert "--start 2014-01-03 --end 2014-01-04" in found.command
    assert list_questions(replace(asked, learned=frozenset(days))) == []


def test_quarantined_rows_are_shown_by_their_worst_day() -> None:
    volume = [
        DayVolume(date(2014, 1, 1 + n), accepted=9, predicted=9, quarantined=n) for n in range(3)
    ]
    found = only(replace(NOTHING, operations=operations(volume=volume)))
    assert found.title == "3 rows of flights in quarantine"
    assert found.command == "pilotline quarantine flights --date 2014-01-03"


def test_late_nights_are_counted() -> None:
    nights = [Delivered(START, 60.0), Delivered(END, -1800.0)]
    found = only(replace(NOTHING, operations=operations(deliveries=nights)))
    assert found.title == "1 of 2 nights delivered late"
    assert found.said.endswith("30 minutes late.")


def test_missing_metrics_are_an_alert() -> None:
    missed = Missed("1.0.0", "2014-01-05", {"roc_auc": "one kind"})
    found = only(replace(NOTHING, missed=(missed,)))
    assert "roc_auc: one kind" in found.said


def test_a_challenger_is_open_when_it_is_better_or_not_yet_known() -> None:
    better = only(replace(NOTHING, versus=(versus("better"),)))
    assert (better.title, better.said) == ("Challenger 1.0.1 is better", "about 900 more.")
    unknown = only(replace(NOTHING, versus=(versus("not yet known"),)))
    assert unknown.command == "pilotline score churn --date 2014-01-15 --shadow 1.0.1"
    assert list_questions(replace(NOTHING, versus=(versus("worse"),))) == []


def test_alerts_come_before_notices() -> None:
    stale = Stale("no score", START, 13, 2, "no score: old", False)
    asked = replace(NOTHING, versus=(versus("better"),), stale=(stale,))
    assert [question.level for question in list_questions(asked)] == ["alert", "notice"]


def test_the_hand_made_report_is_in_order() -> None:
    facts = report_of().operations
    assert [q.title for q in list_questions(replace(NOTHING, operations=facts))] == [
        "300 rows of flights in quarantine"
    ]
