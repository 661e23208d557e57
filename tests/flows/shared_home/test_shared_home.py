"""Every command of the record on PostgreSQL and S3, after the demo, as a team would share them.

That demo was stopped by Ctrl-C in the middle, and run to its end by the next one.

What is expected is counted in the database and the bucket themselves.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.flows.conftest import DEMO_LIMIT_S, Demo, Run, predictions_in, predictions_of
from tests.support.commands import run_here
from tests.support.flows.shared_homes import Shared
from tests.support.places import ROOT
from tests.support.waiting import stretched

# Whoever comes first runs the demo there, the others wait for it.
pytestmark = pytest.mark.timeout(stretched(2 * DEMO_LIMIT_S))

MODEL = "flight-delay"
DAY = "2013-02-01"
UNSCORED = "2013-01-10"  # ingested by the demo, and not scored
KEY = "carrier=UA,flight=1018,origin=EWR"
REVIEWER, OPERATIONS = "reviewer@example.org", "operations@example.org"
VERIFY = ROOT / "docs" / "reference" / "verify_chain.py"


def test_the_demo_ends_as_on_a_home_of_its_own(there: Shared, read: Run) -> None:
    found = there.ask("show", MODEL)
    versions = [(v["version"], v["status"], v["aliases"]) for v in found["versions"]]
    assert versions == [
        ("1.0.0", "approved", ["champion"]),
        ("1.0.1", "registered", ["challenger"]),
    ]
    assert there.query("select count(*) from run_outcome where state = 'succeeded'") == [(35,)]
    challengers = [
        there.ask("show", f"{MODEL}@challenger"),
        read("show", f"{MODEL}@challenger", "--json").json,
    ]
    assert challengers[0]["metrics"] == challengers[1]["metrics"]
    warned = "the demo's approvals are names only, and go into the shared registry postgresql"
    assert warned in there.progress


def test_ctrl_c_leaves_a_home_from_which_the_next_run_continued(there: Shared) -> None:
    interrupted = there.interrupted
    assert interrupted is not None
    assert interrupted.status == 130
    assert "Interrupted" in interrupted.said[-1]
    assert not any("Traceback" in line for line in interrupted.said)
    assert interrupted.left == []


def test_nothing_of_the_registry_and_the_lake_lies_in_the_home(there: Shared) -> None:
    left = {path.name for path in there.home.iterdir()}
    assert not left & {"registry.db", "blobs", "lake"}
    assert list((there.home / "scratch").iterdir()) == []
    blobs = [key for key in there.list_objects() if key.startswith("blobs/")]
    assert len(blobs) > 20


def test_the_predictions_are_those_of_a_lake_in_a_folder(there: Shared, demo: Demo) -> None:
    here = predictions_of(demo.home)
    assert len(here) > 20_000
    assert predictions_in(there.settings["PILOTLINE_LAKE"], settings=there.s3.environment) == here


@pytest.mark.parametrize(
    ("words", "needed"),
    [
        (("models",), [MODEL, "1.0.0", "2013-07-21"]),
        (("show", f"{MODEL}@champion"), ["1.0.0", "approved", REVIEWER, OPERATIONS, "claimed"]),
        (("history", MODEL), ["1.0.0", REVIEWER, OPERATIONS]),
        (("search", "late", "--feature", "dest"), ["Models found: 1", MODEL, "1.0.0"]),
        (("search", "--metric", "roc_auc>=0.5", "--sort", "usage"), ["Models found: 1", MODEL]),
        (("diff", MODEL, "1.0.0", "1.0.1"), ["1.0.0 -> 1.0.1", "only data", "roc_auc"]),
        (("lineage", f"{MODEL}@1.0.0"), ["learned from flights 2013-01-01", "flight-delay 1.0.1"]),
        (("lineage", "flights", "--date", DAY), ["scored it, production by flight-delay 1.0.0"]),
        (("lineage", MODEL, "--date", DAY, "--key", KEY), ["probability 0.", "ingested"]),
        (("trace", MODEL, "--date", DAY, "--key", KEY), ["1.0.0", "probability", REVIEWER]),
        (("audit", "verify"), ["every chain verifies"]),
        (("audit", "head"), [f"{MODEL} "]),
        (("gc", "--plan"), ["would remove 0 blobs"]),
        (("approvers", "list"), [REVIEWER, "review", OPERATIONS, "go-live"]),
        (("consumers", "list", MODEL), [f"No consumer of {MODEL} is registered"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_reading_commands_say_it_to_people_and_to_programs(
    words: tuple[str, ...], needed: list[str], there: Shared
) -> None:
    before = there.query("select count(*), max(id) from event")
    shown = there.run(*words)
    assert shown.status == 0, shown.err
    for part in needed:
        assert part in shown.out
    assert there.ask(*words) is not None
    assert there.query("select count(*), max(id) from event") == before


def test_a_prediction_is_traced_to_the_run_that_the_database_names(there: Shared) -> None:
    ((run, lock),) = there.query(
        "select run.id, lock_digest from run join scored_partition s on s.visible_run = run.id "
        f"where s.date = '{DAY}'"
    )
    found = there.ask("trace", MODEL, "--date", DAY, "--key", KEY)
    assert (found["run"]["id"], found["environment"]["lock"]) == (run, lock)
    locks = (ROOT / "lab" / "models" / MODEL / "requirements.lock").read_bytes()
    assert there.get_object(f"blobs/{lock[:2]}/{lock}") == locks


def test_the_audit_counts_what_database_and_bucket_hold(there: Shared) -> None:
    found = there.ask("audit", "verify")
    ((events, chains),) = there.query("select count(*), count(distinct chain) from event")
    assert (found["sound"], found["events"], found["chains"]) == (True, events, chains)
    stored = [key for key in there.list_objects() if re.fullmatch(r"blobs/../[0-9a-f]{64}", key)]
    plan = there.ask("gc", "--plan")
    assert plan["kept"] + plan["young"] + len(plan["removed"]) == len(stored)


def test_the_exported_chain_is_verified_without_pilotline(there: Shared, tmp_path: Path) -> None:
    events = tmp_path / "events.jsonl"
    events.write_text(there.run("audit", "export").out, "utf-8")
    heads = {head["chain"]: head for head in there.ask("audit", "head")}
    command = [sys.executable, VERIFY, events, *(head["hash"] for head in heads.values())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for chain, head in heads.items():
        assert f"{chain}: {head['seq']} events, head {head['hash']}" in done.stdout
    assert there.run("audit", "verify", "--head", heads[MODEL]["hash"]).status == 0
    lost = there.run("audit", "verify", "--head", "0" * 64)
    assert lost.status == 1
    assert "0" * 12 in lost.err


def test_a_row_changed_by_an_administrator_is_found_and_not_scored(there: Shared) -> None:
    def change(author: str) -> None:
        with there.connected() as connection:
            connection.execute(text("ALTER TABLE model_version DISABLE TRIGGER USER"))
            connection.execute(text("update model_version set author = :a"), {"a": author})
            connection.execute(text("ALTER TABLE model_version ENABLE TRIGGER USER"))

    ((author,),) = there.query("select distinct author from model_version")
    change("mallory@example.org")
    try:
        found = there.run("audit", "verify", "--json")
        assert (found.status, found.json["sound"]) == (1, False)
        assert "mallory@example.org" in found.json["problem"]
    finally:
        change(author)
    assert there.run("audit", "verify").status == 0


def test_a_model_moves_to_a_home_of_its_own_with_its_history(there: Shared, tmp_path: Path) -> None:
    archive, own_home = tmp_path / "model.tar.gz", tmp_path / "own"
    own_home.mkdir()
    shutil.copy(ROOT / "deployments" / "policy-demo.toml", own_home / "policy.toml")
    written = there.ask("export", MODEL, "--out", str(archive))
    ((events,),) = there.query(f"select count(*) from event where chain = '{MODEL}'")
    assert (written["versions"], written["events"]) == (2, events)
    again = there.run("export", MODEL, "--out", str(archive))
    assert (again.status, "exists already" in again.err) == (1, True)

    imported = run_here(own_home, "import", str(archive), "--json")
    assert imported.status == 0, imported.err
    assert (imported.json["new"], imported.json["head"]) == (True, written["head"])
    assert "nothing to do" in run_here(own_home, "import", str(archive)).out
    assert run_here(own_home, "history", MODEL, "--json").json == there.ask("history", MODEL)
    assert run_here(own_home, "audit", "verify", "--head", written["head"]).status == 0
    back = there.run("import", str(archive))
    assert (back.status, "nothing to do" in back.out) == (0, True)


@pytest.mark.parametrize(
    ("setting", "value", "named"),
    [
        ("PILOTLINE_REGISTRY_URL", "postgresql://factory:{}@127.0.0.1:1/none", "127.0.0.1:1"),
        ("PILOTLINE_REGISTRY_URL", "mysql://factory:{}@127.0.0.1:1/none", "PILOTLINE_REGISTRY_URL"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:1", "s3://"),
    ],
    ids=["no database", "no kind of database", "no S3"],
)
def test_a_server_that_is_not_there_is_told_without_its_password(
    setting: str, value: str, named: str, there: Shared
) -> None:
    done = there.run("show", f"{MODEL}@champion", settings={setting: value.format("Quoted-Secret")})
    assert done.status == 1, done.out
    assert done.err.startswith("Error: ")
    assert named in done.err
    assert "Quoted-Secret" not in done.err
    assert "Traceback" not in done.err


def test_no_credential_was_kept_anywhere(there: Shared) -> None:
    """Not in the home, the bucket and the database; what was said was looked at when it was."""
    assert there.find_secrets() == []
