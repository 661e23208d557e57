"""Models scored by a program of their own, here in a shell: what it sees, and how it may fail."""

import io
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pytest

from pilotline.tasks.errors import ChildError, EnvironmentBuildError, LabError
from pilotline.tasks.home import Home
from pilotline.tasks.lab import programs as program
from pilotline.tasks.lab.models import ModelFolder, load_model_folder
from pilotline.tasks.sandbox.launching import scoring_child
from pilotline.tasks.sandbox.walls import Tier
from tests.support.places import ROOT
from tests.support.tasks.children import require_ended
from tests.support.tasks.foreign import COMMAND, DATA, TWIN, C, bare_room
from tests.support.waiting import stretched
from tests.tasks.conftest import MODEL

ROWS = pa.table({"x": np.arange(10.0)})
OUTPUTS = pa.schema([("probability", pa.float64())])
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


class Converse(Protocol):
    """Has ten rows scored by a shell script."""

    def __call__(self, script: str, tier: Tier = ..., deadline_s: float | None = None) -> str:
        """Return its log."""


@pytest.fixture
def converse(blank: Home, tmp_path: Path, tier: Tier) -> Iterator[Converse]:
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
    converse: Converse,
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
    converse: Converse, script: str, message: str
) -> None:
    with pytest.raises(ChildError, match=rf"^Model 'flight-delay': .*{message}"):
        converse(script)


@pytest.mark.parametrize("name", ["A", "C"])
@pytest.mark.parametrize("script", ["", READY, READY + "head -c 100 in/reply.arrow\n"])
def test_a_program_that_ignores_sigterm_is_ended_at_its_deadline(
    converse: Converse, script: str, name: str, request: pytest.FixtureRequest
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
    text = (ROOT / "docs" / "reference" / "protocol.md").read_text("utf-8")
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
        cwd=ROOT,
        env={"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    pattern = re.escape(page).replace(re.escape("..."), r"\S.*")
    assert re.fullmatch(pattern, done.stdout)
