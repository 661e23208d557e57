"""The command line as people and programs meet it: what it offers, says and answers."""

import json
import os
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.flows.conftest import (
    Demo,
    Run,
    contents_of,
    copy_home,
    processes_of,
    query_sqlite,
    query_table,
)
from tests.support.commands import COMMAND, ROOT, Ran, environment_of, run_here, run_process
from tests.support.waiting import wait_until

COMMANDS = [
    *("demo", "doctor", "up", "status"),
    *("ingest", "train", "approve", "reject", "release", "rollback"),
    *("deprecate", "revoke", "archive", "alias", "split", "verify", "score"),
    *("backfill", "pause", "resume"),
    *("monitor", "report", "models", "show", "history", "trace", "lineage", "replay"),
    *("approvers", "consumers", "notify", "audit", "gc", "quarantine", "diff", "export", "import"),
    *("search", "costs"),
]
HEAVY = ("prefect", "pandas", "numpy", "pyarrow", "deltalake", "great_expectations", "sqlalchemy")
KEY = "carrier=UA,flight=1018,origin=EWR"
DAY = "2013-02-01"
TRACE = ("trace", "flight-delay", "--date", DAY, "--key", KEY)
LINEAGE = ("lineage", "flight-delay", "--date", DAY, "--key", KEY)
RANGE = ("--start", "2013-02-01", "--end", "2013-02-02")
READING = [  # the list of models first: it is looked at more closely
    ("models",),
    *(("show", "flight-delay"), ("show", "flight-delay@champion"), ("history", "flight-delay")),
    *(("search", "late"), ("costs",), ("costs", "--by", "run"), ("audit", "head")),
    *(("audit", "export"), ("approvers", "list"), ("consumers", "list", "flight-delay")),
    *(("split", "show", "flight-delay"), ("diff", "flight-delay", "1.0.0", "1.0.1")),
    *(TRACE, LINEAGE, ("lineage", "flight-delay@1.0.0"), ("lineage", "flights", "--date", DAY)),
    ("quarantine", "flights", "--date", "2013-01-04"),
    ("backfill", "flight-delay", *RANGE, "--using", "champion", "--plan"),
    *(("report", "flight-delay", "--json"), ("gc", "--plan"), ("audit", "verify")),
]
NOT_FOR_A_LIST = {"pandas", "great_expectations"}
REVIEWER, OPERATIONS = "reviewer@example.org", "operations@example.org"
AUTHOR = "author@example.org"


def decide(verb: str, gate: str, by: str, version: str = "1.0.1") -> tuple[str, ...]:
    """Return the words of a decision."""
    words = (verb, "flight-delay", version, "--gate", gate, "--by", by)
    return (*words, "--comment", "better in July")


def test_help_lists_exactly_the_working_commands(tmp_path: Path) -> None:
    shown = run_here(tmp_path, "--help")
    assert shown.status == 0
    listed = shown.out.split("Commands:\n")[1].splitlines()
    assert [line.split()[0] for line in listed if line.strip()] == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_explains_its_options(command: str, tmp_path: Path) -> None:
    shown = run_here(tmp_path, command, "--help")
    assert shown.status == 0
    assert shown.out.startswith(f"Usage: pilotline {command}")
    assert list(tmp_path.iterdir()) == []


def test_bytes_that_are_no_text_are_wrong_use(tmp_path: Path) -> None:
    told = run_process(tmp_path, "show", "fl\udcff")
    assert (told.status, told.out) == (2, "")
    assert "Error: 'fl\\udcff' is no text in UTF-8. Type it again." in told.err
    assert list(tmp_path.iterdir()) == []


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from flows.cli import main\n"
        "try:\n    main(['--help'])\n"
        "except SystemExit:\n    pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=environment_of(tmp_path),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.strip() == "[]"


