"""Scoring runs: epochs that rise, outcomes that stay, and the run that readers see."""

import hashlib
from dataclasses import replace
from datetime import date

import pytest
from sqlalchemy.orm import Session

from pilotline.registry.form.errors import UnknownRunError
from pilotline.registry.record.events import list_events
from pilotline.registry.record.versions import ModelVersion
from pilotline.registry.runs.ingests import Ingest, record_ingest
from pilotline.registry.runs.listing import (
    committed_rows,
    first_run_day,
    last_outcomes,
    list_runs,
    list_runs_of_days,
)
from pilotline.registry.runs.runs import (
    Claim,
    Ending,
    InputRead,
    Run,
    claim_partition,
    describe_split,
    end_run,
    get_run,
    holds_claim,
    inputs_of,
    is_run,
    outcome_of,
    record_teardown,
    teardown_of,
    unsettled_runs,
    versions_of,
)
from pilotline.registry.runs.shown import (
    first_shown_day,
    last_known_day,
    last_shown_day,
    visible_runs,
)
from tests.support.registry.world import World

DAY = date(2013, 1, 1)


def visible(session: Session, run: Run) -> Run | None:
    session.expire_all()
    return visible_runs(session, run.model_id, run.variant, run.date, run.date).get(run.date)


def test_each_claim_of_a_partition_gets_a_higher_epoch(session: Session, world: World) -> None:
    version = world.enter(session)
    runs = [claim_partition(session, version, world.claim) for _ in range(3)]
    assert [run.epoch for run in runs] == [1, 2, 3]
    assert len({run.id for run in runs}) == 3


def test_epochs_count_for_one_model_variant_and_day(session: Session, world: World) -> None:
    version, other = world.enter(session), world.enter(session, name="seat-demand")
    claim_partition(session, version, world.claim)
    shadow = replace(world.claim, variant="shadow/1.0.0")
    next_day = replace(world.claim, date=date(2013, 1, 2))
    firsts = [(version, shadow), (version, next_day), (other, world.claim)]
    assert [claim_partition(session, *first).epoch for first in firsts] == [1, 1, 1]


def test_only_the_last_claim_holds_the_partition(session: Session, world: World) -> None:
    version = world.enter(session)
    old = claim_partition(session, version, world.claim)
    assert holds_claim(session, old)
    new = claim_partition(session, version, world.claim)
    assert (holds_claim(session, old), holds_claim(session, new)) == (False, True)


def test_a_run_keeps_what_it_claimed(session: Session, world: World) -> None:
    run = claim_partition(session, world.enter(session), world.claim)
    session.expire_all()
    assert Claim(**{name: getattr(run, name) for name in vars(world.claim)}) == world.claim
    assert run.id.startswith("20130101-")
    assert get_run(session, run.id) is run


def test_a_claim_shows_nothing_to_readers(session: Session, world: World) -> None:
    run = claim_partition(session, world.enter(session), world.claim)
    assert visible(session, run) is None
    assert outcome_of(session, run) is None


def test_a_success_becomes_visible_beside_its_event(session: Session, world: World) -> None:
    run = claim_partition(session, world.enter(session), world.claim)
    outcome = end_run(session, run, Ending("succeeded", 842, resources={"wall_s": 1.5}))
    assert visible(session, run) is run
    assert (outcome.state, outcome.rows, outcome.resources) == (
        "succeeded",
        842,
        '{"wall_s":1.5}',
    )
    event = list_events(session, run.model_id)[-1]
    assert event.kind == "run succeeded"
    assert event.facts() == {
        "run": run.id,
        "version": "1.0.0",
        "committed": False,
        "variant": "production",
        "date": "2013-01-01",
        "epoch": 1,
        "partition": "d" * 64,
        "rows": 842,
        "reason": "",
    }


@pytest.mark.parametrize("state", ["failed", "superseded", "crashed"])
def test_a_run_that_did_not_succeed_changes_nothing_for_readers(
    session: Session, world: World, state: str
) -> None:
    version = world.enter(session)
    good = claim_partition(session, version, world.claim)
    end_run(session, good, Ending("succeeded", 842))
    bad = claim_partition(session, version, world.claim)
    end_run(session, bad, Ending(state, reason="out of memory"))
    assert visible(session, good) is good
    assert list_events(session, good.model_id)[-1].kind == f"run {state}"


def test_a_run_ends_once(session: Session, world: World) -> None:
    run = claim_partition(session, world.enter(session), world.claim)
    first = end_run(session, run, Ending("failed", reason="out of memory"))
    events = len(list_events(session, run.model_id))
    assert end_run(session, run, Ending("succeeded", 842)) is first
    assert first.state == "failed"
    assert visible(session, run) is None
    assert len(list_events(session, run.model_id)) == events


def test_a_later_success_takes_over(session: Session, world: World) -> None:
    version = world.enter(session)
    runs = [claim_partition(session, version, world.claim) for _ in range(2)]
    for run in runs:
        end_run(session, run, Ending("succeeded", 842))
    assert visible(session, runs[0]) is runs[1]


