"""Models scored by a program of their own: in JavaScript as in Python, and programs that fail."""

import io
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from registry import Registry
from registry.versions import get_version
from tasks import program
from tasks.actuals import read_predictions
from tasks.bundle import load_bundle
from tasks.environments import Environment, built_environment
from tasks.errors import ChildError, EnvironmentBuildError, LabError
from tasks.home import Home
from tasks.job import Job, load_champion, plan_job
from tasks.model_folder import ModelFolder, load_model_folder
from tasks.predictions import predict_rows
from tasks.process import Room, collect_artifact, scoring_child, training_child
from tasks.program import SEARCHED
from tasks.replaying import replay_run
from tasks.sandbox import Tier
from tasks.scoring import score_days
from tasks.tracing import trace_prediction
from tasks.training import train_version
from tasks.version_contents import Request
from tests.support.programs import require
from tests.support.waiting import stretched
from tests.tasks.children import require_ended
from tests.tasks.conftest import (
    DAYS,
    MODEL,
    PROJECT,
    TRAINED_UNTIL,
    copy_home,
    ingest,
    lay_out,
    release,
    train,
)

DATA = Path(__file__).parent / "node_model"
COMMAND = '\n[runner]\ncommand = ["node", "score.js"]\n'
DAY = date(2013, 1, 14)
# The same pipeline, saved and asked by Python itself.
TWIN = """

def predict(model, data):
    chance = model.predict_proba(clean(data))[:, 1] if len(data) else []
    return pd.DataFrame({"probability": pd.Series(chance, data.index, "float64")})
"""
ROWS = pa.table({"x": np.arange(10.0)})
OUTPUTS = pa.schema([("probability", pa.float64())])
C = Tier("C", "asked for by the test")
# What a program in a shell begins with: it finds the control descriptor and says that it is ready.
# Opened by its path, as dash knows no descriptor above 9.
SHELL = """#!/bin/sh
fd=$(sed 's/.*"control_fd": \\([0-9]*\\).*/\\1/' "$2")
tell() { printf '%s\\n' "$1" > /proc/self/fd/$fd; }
"""
READY = """tell '{"event": "ready"}'\n"""
ANSWER = "head -c SIZE > /dev/null; cat in/reply.arrow\n"
DONE = """tell '{"event": "done", "stream": 0, "rows_in": 10, "rows_out": 10}'\n"""
REST = "cat > /dev/null\n"


@pytest.fixture(scope="session")
def node_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of score.js with what its lock names, by npm; skip where node is absent."""
    require("node", SEARCHED)
    npm = str(require("npm"))
    folder = tmp_path_factory.mktemp("node") / "runner"
    folder.mkdir()
    for name in ("package.json", "package-lock.json", "score.js"):
        shutil.copy(DATA / name, folder)
    install = [npm, "ci", "--ignore-scripts", "--no-bin-links", "--no-audit", "--no-fund"]
    done = subprocess.run(install, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def node_lab(node_program: Path, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Return a home with an empty registry, whose model is scored by score.js."""
    home = lay_out(tmp_path_factory.mktemp("node-lab"))
    folder = home.lab / "models" / MODEL
    shutil.copy(DATA / "model.py", folder)
    shutil.copytree(node_program, folder / "runner")
    with (folder / "model.toml").open("a") as file:
        file.write(COMMAND)
    return home


@pytest.fixture(scope="session")
def node_factory(node_lab: Home, tmp_path_factory: pytest.TempPathFactory, tier: Tier) -> Home:
    """Return a home in which that model went all the way to champion."""
    home = copy_home(node_lab, tmp_path_factory.mktemp("node-factory"))
    for name in ("flights", "arrivals"):
        ingest(home, name, DAYS[:15])
    release(home, tier, train(home, tier, TRAINED_UNTIL).number)
    return home


@pytest.fixture
def node_home(node_factory: Home, tmp_path: Path) -> Home:
    """Return a copy of that home that a test may change."""
    return copy_home(node_factory, tmp_path / "copy")


@pytest.fixture
def node_registry(node_home: Home) -> Iterator[Registry]:
    """Return the open registry of ``node_home``."""
    with node_home.open_registry() as opened:
        yield opened


