"""Where one prediction came from."""

from datetime import date
from pathlib import Path

import pytest

from pilotline.registry import Registry
from pilotline.registry.form.errors import UnknownModelError
from pilotline.tasks.errors import LakeError, NothingToDoError
from pilotline.tasks.explain.tracing import parse_key, trace_prediction
from pilotline.tasks.home import Home
from pilotline.tasks.lake import tables as lake
from pilotline.tasks.monitor.actuals import read_predictions
from pilotline.tasks.score.job import Job
from tests.support.tasks.calls import Score
from tests.tasks.conftest import copy_home

DAY = date(2013, 1, 14)


@pytest.fixture
def home(once_scored: Home, tmp_path: Path) -> Home:
    """Return a home whose day was scored: asking for it again gives that run."""
    return copy_home(once_scored, tmp_path / "copy")


def test_a_prediction_leads_to_its_run_version_and_input_row(
    home: Home, registry: Registry, job: Job, score: Score
) -> None:
    (done,) = score(DAY)
    row = read_predictions(home, job, "production", DAY).to_pylist()[42]
    key = f"carrier={row['carrier']},flight={row['flight']},origin={row['origin']}"
    found = trace_prediction(registry, home, "flight-delay", DAY, key)
    assert found["prediction"] == {"probability": row["probability"]}
    assert found["key"] == {
        "flight_date": "2013-01-14",
        "carrier": row["carrier"],
        "flight": row["flight"],
        "origin": row["origin"],
    }
    assert found["input"]["flight"] == row["flight"]
    assert found["input"]["tailnum"] == "N1"
    assert (found["run"]["id"], found["run"]["rows"]) == (done.run_id, 100)
    assert found["run"]["torn_down"] is True
    assert found["version"]["digest"] == job.bundle.version.digest
    assert [said["gate"] for said in found["version"]["approvals"]] == ["review", "go-live"]
    values = f"{row['carrier']}, {row['flight']}, {row['origin']}"
    assert trace_prediction(registry, home, "flight-delay", DAY, values) == found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "UA,1",
            r"^Key 'UA,1': expected values for carrier, flight, origin\. Write carrier=\.\.\.,",
        ),
        ("carrier=UA,flight=1", r"expected values for carrier, flight, origin"),
        ("carrier=UA,flight=1,gate=B", r"expected values for carrier, flight, origin"),
        ("UA,one,EWR", r"^Key 'UA,one,EWR': .*'one'.* int64\. Check the value's type\."),
        ("", r"^Key '': expected values for"),
    ],
)
def test_a_key_that_cannot_be_read_says_what_is_expected(job: Job, text: str, message: str) -> None:
    with pytest.raises(NothingToDoError, match=message):
        parse_key(job.bundle.json("contract.json"), text)


def test_a_key_nobody_scored_is_named(home: Home, registry: Registry, score: Score) -> None:
    score(DAY)
    with pytest.raises(
        NothingToDoError,
        match=r"^Trace of 'flight-delay': no production prediction for 2013-01-14 with UA,999,EWR",
    ):
        trace_prediction(registry, home, "flight-delay", DAY, "UA,999,EWR")


def test_an_unknown_model_is_named(home: Home, registry: Registry) -> None:
    with pytest.raises(UnknownModelError):
        trace_prediction(registry, home, "churn", DAY, "UA,1,EWR")


def test_a_row_that_names_another_version_than_its_run_s_is_not_believed(
    home: Home, registry: Registry, score: Score
) -> None:
    score(DAY)
    table = lake.open_table(lake.predictions_path(home.lake, "flight-delay"))
    row = lake.read(table, lake.schema_of(table), None).to_pylist()[0]
    table.delta.update(updates={"model_version": "'1.0.1'"})
    key = f"{row['carrier']},{row['flight']},{row['origin']}"
    with pytest.raises(
        LakeError, match=r"the row says version '1\.0\.1', its run was by 1\.0\.0\."
    ):
        trace_prediction(registry, home, "flight-delay", DAY, key)