def test_a_success_reported_late_does_not_hide_a_newer_one(session: Session, world: World) -> None:
    version = world.enter(session)
    old, new = (claim_partition(session, version, world.claim) for _ in range(2))
    end_run(session, new, Ending("succeeded", 842))
    end_run(session, old, Ending("succeeded", 842))
    assert visible(session, new) is new


def test_a_success_before_a_newer_claim_that_failed_is_shown(
    session: Session, world: World
) -> None:
    version = world.enter(session)
    old, new = (claim_partition(session, version, world.claim) for _ in range(2))
    end_run(session, new, Ending("failed"))
    end_run(session, old, Ending("succeeded", 842))
    assert visible(session, old) is old


def test_runs_without_an_outcome_are_unsettled(session: Session, world: World) -> None:
    version = world.enter(session)
    runs = [claim_partition(session, version, world.claim) for _ in range(3)]
    end_run(session, runs[1], Ending("failed"))
    unsettled = unsettled_runs(session, version.model_id, "production", DAY)
    assert unsettled == [runs[0], runs[2]]
    assert unsettled_runs(session, version.model_id, "shadow/1.0.0", DAY) == []


def test_the_outcome_of_a_day_is_that_of_its_last_claim(session: Session, world: World) -> None:
    version = world.enter(session)
    days = [date(2013, 1, day) for day in (1, 2)]
    for day in days:
        run = claim_partition(session, version, replace(world.claim, date=day))
        end_run(session, run, Ending("succeeded", 842))
    claim_partition(session, version, world.claim)
    outcomes = last_outcomes(session, version.model_id, "production", days[0], days[1])
    assert outcomes[days[0]] is None
    assert outcomes[days[1]] is outcome_of(session, run)
    shown = visible_runs(session, version.model_id, "production", days[0], days[1])
    assert sorted(shown) == days


def test_runs_are_listed_by_version_with_their_outcomes(session: Session, world: World) -> None:
    version, other = world.enter(session, "first"), world.enter(session, "second")
    run = claim_partition(session, version, world.claim)
    outcome = end_run(session, run, Ending("failed", reason="out of memory"))
    claim_partition(session, other, world.claim)
    assert list_runs(session, version) == [(run, outcome)]


def test_a_run_of_a_split_is_by_both_versions_and_says_so(session: Session, world: World) -> None:
    version, other = world.enter(session, "first"), world.enter(session, "second")
    alone = claim_partition(session, version, world.claim)
    run = claim_partition(
        session, version, replace(world.claim, challenger_id=other.id, share="0.25")
    )
    outcome = end_run(session, run, Ending("succeeded", 842, table_version=0))
    assert (versions_of(session, run), versions_of(session, alone)) == ([version, other], [version])
    assert list_runs(session, other) == [(run, outcome)]
    assert [each.id for each, _ in list_runs(session, version)] == [alone.id, run.id]
    split = {"challenger": "2.0.0", "share": "0.25"}
    assert (describe_split(session, run), describe_split(session, alone)) == (split, {})
    facts = list_events(session, version.model_id, "run succeeded")[-1].facts()
    assert facts == {**facts, "version": "1.0.0", **split}


def test_a_run_of_one_version_says_nothing_of_a_split(session: Session, world: World) -> None:
    version = world.enter(session)
    end_run(session, claim_partition(session, version, world.claim), Ending("succeeded", 842))
    assert not {"challenger", "share"} & set(list_events(session, version.model_id)[-1].facts())


def test_a_long_reason_is_kept_whole_and_cut_in_the_event(session: Session, world: World) -> None:
    run = claim_partition(session, world.enter(session), world.claim)
    assert end_run(session, run, Ending("failed", reason="x" * 1000)).reason == "x" * 1000
    assert list_events(session, run.model_id)[-1].facts()["reason"] == "x" * 400


def test_an_unknown_run_is_named(session: Session) -> None:
    with pytest.raises(UnknownRunError) as unknown:
        get_run(session, "20130101-abc")
    assert str(unknown.value) == (
        "No run '20130101-abc' is recorded. List runs with 'pilotline show MODEL'."
    )


def test_a_teardown_is_recorded_beside_the_run(session: Session, world: World) -> None:
    run = claim_partition(session, world.enter(session), world.claim)
    assert teardown_of(session, run) is None
    record_teardown(session, run, 0.25, clean=True)
    teardown = teardown_of(session, run)
    assert teardown is not None
    assert (teardown.seconds, teardown.clean) == (0.25, True)


def test_a_run_keeps_which_days_of_further_inputs_it_joined_and_its_event_names_them(
    session: Session, world: World
) -> None:
    read = [InputRead("weather", date(2012, 12, day), str(day) * 32, 7) for day in (31, 30)]
    run = claim_partition(session, world.enter(session), world.claim, read)
    assert [(one.dataset, one.date.day) for one in inputs_of(session, [run.id])] == [
        ("weather", 30),
        ("weather", 31),
    ]
    end_run(session, run, Ending("succeeded", 842, table_version=1))
    said = list_events(session, run.model_id, "run succeeded")[-1].facts()
    rows = b'[["weather","2012-12-30","%s",7],["weather","2012-12-31","%s",7]]'
    rows %= (b"30" * 32, b"31" * 32)
    assert said["inputs"] == hashlib.sha256(rows).hexdigest()