@pytest.fixture
def node_job(node_registry: Registry) -> Job:
    """Return the job of scoring with that champion."""
    return plan_job(load_champion(node_registry, MODEL), "production", "score")


@pytest.fixture(scope="session")
def twins(node_lab: Home, workshop: Home, tier: Tier) -> tuple[dict[str, bytes], pa.ChunkedArray]:
    """Return what the model saved for score.js, and what Python predicts with the same model."""
    folder = load_model_folder(workshop.lab, MODEL)
    script = (DATA / "model.py").read_text().replace("def save(", "def write(") + TWIN
    twin = replace(folder, files={**folder.files, "model.py": script.encode()})
    lock = folder.files["requirements.lock"]
    saved = []
    for one in (load_model_folder(node_lab.lab, MODEL), twin):
        with built_environment(workshop.scratch, MODEL, lock, walled=tier.walled) as environment:
            room = Room(workshop, environment, tier)
            with training_child(room, one) as child:
                child.train(learned())
            saved.append(collect_artifact(environment, MODEL))
            if one is twin:
                predicted = predict_rows(room, one, saved[-1], features(pa.string()))
    assert [set(artifact) for artifact in saved] == [{"model.json"}, {"model.joblib"}]
    return saved[0], predicted["probability"]


def features(categories: pa.DataType) -> pa.Table:
    """Return rows with values seen and unseen, missing ones, and extremes."""
    texts = ["AA", "UA", None, "", "ZZ", "naïve ☃ \U0001f600", "AA"]
    return pa.table(
        {
            "carrier": pa.array(texts).cast(categories),
            "origin": pa.array(["EWR", "JFK", "LGA", None, "EWR", "EWR", None]).cast(categories),
            "dest": pa.array(["ATL", None, "BOS", "ORD", "null", "LAX", "ATL"]).cast(categories),
            "hour": pa.array([6, None, 22, 17, 0, -1, None], pa.int64()),
            "distance": pa.array([760, 190, None, 0, 2**53, -(2**53), 730], pa.int64()),
            "weekday": pa.array([0, 1, 2, None, 4, 5, 6], pa.int64()),
        }
    )


def learned() -> pa.Table:
    """Return rows to learn from, by a rule that needs every kind of column."""
    n = np.arange(400)
    hours = pa.array(6 + n % 17, pa.int64(), mask=n % 50 == 0)
    late = (n % 17 >= 11) ^ (n % 7 == 0) ^ (n % 11 == 0)
    return pa.table(
        {
            "carrier": np.array(["AA", "UA", "null"])[n % 3],
            "origin": np.array(["EWR", "JFK", "LGA"])[n % 7 % 3],
            "dest": np.array(["ATL", "BOS", "ORD", "LAX", "é"])[n % 11 % 5],
            "hour": hours,
            "distance": 190 + n * 37 % 2400,
            "weekday": n % 7,
            "late": late.astype(np.int64),
        }
    )


@pytest.mark.parametrize("name", ["A", "C"])
@pytest.mark.parametrize("kind", [pa.string(), pa.dictionary(pa.int32(), pa.string())])
def test_javascript_and_python_predict_the_same(
    node_lab: Home,
    twins: tuple[dict[str, bytes], pa.ChunkedArray],
    tmp_path: Path,
    kind: pa.DataType,
    name: str,
    request: pytest.FixtureRequest,
) -> None:
    tier = request.getfixturevalue("bubblewrap") if name == "A" else C
    folder, (artifact, expected) = load_model_folder(node_lab.lab, MODEL), twins
    found = predict_rows(bare_room(node_lab, tmp_path, tier), folder, artifact, features(kind))
    gaps = np.abs(found["probability"].to_numpy() - expected.to_numpy())
    assert gaps.max() <= 1e-12
    assert len(set(expected.to_pylist())) > 4


def bare_room(home: Home, place: Path, tier: Tier) -> Room:
    """Return a room without packages: a program of the model's own sees none."""
    (place / "work").mkdir(parents=True)
    return Room(home, Environment(place, place / "python", "0" * 64, 0.0, "cache"), tier)


