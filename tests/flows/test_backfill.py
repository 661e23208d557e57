"""A backfill as a run of a deployment: its page, cancelled, interrupted."""

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flows.conftest import Fortnight, contents_of, copy_home, predictions_of, query_sqlite
from tests.support.commands import start_process
from tests.support.flows.factory import MODEL
from tests.support.flows.weeks import ALL, DAYS, END, LIMIT_S, RANGE, SINCE, START, Weeks
from tests.support.waiting import stretched, wait_until


@pytest.fixture
def weeks(fortnight: Fortnight, tmp_path: Path, server: str) -> Iterator[Weeks]:
    """Return a home with two weeks of flights that are not scored yet."""
    yield Weeks(copy_home(fortnight.unscored, tmp_path / "home"), server)
    shutil.rmtree(tmp_path / "home")


def test_the_page_of_a_run_shows_its_progress_and_a_table_of_days_with_links(weeks: Weeks) -> None:
    run = weeks.make_run()
    assert weeks.execute(run)["name"] == "Completed"
    found = weeks.artifacts(run)
    assert found["progress"]["data"] == 100
    said = f"{MODEL}: {DAYS} of {DAYS} days, {DAYS} succeeded"
    assert found["progress"]["description"] == said
    rows = json.loads(found["table"]["data"])
    assert [row["day"] for row in rows] == ALL
    first = rows[0]
    assert (first["was"], first["is"], first["version"]) == ("missing", "succeeded", "1.0.0")
    assert first["rows"] == 954  # as many as the source has on that day; none is broken
    page = weeks.url.removesuffix("/api") + f"/runs/flow-run/{run}"
    assert first["run"].startswith("[20130215-")
    assert first["run"].endswith(f"]({page})")

    asked = {"flow_runs": {"id": {"any_": [run]}}}
    tasks = weeks.api.post("/task_runs/filter", asked)
    assert sorted(task["name"].rsplit("-", 1)[0] for task in tasks) == ["make_plan", "run_plan"]
    packages = query_sqlite(
        weeks.home / "registry.db",
        "select distinct json_extract(resources, '$.build_s') from run_outcome "
        f"join run on run.id = run_id where date between '{START}' and '{END}'",
    )
    assert len(packages) == 1  # one environment served all days


def test_a_cancelled_run_leaves_whole_days_only(weeks: Weeks) -> None:
    run = weeks.make_run()
    process = weeks.begin(run)
    weeks.wait_for(run, "Running")
    state = {"type": "CANCELLING", "name": "Cancelling", "state_details": {}}  # as the UI asks
    assert weeks.api.post(f"/flow_runs/{run}/set_state", {"state": state})["status"] == "ACCEPT"
    ended = weeks.end(process, run)
    done = weeks.days_shown()
    assert (ended["type"], 0 < len(done) < DAYS) == ("CANCELLED", True), ended
    assert ended["message"] == f"{len(done)} of {DAYS} days were done; all of them whole"


def test_interrupted_by_a_person_or_ended_by_a_worker_it_leaves_whole_days_only(
    weeks: Weeks,
) -> None:
    words = ("backfill", MODEL, *RANGE, "--using", "champion")
    named = {"PREFECT_API_URL": weeks.url}
    log = weeks.home / "lake" / "predictions" / MODEL / "_delta_log"
    before = len(list(log.glob("*.json")))
    process = start_process(weeks.home, *words, settings=named)
    assert wait_until(lambda: len(list(log.glob("*.json"))) > before, LIMIT_S)
    os.kill(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=stretched(LIMIT_S))
    assert process.returncode == 130, said
    interrupted = weeks.days_shown()
    assert interrupted

    run = weeks.make_run()
    worker = weeks.begin(run)
    before = len(list(log.glob("*.json")))
    assert wait_until(lambda: len(list(log.glob("*.json"))) > before, LIMIT_S)
    worker.terminate()  # as a worker does when a run is cancelled in the UI
    weeks.end(worker, run)
    ended = weeks.days_shown()
    assert ended[: len(interrupted)] == interrupted
    # The page tells what readers see, also of a commit that it was stopped in.
    found = weeks.artifacts(run)
    rows = json.loads(found["table"]["data"])
    done = [row["day"] for row in rows if row["is"] == "succeeded"]
    assert done
    assert sorted({*interrupted, *done}) == ended
    said = f"{MODEL}: {len(done)} of {len(rows)} days, {len(done)} succeeded"
    assert found["progress"]["description"].startswith(said)

    weeks.command(*words)
    assert weeks.days_shown() == ALL
    assert contents_of(weeks.home)["scratch"] == []
    assert len(predictions_of(weeks.home, SINCE)) == len(set(predictions_of(weeks.home, SINCE)))
