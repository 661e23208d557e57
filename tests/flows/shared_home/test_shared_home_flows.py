"""Flows on PostgreSQL and S3: a day in parts, a replay, what the doctor tries.

What is expected is counted in the database and the bucket themselves.
"""

import pytest

from tests.flows.conftest import DEMO_LIMIT_S, predictions_in
from tests.support.flows.shared_homes import Shared
from tests.support.waiting import stretched

# Whoever comes first runs the demo there, the others wait for it.
pytestmark = pytest.mark.timeout(stretched(2 * DEMO_LIMIT_S))

MODEL = "flight-delay"
DAY = "2013-02-01"
UNSCORED = "2013-01-10"  # ingested by the demo, and not scored
KEY = "carrier=UA,flight=1018,origin=EWR"


def test_a_day_in_parts_comes_into_the_bucket_whole(there: Shared, server: str) -> None:
    policy = there.home / "policy.toml"
    before = policy.read_text("utf-8")
    policy.write_text(f"{before}\n[scoring]\nshard_rows = 100\nworkers = 2\n", "utf-8")
    try:
        done = there.run(
            "score", MODEL, "--date", UNSCORED, "--json", settings={"PREFECT_API_URL": server}
        )
    finally:
        policy.write_text(before, "utf-8")
    assert done.status == 0, done.err
    assert done.json["resources"]["shards"] >= 1
    parts = [key for key in there.list_objects() if "/parts/" in key]
    assert len(parts) == len(set(parts)) >= 1
    ((accepted,),) = there.query(
        f"select accepted from ingest where date = '{UNSCORED}' and dataset = 'flights'"
    )
    lake, where = there.settings["PILOTLINE_LAKE"], f"flight_date = date '{UNSCORED}'"
    assert len(predictions_in(lake, where, there.s3.environment)) == accepted
    assert list((there.home / "scratch").iterdir()) == []


def test_a_recorded_run_is_replayed_equal(there: Shared, server: str) -> None:
    ((run, rows),) = there.query(
        "select r.id, o.rows from run r join run_outcome o on o.run_id = r.id "
        f"where r.date = '{DAY}'"
    )
    done = there.run("replay", run, "--json", settings={"PREFECT_API_URL": server})
    assert (done.status, done.json["equal"]) == (0, True), done.err
    assert done.json["figures"]["replayed"] == rows


def test_the_doctor_tries_both_servers(there: Shared, server: str) -> None:
    done = there.run("doctor", settings={"PREFECT_API_URL": server})
    assert done.status == 0, done.out
    for needed in ("Python", "postgresql, schema up to date", "written and read back in s3://"):
        assert needed in done.out
