"""A backfill that is paused and resumed, by command and in the UI."""

import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.flows.conftest import Fortnight, contents_of, copy_home
from tests.support.commands import run_here, start_process
from tests.support.flows.factory import MODEL
from tests.support.flows.weeks import ALL, ASK_S, DAYS, END, LIMIT_S, RANGE, START, Weeks
from tests.support.waiting import stretched, wait_until


@pytest.fixture
def weeks(fortnight: Fortnight, tmp_path: Path, own_server: str) -> Iterator[Weeks]:
    """Return a home with two weeks of flights that are not scored yet.

    At a server of its own: what pauses and resumes here does so to every backfill that is there.
    """
    yield Weeks(copy_home(fortnight.unscored, tmp_path / "home"), own_server)
    shutil.rmtree(tmp_path / "home")


def test_a_suspended_run_ends_between_days_and_resumed_does_the_rest_once(weeks: Weeks) -> None:
    run, commits = weeks.make_run(), weeks.commits
    process = weeks.begin(run)
    weeks.wait_for_more_than(commits)
    said = weeks.command("pause", MODEL).out
    assert "paused after the days it is at" in said
    assert weeks.end(process, run)["name"] == "Suspended"
    before = weeks.days_shown()
    assert 0 < len(before) < DAYS
    assert contents_of(weeks.home)["scratch"] == []

    again = run_here(weeks.home, "pause", MODEL, settings={"PREFECT_API_URL": weeks.url})
    assert again.status == 1
    assert f"is paused already, and none is running. 'pilotline resume {MODEL}'" in again.err

    weeks.command("resume", MODEL)
    assert weeks.state(run)["name"] == "Resuming"
    assert weeks.execute(run)["name"] == "Completed"
    assert weeks.days_shown() == ALL
    assert weeks.runs_of_days() == [(day, "succeeded") for day in ALL]  # oldest first, once each


def test_resumed_before_its_process_is_through_a_run_goes_on_in_one_process(weeks: Weeks) -> None:
    run = weeks.make_run()
    slow = weeks.begin(run)
    assert wait_until(lambda: "progress" in weeks.artifacts(run), LIMIT_S, ASK_S)
    slow.send_signal(signal.SIGSTOP)
    weeks.command("pause", MODEL)
    weeks.command("resume", MODEL)
    other = weeks.begin(run)
    weeks.wait_for(run, "Running")
    slow.send_signal(signal.SIGCONT)
    slow.communicate(timeout=stretched(LIMIT_S))
    assert weeks.end(other, run)["name"] == "Completed"
    assert weeks.days_shown() == ALL
    # What the first was at is done by the other, too: at most its second commit, of two days.
    again = Counter(day for day, _ in weeks.runs_of_days())
    assert sum(again.values()) <= DAYS + 2


def test_a_commands_run_waits_where_it_is_and_goes_on_when_it_is_resumed(weeks: Weeks) -> None:
    words = ("backfill", MODEL, *RANGE, "--using", "champion")
    before, commits = weeks.running(), weeks.commits
    process = start_process(weeks.home, *words, settings={"PREFECT_API_URL": weeks.url})
    assert wait_until(lambda: weeks.running() - before, LIMIT_S, ASK_S)
    (run,) = weeks.running() - before
    weeks.wait_for_more_than(commits)
    weeks.command("pause", MODEL)
    assert process.stderr is not None
    said = next(line for line in process.stderr if "paused after" in line)
    assert f"'pilotline resume {MODEL}' goes on" in said
    assert 0 < len(weeks.days_shown()) < DAYS
    weeks.command("resume", MODEL)
    _, said = process.communicate(timeout=stretched(LIMIT_S))
    assert process.returncode == 0, said
    assert weeks.state(run)["name"] == "Completed"
    assert weeks.days_shown() == ALL
    assert weeks.runs_of_days() == [(day, "succeeded") for day in ALL]


def test_suspended_in_the_ui_a_run_waits_longer_than_the_five_minutes_that_the_ui_sets(
    weeks: Weeks,
) -> None:
    run = weeks.make_run()
    process = weeks.begin(run)
    assert wait_until(lambda: "progress" in weeks.artifacts(run), LIMIT_S, ASK_S)
    until = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()
    details = {"pause_timeout": until, "pause_reschedule": True}
    state = {"type": "PAUSED", "name": "Suspended", "state_details": details}
    assert weeks.api.post(f"/flow_runs/{run}/set_state", {"state": state})["status"] == "ACCEPT"
    ended = weeks.end(process, run)
    assert ended["name"] == "Suspended"
    assert ended["state_details"]["pause_timeout"] is None
    assert 0 < len(weeks.days_shown()) < DAYS
    weeks.command("resume", MODEL)
    assert weeks.execute(run)["name"] == "Completed"
    assert weeks.days_shown() == ALL


def test_without_a_run_that_is_paused_or_running_both_commands_say_so(weeks: Weeks) -> None:
    settings = {"PREFECT_API_URL": weeks.url}
    for word, what in (("pause", "Pausing"), ("resume", "Resuming")):
        ran = run_here(weeks.home, word, "churn", settings=settings)
        assert ran.status == 1
        assert f"{what} backfills of 'churn': none is" in ran.err


def test_a_run_that_has_not_begun_cannot_be_paused_yet_and_that_is_said(weeks: Weeks) -> None:
    run = weeks.make_run()
    ran = run_here(weeks.home, "pause", MODEL, settings={"PREFECT_API_URL": weeks.url})
    weeks.api.delete(f"/flow_runs/{run}")
    assert ran.status == 1
    assert f"{MODEL} {START} to {END} is about to start. Pause it in a moment." in ran.err