def test_such_a_version_holds_its_program_and_is_verified_scored_replayed_and_traced(
    node_home: Home, node_registry: Registry, node_job: Job, tier: Tier
) -> None:
    roles = {file.path: file.role for file in node_job.bundle.manifest.files}
    assert roles["runner/score.js"] == "script"
    assert roles["runner/node_modules/apache-arrow/package.json"] == "script"
    (done,) = score_days(node_registry, node_home, tier, node_job, [DAY], print)
    assert (done.state, done.rows) == ("succeeded", 100)
    predicted = read_predictions(node_home, node_job, "production", DAY)
    assert len(set(predicted["probability"].to_pylist())) > 50
    row = predicted.to_pylist()[7]
    key = f"{row['carrier']},{row['flight']},{row['origin']}"
    found = trace_prediction(node_registry, node_home, MODEL, DAY, key)
    assert found["prediction"] == {"probability": row["probability"]}
    assert replay_run(node_registry, node_home, tier, done.run_id, print).equal
    assert list(node_home.scratch.iterdir()) == []


def test_another_program_is_another_version(
    node_home: Home, node_registry: Registry, node_job: Job, tier: Tier
) -> None:
    script = node_home.lab / "models" / MODEL / "runner" / "score.js"
    script.write_text(script.read_text() + "// improved\n")
    folder = load_model_folder(node_home.lab, MODEL)
    request = Request(folder, TRAINED_UNTIL, "", node_job.bundle, node_job.bundle)
    found = train_version(node_registry, node_home, tier, request, print)
    assert (found.number, found.new) == ("1.1.0", True)
    assert found.champion is not None
    assert found.champion["metrics"] == found.metrics
    with node_registry.read() as session:
        bundle = load_bundle(node_registry, get_version(session, MODEL, "1.1.0"))
    assert "runner/ 0 added, 1 changed, 0 removed." in bundle.files["notes.md"].decode()


@pytest.fixture
def converse(blank: Home, tmp_path: Path, tier: Tier) -> Iterator[Callable[..., str]]:
    """Return a function that has ten rows scored by a shell script, and returns its log."""

    def conversed(script: str, tier: Tier = tier, deadline_s: float | None = None) -> str:
        base = load_model_folder(blank.lab, MODEL)
        spec = replace(
            base.spec,
            command=("./score", "--quiet"),
            budget=replace(base.spec.budget, deadline_s=deadline_s or stretched(30)),
        )
        text = (SHELL + script).replace("SIZE", str(len(stream(ROWS))))
        answer = pa.table({"probability": ROWS["x"]}).cast(OUTPUTS)
        files = {"runner/score": text.encode(), "runner/in/reply.arrow": stream(answer)}
        folder = ModelFolder(spec, {**base.files, **files})
        room = bare_room(blank, tmp_path / "place", tier)
        with scoring_child(room, folder, {}) as child:
            batches = ROWS.to_batches(max_chunksize=5)
            found = list(child.score(batches, ROWS.schema, OUTPUTS))
        assert pa.Table.from_batches(found)["probability"].to_pylist() == list(range(10))
        return child.log_tail()

    yield conversed
    require_ended(tmp_path)


def stream(rows: pa.Table) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        for batch in rows.to_batches(max_chunksize=5):
            writer.write_batch(batch)
    return sink.getvalue()