def test_reading_imports_no_orchestrator(demo: Demo) -> None:
    """Every reading command, in one process that has imported nothing yet."""
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "import sqlalchemy\n"  # which sets the level of its logger
        "from tests.support.commands import run_here\n"
        "home = Path(sys.argv[1])\n"
        f"for words in {READING!r}:\n"
        "    done = run_here(home, *words)\n"
        "    assert done.status == 0, (words, done.err)\n"
        "    found = {'prefect', *(HEAVY if words == ('models',) else ())} & set(sys.modules)\n"
        "    print(*words, sorted(found))\n"
    ).replace("HEAVY", repr(NOT_FOR_A_LIST))
    done = subprocess.run(
        [sys.executable, "-c", script, demo.home],
        cwd=ROOT,
        env=environment_of(demo.home),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines() == [f"{' '.join(words)} []" for words in READING]


def test_a_reader_that_goes_away_is_not_told_of_a_traceback(demo: Demo) -> None:
    """As ``pilotline audit export | head -1`` does."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [COMMAND, "audit", "export"],
        cwd=ROOT,
        env=environment_of(demo.home),
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


def test_exit_statuses_reach_the_shell(demo: Demo, tmp_path: Path) -> None:
    """What the tests in this process take for the status is what a shell sees, and where."""
    good = run_process(demo.home, "models")
    assert (good.status, "flight-delay" in good.out, good.err) == (0, True, "")
    refused = run_process(demo.home, "show", "nope")
    assert (refused.status, refused.out) == (1, "")
    assert refused.err.startswith("Error: ")
    wrong = run_process(tmp_path / "home", "score", "flight-delay")
    assert (wrong.status, wrong.out) == (2, "")
    assert wrong.err.startswith("Usage: pilotline score ")


def test_version_is_the_packages_own(tmp_path: Path) -> None:
    assert run_here(tmp_path, "--version").out.strip() == "pilotline, version 0.1.0"


@pytest.mark.parametrize(
    ("words", "needed"),
    [
        (("models",), ["flight-delay", "1.0.0", "2013-07-21", "arrive 15 minutes late"]),
        (("show", "flight-delay"), ["1.0.0", "champion", "1.0.1", "challenger", "registered"]),
        (
            ("show", "flight-delay@champion"),
            ["1.0.0", "approved", REVIEWER, OPERATIONS, "claimed", "roc_auc", "2013-01-25"],
        ),
        (("show", "flight-delay@~=1.0"), ["1.0.1", "only data and trained bytes changed"]),
        (("history", "flight-delay"), ["1.0.0", REVIEWER, OPERATIONS]),
        (TRACE, ["1.0.0", "probability", "lock", "distance", REVIEWER]),
        (
            (
                *("backfill", "flight-delay", "--start", "2013-02-13", "--end", "2013-02-15"),
                *("--using", "champion", "--plan"),
            ),
            ["2013-02-13 to 2013-02-14", "done", "blocked", "2013-02-15 is not ingested"],
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_reading_commands_say_it_to_people_and_to_programs(
    words: tuple[str, ...], needed: list[str], demo: Demo, read: Run
) -> None:
    before = contents_of(demo.home)
    shown, asked = read(*words), read(*words, "--json")
    assert (shown.status, asked.status) == (0, 0), shown.err + asked.err
    for text in needed:
        assert text in shown.out
    assert asked.json
    assert "server" not in shown.err + asked.err  # reading needs none
    assert contents_of(demo.home) == before


def test_show_gives_everything_about_the_champion(demo: Demo, read: Run) -> None:
    found = read("show", "flight-delay@champion", "--json").json
    assert (found["version"], found["status"]) == ("1.0.0", "approved")
    ((digest,),) = query_sqlite(
        demo.home / "registry.db", "select digest from model_version order by id limit 1"
    )
    assert found["digest"] == digest
    assert [(a["gate"], a["by"]) for a in found["approvals"]] == [
        ("review", REVIEWER),
        ("go-live", OPERATIONS),
    ]
    assert {a["digest"] for a in found["approvals"]} == {digest}
    assert {"roc_auc", "brier"} <= set(found["metrics"])
    for dataset in ("flights", "arrivals"):
        table = found["learned_from"][dataset]
        assert isinstance(table["table_version"], int)
        recorded = query_sqlite(
            demo.home / "registry.db",
            "select date, partition_digest from ingest where dataset = ? and date < '2013-02-01'",
            dataset,
        )
        digests = {day: facts["digest"] for day, facts in table["partitions"].items()}
        assert digests == dict(recorded)
        assert len(digests) == 31


def test_trace_names_version_run_partition_lock_and_the_row_itself(demo: Demo, read: Run) -> None:
    found = read(*TRACE, "--json").json
    where = "flight_date = '2013-02-01' and carrier = 'UA' and flight = 1018 and origin = 'EWR'"
    (predicted,) = query_table(
        demo.home / "lake" / "predictions" / "flight-delay",
        f"select probability, model_version, run_id from t where {where}",
    )
    assert found["prediction"] == {"probability": predicted["probability"]}
    assert found["version"]["number"] == predicted["model_version"] == "1.0.0"
    assert found["run"]["id"] == predicted["run_id"]
    assert found["run"]["torn_down"] is True
    columns = "dest, tailnum, hour, minute, distance, dep_delay"
    (source,) = query_sqlite(
        demo.home / "online.db", f"select {columns} from flights where {where}"
    )
    assert tuple(found["input"][name] for name in columns.split(", ")) == source
    ((partition, lock),) = query_sqlite(
        demo.home / "registry.db",
        "select partition_digest, lock_digest from run where id = ?",
        predicted["run_id"],
    )
    assert found["partition"]["digest"] == partition
    assert found["environment"]["lock"] == lock
    blob = next((demo.home / "blobs").rglob(f"*{lock[2:]}*"))
    assert blob.read_bytes() == (ROOT / "lab/models/flight-delay/requirements.lock").read_bytes()


def test_a_key_may_be_given_by_its_values_alone(read: Run) -> None:
    short = read("trace", "flight-delay", "--date", DAY, "--key", "UA,1018,EWR", "--json")
    assert short.json == read(*TRACE, "--json").json


def test_monitor_and_doctor_answer_programs(home: Path, pilotline: Run) -> None:
    watch = pilotline("monitor", "flight-delay", "--date", "2013-07-14", "--json").json
    assert watch["fired"] is True
    assert len(watch["windows"]) == 2
    findings = pilotline("doctor", "--json").json
    works = {finding["what"]: finding["works"] for finding in findings}
    assert all(works.values()), findings


def test_a_release_without_decisions_waits_and_leaves_no_process(
    demo: Demo, tmp_path: Path
) -> None:
    home = copy_home(demo.home, tmp_path / "home")
    waiting = run_process(home, "release", "flight-delay", "1.0.1")
    assert waiting.status == 0
    assert "waiting for review" in waiting.out
    assert (
        "pilotline approve flight-delay 1.0.1 --gate review --by reviewer@example.org"
        in waiting.out
    )
    assert f"Home: {home}" in waiting.err
    assert "temporary" in waiting.err
    assert wait_until(lambda: not processes_of(home), 5), processes_of(home)


def test_a_challenger_becomes_champion_by_two_people_and_no_other_way(
    demo: Demo, tmp_path: Path, server: str
) -> None:
    home = copy_home(demo.home, tmp_path / "home")
    # Both people may act at both gates, so that only the rule of two people is in the way.
    policy = home / "policy.toml"
    text = policy.read_text("utf-8")
    both = f'review = ["{REVIEWER}", "{OPERATIONS}"]\ngo-live = ["{OPERATIONS}", "{REVIEWER}"]'
    kept = [line for line in text.splitlines() if not line.startswith(("review", "go-live"))]
    text = "\n".join(kept).replace("[isolation]", f"{both}\n\n[isolation]")
    policy.write_text(text, "utf-8")

    def release(*more: str) -> Ran:
        words = ("release", "flight-delay", "1.0.1", *more)
        return run_process(home, *words, settings={"PREFECT_API_URL": server})

    def run(*words: str) -> Ran:
        return run_here(home, *words)

    def refused(words: tuple[str, ...], *needed: str) -> None:
        before = contents_of(home)
        done = run(*words)
        assert done.status == 1, done.out
        for part in needed:
            assert part in done.err
        assert contents_of(home) == before

    go_live = decide("approve", "go-live", OPERATIONS)
    refused(decide("approve", "review", AUTHOR), AUTHOR, "author", "Ask somebody else")
    refused(decide("approve", "review", "who@example.org"), "no approver", "The policy names")
    refused(go_live, "the review has not approved it", "pilotline release flight-delay 1.0.1")
    approved = run(*decide("approve", "review", REVIEWER))
    assert approved.status == 0
    assert f"approved at review by {REVIEWER} (claimed)" in approved.out
    again = run(*decide("approve", "review", REVIEWER))
    assert (again.status, "already" in again.out) == (0, True)
    refused(go_live, "verification has not passed", "pilotline release flight-delay 1.0.1")

    waiting = release("--json")
    assert waiting.status == 0
    assert waiting.json["reason"].startswith("waiting for go-live")
    refused(decide("approve", "go-live", REVIEWER), REVIEWER, "two people")
    refused(decide("approve", "go-live", AUTHOR), AUTHOR, "author")
    assert run(*go_live).status == 0
    promoted = release("--json")
    assert (promoted.status, promoted.json["state"]) == (0, "champion")
    refused(decide("reject", "review", REVIEWER), "champion already")
    check_history(run("history", "flight-delay", "--json").json, home)


def check_history(reigns: list[dict[str, Any]], home: Path) -> None:
    """Ask who was champion before, between and after two promotions."""
    first, second = reigns
    assert (first["version"], second["version"], second["previous"]) == ("1.0.0", "1.0.1", "1.0.0")
    moment = datetime.fromisoformat(second["effective_from"])
    eve = (moment - timedelta(milliseconds=1)).isoformat()

    def asked(*words: str) -> list[str]:
        found = run_here(home, "history", "flight-delay", "--json", *words)
        return [reign["version"] for reign in found.json]

    assert asked("--at", eve) == ["1.0.0"]
    assert asked("--at", second["effective_from"]) == ["1.0.1"]
    # At the eve the second promotion was not known, whatever moment is asked about.
    assert asked("--known-at", eve) == ["1.0.0"]
    assert asked("--at", second["effective_from"], "--known-at", eve) == ["1.0.0"]
    began = datetime.fromisoformat(first["effective_from"]).astimezone()
    assert asked("--at", f"{began:%Y-%m-%d %H:%M:%S %Z}") == ["1.0.0"]  # as history prints it


def test_a_rejection_ends_a_release(demo: Demo, tmp_path: Path, server: str) -> None:
    home = copy_home(demo.home, tmp_path / "home")
    settings = {"PREFECT_API_URL": server}
    rejected = run_here(home, *decide("reject", "review", REVIEWER))
    assert rejected.status == 0
    ended = run_process(home, "release", "flight-delay", "1.0.1", settings=settings)
    assert ended.status == 1
    assert f"rejected at review by {REVIEWER}: better in July" in ended.out
    late = run_here(home, *decide("approve", "review", REVIEWER))
    assert late.status == 1
    assert "the version is rejected" in late.err
    shown = run_here(home, "show", "flight-delay@1.0.1", "--json").json
    assert shown["status"] == "rejected"


def test_scoring_twice_scores_once_and_verify_repeats(pilotline: Run, home: Path) -> None:
    words = ("score", "flight-delay", "--date", DAY, "--json")
    before = contents_of(home)
    again = pilotline(*words)
    assert (again.status, again.json["state"]) == (0, "unchanged")
    assert contents_of(home) == before
    verified = pilotline("verify", "flight-delay", "1.0.1", "--json")
    assert (verified.status, verified.json["passed"]) == (0, True)
    names = {check["name"] for check in verified.json["checks"]}
    assert any("golden" in name for name in names)


def test_a_shadow_scores_beside_production_and_changes_nothing_there(
    pilotline: Run, home: Path
) -> None:
    table = home / "lake" / "predictions" / "flight-delay"
    sql = f"select * from t where variant = 'production' and flight_date = '{DAY}' order by 2, 3, 4"
    before = query_table(table, sql)
    done = pilotline("score", "flight-delay", "--date", DAY, "--shadow", "1.0.1", "--json")
    assert (done.status, done.json["state"], done.json["number"]) == (0, "succeeded", "1.0.1")
    assert query_table(table, sql) == before
    (shadow,) = query_table(table, "select count(*) as n from t where variant = 'shadow/1.0.1'")
    assert shadow["n"] == len(before)


def test_an_empty_home_is_told_what_to_do_first(tmp_path: Path) -> None:
    listed = run_here(tmp_path, "models")
    assert listed.status == 0
    assert "pilotline train" in listed.out
    assert json.loads(run_here(tmp_path, "models", "--json").out) == []


def test_a_screen_of_80_columns_loses_no_identifier(demo: Demo) -> None:
    """Run on a real terminal, as `script` gives one."""
    leader, follower = os.openpty()
    settings = environment_of(demo.home, {"COLUMNS": "80", "TERM": "xterm"})
    command = [str(COMMAND), "show", "flight-delay@champion"]
    with subprocess.Popen(command, cwd=ROOT, env=settings, stdout=follower) as process:
        os.close(follower)
        screen = b""
        while True:
            try:
                part = os.read(leader, 65536)
            except OSError:  # the other side closed
                break
            screen += part
    os.close(leader)
    assert process.returncode == 0
    ((digest,),) = query_sqlite(
        demo.home / "registry.db", "select digest from model_version order by id limit 1"
    )
    assert digest in screen.decode().replace("\r\n", "\n")
    assert "…" not in screen.decode()
