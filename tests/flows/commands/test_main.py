"""The command line as people and programs meet it: what it offers, says and answers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from pilotline.flows.commands.main import COMMANDS as TABLE
from pilotline.flows.commands.main import main
from tests.flows.conftest import Demo, Run, contents_of, query_sqlite, query_table
from tests.support.commands import COMMAND, environment_of, run_here, run_process
from tests.support.places import ROOT

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


@pytest.mark.parametrize("name", COMMANDS)
def test_the_table_of_commands_has_each_ones_own_words(name: str) -> None:
    listed = click.Command(name, help=TABLE[name].help)
    command = main.get_command(click.Context(main), name)
    assert command is not None
    assert command.name == name
    assert command.get_short_help_str(1000) == listed.get_short_help_str(1000)


def test_bytes_that_are_no_text_are_wrong_use(tmp_path: Path) -> None:
    told = run_process(tmp_path, "show", "fl\udcff")
    assert (told.status, told.out) == (2, "")
    assert "Error: 'fl\\udcff' is no text in UTF-8. Type it again." in told.err
    assert list(tmp_path.iterdir()) == []


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from pilotline.flows.commands.main import main\n"
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