@pytest.mark.parametrize("name", ["A", "C"])
def test_a_program_of_the_model_s_own_is_limited_and_sees_only_its_places(
    converse: Callable[..., str],
    name: str,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PILOTLINE_SECRET", "password")
    tier = request.getfixturevalue("bubblewrap") if name == "A" else C
    looks = 'echo "$1 $(ulimit -d) $(ulimit -c) $(ulimit -f) $(pwd) $(env | tr "\\n" " ")" >&2\n'
    writes = "{ echo more >> score; } 2> /dev/null && echo written >&2\n"
    log = converse(READY + looks + writes + ANSWER + DONE + REST, tier)
    place = "/model/runner" if name == "A" else "/place/model/runner"
    # 1,024 MiB of the budget in KiB, no core, 1 GiB in blocks of 512 bytes.
    assert re.match(rf"--quiet 1048576 0 2097152 \S*{place} ", log)
    assert " PATH=/usr/bin:/bin " in log
    assert "PILOTLINE_SECRET" not in log
    assert log.endswith("written") == (name == "C")  # which is no boundary


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("exit 0\n", r"ended early: "),
        (READY + "exit 0\n", r"ended early: "),
        ("exit 3\n", r"ended with status 3\."),
        ("kill -KILL $$\n", r"was killed, perhaps for memory"),
        (ANSWER + DONE + REST, r"said done before ready"),
        (READY + ANSWER, r"ended early: its stream ended before it said it was done"),
        (READY + ANSWER + REST, r"broke the protocol: its stream ended before it said it was done"),
        (
            READY + ANSWER + DONE.replace('in": 10', 'in": 9') + REST,
            r"gave 10 rows for 10, and said it was 10 for 9\.",
        ),
        (
            READY + ANSWER + DONE.replace('"rows_in": 10, "rows_out": 10', '"rows_in": []') + REST,
            r"gave 10 rows for 10, and said it was None for \[\]\.",
        ),
        (READY + ANSWER + DONE.replace('stream": 0', 'stream": 1'), r"ended early: "),
        (
            READY + "echo loading\n" + ANSWER + DONE + REST,
            r"wrote b'loading.*' to fd 1 where an Ar",
        ),
        (READY + "cat in/reply.arrow | head -c 300; head -c 900 /dev/zero\n", r"ended early: "),
        (READY + DONE + "exit 0\n", r"ended early: "),
        (
            READY + ANSWER + 'tell \'{"event": "error", "stream": 0, "where": "score", '
            '"type": "Boom", "message": "no such gate"}\'\n' + REST,
            r"score raised Boom: no such gate\.",
        ),
        (READY + ANSWER + DONE + "trap '' TERM; sleep 60\n", r"broke the protocol: it went on af"),
        (READY + ANSWER + DONE + "exit 4\n", r"ended with status 4\."),
    ],
)
def test_a_program_that_breaks_the_protocol_is_an_error_in_words(
    converse: Callable[..., str], script: str, message: str
) -> None:
    with pytest.raises(ChildError, match=rf"^Model 'flight-delay': .*{message}"):
        converse(script)


@pytest.mark.parametrize("name", ["A", "C"])
@pytest.mark.parametrize("script", ["", READY, READY + "head -c 100 in/reply.arrow\n"])
def test_a_program_that_ignores_sigterm_is_ended_at_its_deadline(
    converse: Callable[..., str], script: str, name: str, request: pytest.FixtureRequest
) -> None:
    tier = request.getfixturevalue("bubblewrap") if name == "A" else C
    with pytest.raises(ChildError, match=r"did not finish within its deadline of 2 s\."):
        converse("trap '' TERM\n" + script + "while :; do sleep 1; done\n", tier, deadline_s=2.0)


@pytest.fixture
def own_lab(blank: Home, tmp_path: Path) -> Path:
    """Return a lab with a model that has a program of its own."""
    shutil.copytree(blank.lab / "models", tmp_path / "lab" / "models")
    folder = tmp_path / "lab" / "models" / MODEL
    shutil.copy(DATA / "model.py", folder)
    (folder / "runner").mkdir()
    shutil.copy(DATA / "score.js", folder / "runner")
    with (folder / "model.toml").open("a") as file:
        file.write(COMMAND)
    return tmp_path / "lab"