def test_a_run_of_one_input_says_nothing_of_others(session: Session, world: World) -> None:
    run = claim_partition(session, world.enter(session), world.claim)
    end_run(session, run, Ending("succeeded", 842, table_version=1))
    assert inputs_of(session, [run.id]) == []
    assert "inputs" not in list_events(session, run.model_id, "run succeeded")[-1].facts()


def test_a_dead_run_whose_rows_were_committed_leaves_no_run_to_be_shown(
    session: Session, world: World
) -> None:
    version = world.enter(session)
    good, dead, later = (claim_partition(session, version, world.claim) for _ in range(3))
    end_run(session, good, Ending("succeeded", 842, table_version=1))
    end_run(session, dead, Ending("crashed", table_version=2))
    assert visible(session, good) is None  # the table holds other rows than its own by now
    assert list_events(session, good.model_id)[-1].facts()["committed"] is True
    end_run(session, later, Ending("succeeded", 842, table_version=3))
    assert visible(session, good) is later


def show(session: Session, version: ModelVersion, claim: Claim, *days: int) -> list[Run]:
    runs = [
        claim_partition(session, version, replace(claim, date=date(2013, 1, day))) for day in days
    ]
    for run in runs:
        end_run(session, run, Ending("succeeded", 842, table_version=run.date.day + 10))
    return runs


def test_days_after_the_last_one_asked_for_are_not_shown_yet(
    session: Session, world: World
) -> None:
    version = world.enter(session)
    show(session, version, world.claim, 2, 3, 5)
    claim_partition(session, version, replace(world.claim, date=date(2013, 1, 7)))
    assert last_shown_day(session, version.model_id) == date(2013, 1, 5)
    days = [date(2013, 1, day) for day in (1, 2, 4, 9)]
    last = [last_shown_day(session, version.model_id, day) for day in days]
    assert last == [None, date(2013, 1, 2), date(2013, 1, 3), date(2013, 1, 5)]
    first = [first_shown_day(session, version.model_id, day) for day in days]
    assert first == [None, *[date(2013, 1, 2)] * 3]


def test_a_shown_day_is_known_once_rows_of_its_actuals_came(session: Session, world: World) -> None:
    version = world.enter(session)
    show(session, version, world.claim, 1, 2, 3)
    for day, accepted in ((1, 90), (2, 90), (3, 0), (4, 90)):
        ingest = Ingest(
            dataset="arrivals",
            date=date(2013, 1, day),
            token="a" * 64,
            partition_digest="b" * 64,
            table_version=day,
            accepted=accepted,
            quarantined=0,
        )
        record_ingest(session, ingest)
    for until, known in ((9, 2), (1, 1)):
        found = last_known_day(session, version.model_id, "arrivals", date(2013, 1, until))
        assert found == date(2013, 1, known)
    assert last_known_day(session, version.model_id, "flights", date(2013, 1, 9)) is None


def test_runs_of_some_days_come_as_they_began_with_outcome_and_version(
    session: Session, world: World
) -> None:
    version, other = world.enter(session), world.enter(session, name="seat-demand")
    second, third = show(session, version, world.claim, 3, 2)
    show(session, version, world.claim, 1, 4)
    show(session, other, world.claim, 2)
    waiting = claim_partition(session, version, replace(world.claim, date=date(2013, 1, 2)))
    found = list_runs_of_days(session, version.model_id, date(2013, 1, 2), date(2013, 1, 3))
    assert {run.id for run, _, _ in found} == {second.id, third.id, waiting.id}
    assert [run.started_at for run, _, _ in found] == sorted(run.started_at for run, _, _ in found)
    states = {run.id: outcome.state if outcome else None for run, outcome, _ in found}
    assert (states[second.id], states[waiting.id]) == ("succeeded", None)
    assert {of.id for _, _, of in found} == {version.id}


def test_the_first_day_with_a_run_is_looked_for_after_a_day(session: Session, world: World) -> None:
    version = world.enter(session)
    show(session, version, world.claim, 2, 4)
    for after, until, first in ((1, 9, 2), (2, 9, 4), (2, 3, None)):
        found = first_run_day(session, version.model_id, date(2013, 1, after), date(2013, 1, until))
        assert found == (date(2013, 1, first) if first else None)


def test_rows_of_a_commit_are_known_with_their_run(session: Session, world: World) -> None:
    version = world.enter(session)
    (run,) = show(session, version, world.claim, 1)
    assert committed_rows(session, version.model_id, DAY, 11) == (run.id, 842)
    assert committed_rows(session, version.model_id, DAY, 12) is None
    assert committed_rows(session, version.model_id, date(2013, 1, 2), 11) is None
    assert (is_run(session, run.id), is_run(session, "20130101-0")) == (True, False)