def test_a_folder_with_a_program_is_read_whole(own_lab: Path) -> None:
    (own_lab / "models" / MODEL / "runner" / "deep" / "er").mkdir(parents=True)
    (own_lab / "models" / MODEL / "runner" / "deep" / "er" / ".data").write_bytes(b"\0")
    folder = load_model_folder(own_lab, MODEL)
    assert folder.spec.command == ("node", "score.js")
    assert folder.files["runner/deep/er/.data"] == b"\0"
    assert folder.files["runner/score.js"] == (DATA / "score.js").read_bytes()


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("[]", r"model\.toml \[runner\]: command is \[\]\. Write command = "),
        ('["node", ""]', r"command is \['node', ''\]\. "),
        ('"node score.js"', r"'command' is 'node score\.js', expected list"),
        ('["/usr/bin/node"]', r"command starts '/usr/bin/node'\. Write the name of a program in"),
        ('["../node"]', r"command starts '\.\./node'"),
        ('["./score.py"]', r"runner/score\.py: the file is missing\. The \[runner\] command runs"),
        ('["node"]\nfiles = []', r"unknown key 'files'\. Known: command\."),
    ],
)
def test_a_command_that_cannot_be_is_refused(own_lab: Path, written: str, message: str) -> None:
    config = own_lab / "models" / MODEL / "model.toml"
    config.write_text(config.read_text().replace('["node", "score.js"]', written))
    with pytest.raises(LabError, match=message):
        load_model_folder(own_lab, MODEL)


def test_a_link_is_no_file_of_a_program(own_lab: Path) -> None:
    (own_lab / "models" / MODEL / "runner" / "node_modules").symlink_to("/usr/share")
    with pytest.raises(LabError, match=r"/runner/node_modules: no plain file\. Keep plain files"):
        load_model_folder(own_lab, MODEL)


def test_more_files_than_a_version_keeps_are_refused(
    own_lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "MAX_BYTES", 100)
    with pytest.raises(LabError, match=r"holds more than 10,000 files or 0 MiB\. Bundle the pro"):
        load_model_folder(own_lab, MODEL)


def test_a_program_without_a_folder_and_a_folder_without_a_command_are_refused(
    own_lab: Path,
) -> None:
    folder = own_lab / "models" / MODEL
    (folder / "runner").rename(folder / "away")
    with pytest.raises(LabError, match=r"/runner/: the folder is missing\. Put the program there"):
        load_model_folder(own_lab, MODEL)
    (folder / "away").rename(folder / "runner")
    script = (DATA / "model.py").read_text() + TWIN
    (folder / "model.py").write_text(script.replace("def save(", "def write("))
    config = (folder / "model.toml").read_text()
    (folder / "model.toml").write_text(config.replace(COMMAND, ""))
    with pytest.raises(LabError, match=r"/runner/: model\.toml has no \[runner\]\. Name its com"):
        load_model_folder(own_lab, MODEL)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("def save(", "def keep(", r"no function 'save'\. Define train and save at top level"),
        ("def clean(", "def features(", r"defines features\. The \[runner\] program gets the rows"),
    ],
)
def test_a_script_that_its_program_cannot_follow_is_refused(
    own_lab: Path, old: str, new: str, message: str
) -> None:
    path = own_lab / "models" / MODEL / "model.py"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(LabError, match=message):
        load_model_folder(own_lab, MODEL)


def test_a_machine_without_the_program_says_so_and_where_it_looked() -> None:
    with pytest.raises(
        EnvironmentBuildError,
        match=r"^Environment of 'churn': its \[runner\] command runs 'no-such-program', which is "
        r"not in /usr/bin:/bin of this machine\. Install it there, or keep the program in runner/",
    ):
        program.require_program("churn", ("no-such-program",))
    program.require_program("churn", ("sh",))
    program.require_program("churn", ("./built",))


def test_the_bytes_on_the_page_are_those_its_commands_give(tmp_path: Path) -> None:
    text = (PROJECT / "docs" / "reference" / "protocol.md").read_text("utf-8")
    page = "".join(re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    commands = re.findall(r"^\$ (.*)\n", page, re.MULTILINE)
    assert len(commands) == 6
    said = "".join(f"printf '%s\\n' {shlex.quote('$ ' + line)}\n{line}\n" for line in commands)
    # The page writes to /tmp; so that two tests at once do not meet, here it is another folder.
    script = re.sub(
        r"^(?!printf).*$", lambda m: m[0].replace("/tmp", str(tmp_path)), said, flags=re.M
    )
    done = subprocess.run(
        ["bash", "-ec", script],
        cwd=PROJECT,
        env={"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    pattern = re.escape(page).replace(re.escape("..."), r"\S.*")
    assert re.fullmatch(pattern, done.stdout)
