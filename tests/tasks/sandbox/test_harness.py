"""Models that misbehave, each run by a real child: a sensible message, and nothing left over."""

import json
import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pytest

from pilotline.tasks.errors import ChildError
from pilotline.tasks.home import Home
from pilotline.tasks.lab.models import ModelFolder, load_model_folder
from pilotline.tasks.sandbox import harness
from pilotline.tasks.sandbox.child import LOG_TAIL_BYTES
from pilotline.tasks.sandbox.environments import built_environment
from pilotline.tasks.sandbox.launching import Room, collect_artifact, scoring_child, training_child
from pilotline.tasks.sandbox.predictions import refuse_not_finite
from pilotline.tasks.sandbox.walls import Tier
from tests.support.tasks.children import require_ended
from tests.support.waiting import stretched
from tests.tasks.conftest import copy_home

ROWS = pa.table({"x": np.arange(10.0), "name": ["a", "b"] * 5})
OUTPUTS = pa.schema([("probability", pa.float64())])
SCRIPT = """
import ctypes, os, signal, socket, subprocess, sys, time
import numpy as np
import pandas as pd

def load(folder):
    return 0.5

def answer(data, value=0.5):
    return pd.DataFrame({"probability": value}, index=data.index)

def predict(model, data):
    BODY
"""
# Environments stay links into the cache, also without a wall: no script here writes into one.
C = Tier("C", "asked for by the test")
NOT_IN_TIME = r"did not finish within its deadline of [\d.]+ s"
SLEEP_S = 600  # what scripts here sleep that never end by themselves


@dataclass(frozen=True)
class Performance:
    """What a child gave back."""

    predicted: pa.Table
    log: str
    cpu_s: float
    peak_mib: float


class MakeFolder(Protocol):
    """Makes the folder of a model with a script of its own."""

    def __call__(
        self, script: str, deadline_s: float | None = None, memory_mib: int = 2048
    ) -> ModelFolder:
        """Return the folder."""


class Perform(Protocol):
    """Lets the body of a predict answer ten rows in two batches."""

    def __call__(
        self, body: str, tier: Tier = ..., deadline_s: float | None = None, memory_mib: int = 2048
    ) -> Performance:
        """Return what the child gave back."""


@pytest.fixture
def tiny(workshop: Home) -> MakeFolder:
    """Return a maker of model folders with a script of its own."""

    def made(script: str, deadline_s: float | None = None, memory_mib: int = 2048) -> ModelFolder:
        folder = load_model_folder(workshop.lab, "flight-delay")
        budget = replace(
            folder.spec.budget, deadline_s=deadline_s or stretched(30), memory_mib=memory_mib
        )
        files = {**folder.files, "model.py": script.encode()}
        return replace(folder, files=files, spec=replace(folder.spec, budget=budget))

    return made


@pytest.fixture
def place(workshop: Home, tmp_path: Path) -> Iterator[Home]:
    """Return a home, and check after the test that no process and no folder of a run is left."""
    home = copy_home(workshop, tmp_path / "copy")
    yield home
    require_ended(home.root)
    assert list(home.scratch.iterdir()) == []


@pytest.fixture
def perform(place: Home, tiny: MakeFolder, tier: Tier) -> Perform:
    """Return a function that lets the body of a predict answer ten rows in two batches."""

    def performed(
        body: str, tier: Tier = tier, deadline_s: float | None = None, memory_mib: int = 2048
    ) -> Performance:
        script = SCRIPT.replace("BODY", body.strip().replace("\n", "\n    "))
        folder = tiny(script, deadline_s, memory_mib)
        lock = folder.files["requirements.lock"]
        with built_environment(place.scratch, folder.spec.name, lock) as environment:
            with scoring_child(Room(place, environment, tier), folder, {}) as child:
                batches = ROWS.to_batches(max_chunksize=5)
                predicted = list(child.score(batches, ROWS.schema, OUTPUTS))
                table = pa.Table.from_batches(predicted, OUTPUTS)
                refuse_not_finite(folder.spec.name, table, child.log_tail())
            return Performance(table, child.log_tail(), child.usage.cpu_s, child.usage.peak_mib)

    return performed


@pytest.mark.parametrize("name", ["A", "C"])
def test_a_model_that_behaves_is_answered_in_order(
    perform: Perform, name: str, request: pytest.FixtureRequest
) -> None:
    tier = request.getfixturevalue("bubblewrap") if name == "A" else C
    found = perform("return answer(data, data['x'] / 10)", tier)
    assert found.predicted["probability"].to_pylist() == [x / 10 for x in range(10)]
    assert found.cpu_s > 0
    assert found.peak_mib > 10


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("raise ValueError('no such gate')", r"predict raised ValueError: no such gate\. Mend"),
        ("return answer(data).head(3)", r"predict raised ValueError: predict gave 3 rows for 5"),
        ("return pd.concat([answer(data)] * 2)", r"ValueError: predict gave 10 rows for 5"),
        ("return answer(data, float('nan'))", r"gave 10 predictions in 'probability' that are m"),
        ("return answer(data, np.where(data['x'] > 8, np.inf, 0))", r"gave 1 predictions in 'pr"),
        ("return answer(data).rename(columns={'probability': 'p'})", r"gave columns \['p'\], exp"),
        ("return answer(data).assign(more=1)", r"gave columns \['probability', 'more'\], expect"),
        ("return answer(data, 'high')", r"predict gave 'probability' as .*string, expected double"),
        ("return answer(data, 1)", r"predict gave 'probability' as int64, expected double"),
        ("return answer(data)[::-1]", r"predict changed the order of rows; keep the index"),
        ("return None", r"predict raised TypeError: "),
        ("sys.exit(0)", r"raised SystemExit: 0"),
        ("os._exit(0)", r"ended early: "),
        ("os._exit(7)", r"ended with status 7\."),
        ("os.kill(os.getpid(), signal.SIGKILL)", r"was killed, perhaps for memory"),
        ("ctypes.string_at(0)", r"crashed with a segmentation fault"),
        ("if data['x'].max() > 5: os._exit(0)\nreturn answer(data)", r"ended early: "),
        ("if data['x'].max() > 5: raise KeyError(5)\nreturn answer(data)", r"raised KeyError: 5"),
        ("b = bytearray(9 << 30)\nreturn answer(data)", r"predict raised MemoryError"),
        ("return answer(data, sys.setrecursionlimit)", r"predict raised Arrow\w+: "),
        ("return predict(model, data)", r"predict raised RecursionError"),
    ],
)
def test_a_model_that_misbehaves_is_an_error_in_words(
    perform: Perform, body: str, message: str
) -> None:
    with pytest.raises(ChildError, match=message) as caught:
        perform(body)
    assert str(caught.value).startswith("Model 'flight-delay': ")


@pytest.mark.parametrize("body", ["os._exit(0)", "ctypes.string_at(0)", "b = bytearray(9 << 30)"])
def test_the_same_holds_without_a_wall(perform: Perform, body: str) -> None:
    with pytest.raises(ChildError, match=r"ended early|segmentation fault|MemoryError"):
        perform(body, C)


@pytest.mark.parametrize(
    "body",
    [
        "time.sleep(600)",
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: pass",
        # A grandchild keeps the pipes open after the model is gone.
        "if os.fork() == 0: time.sleep(600)\nos._exit(0)",
        "if os.fork() == 0:\n    os.setsid()\n    time.sleep(600)\nos._exit(0)",
    ],
)
def test_a_model_that_does_not_end_is_ended_at_its_deadline(
    bubblewrap: Tier, perform: Perform, body: str
) -> None:
    started = time.monotonic()
    with pytest.raises(ChildError, match=f"{NOT_IN_TIME}|ended early"):
        perform(body, bubblewrap, deadline_s=stretched(2))
    assert time.monotonic() - started < SLEEP_S


@pytest.mark.parametrize(
    "body",
    [
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(600)",
        "if os.fork() == 0: time.sleep(600)\nos._exit(0)",
    ],
)
def test_a_model_without_a_wall_is_ended_at_its_deadline_too(perform: Perform, body: str) -> None:
    with pytest.raises(ChildError, match=f"{NOT_IN_TIME}|ended early"):
        perform(body, C, deadline_s=stretched(3))


@pytest.mark.parametrize("name", ["A", "C"])
def test_a_process_that_a_model_left_behind_ends_with_it(
    perform: Perform, name: str, request: pytest.FixtureRequest
) -> None:
    tier = request.getfixturevalue("bubblewrap") if name == "A" else C
    body = "subprocess.Popen(['/bin/sleep', '60'])\nreturn answer(data)"
    assert perform(body, tier).predicted.num_rows == 10


def test_what_a_model_prints_is_its_log_and_no_prediction(
    perform: Perform,
) -> None:
    body = "print('a thought')\nos.write(1, b'\\x00raw\\n')\nos.system('echo aloud')\n"
    found = perform(body + "return answer(data)")
    assert found.predicted["probability"].to_pylist() == [0.5] * 10
    assert {"a thought", "\x00raw", "aloud"} <= set(found.log.splitlines())


def test_a_flood_of_log_is_bounded(perform: Perform) -> None:
    body = "for n in range(2000): os.write(2, b'x' * 10_000)\nprint('the end')\nreturn answer(data)"
    log = perform(body).log
    assert log.endswith("the end")
    assert len(log) <= LOG_TAIL_BYTES


def test_a_model_behind_the_wall_reaches_nothing(
    bubblewrap: Tier,
    perform: Perform,
    place: Home,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("PILOTLINE_SECRET", "password")
    (place.root / "registry.db").write_bytes(b"everything")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        tries = [
            f"socket.create_connection(('127.0.0.1', {port}), 2)",
            "socket.create_connection(('192.0.2.1', 80), 2)",
            "os.environ['PILOTLINE_SECRET']",
            f"open('/proc/{os.getpid()}/environ', 'rb').read().index(b'password')",
            "open(f'/proc/{os.getppid()}/environ', 'rb').read().index(b'password')",
            f"open({str(place.root / 'registry.db')!r})",
            f"open({str(tmp_path / 'out')!r}, 'w')",
            "open('/model/model.py', 'a')",
            "open('/work/settings.json', 'a')",
            "open('/env/bin/new', 'w')",
            "open('/usr/new', 'w')",
            "open('/etc/passwd')",
            f"os.kill({os.getpid()}, 0)",
        ]
        body = ""
        for number, attempt in enumerate(tries):
            body += f"try:\n    {attempt}\n    print('did {number}')\n"
            body += f"except Exception as err: print('no {number}', type(err).__name__)\n"
        # The log keeps twelve lines: those of the second batch tell.
        log = perform(body.replace("print('no", "0 and print('no") + "return answer(data)").log
    assert log == ""
    assert not (tmp_path / "out").exists()


def test_a_model_may_write_to_its_own_temporary_folder(bubblewrap: Tier, perform: Perform) -> None:
    body = "open('/tmp/x', 'w').write('y')\nprint(open('/tmp/x').read())\nreturn answer(data)"
    assert perform(body, bubblewrap).log.endswith("y")


def test_a_model_without_a_wall_still_sees_none_of_the_parent_s_variables(
    perform: Perform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PILOTLINE_SECRET", "password")
    found = perform("print(sorted(os.environ))\nreturn answer(data)", C)
    assert "PATH" in found.log
    assert "PILOTLINE_SECRET" not in found.log


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("import no_such_module", r"score raised ModuleNotFoundError: No module named 'no_such"),
        ("def load(folder): raise OSError('gone')", r"score raised OSError: gone"),
        ("import os; os._exit(0)", r"ended early"),
        ("def predict(model, data): ...", r"raised FileNotFoundError: .*model\.joblib"),
    ],
)
def test_a_model_that_cannot_start_says_why(
    place: Home, tiny: MakeFolder, tier: Tier, script: str, message: str
) -> None:
    folder = tiny(script)
    lock = folder.files["requirements.lock"]
    with (
        built_environment(place.scratch, "tiny", lock) as environment,
        pytest.raises(ChildError, match=message),
        scoring_child(Room(place, environment, tier), folder, {}) as child,
    ):
        list(child.score(ROWS.to_batches(), ROWS.schema, OUTPUTS))


def test_a_failed_stream_leaves_the_child_fit_for_the_next(
    place: Home, tiny: MakeFolder, tier: Tier
) -> None:
    body = "if len(data) == 10: raise ValueError('ten')\n    return answer(data)"
    folder = tiny(SCRIPT.replace("BODY", body))
    lock = folder.files["requirements.lock"]
    with (
        built_environment(place.scratch, "tiny", lock) as environment,
        scoring_child(Room(place, environment, tier), folder, {}) as child,
    ):
        with pytest.raises(ChildError, match="ValueError: ten"):
            list(child.score(ROWS.to_batches(), ROWS.schema, OUTPUTS))
        again = list(child.score(ROWS.to_batches(max_chunksize=5), ROWS.schema, OUTPUTS))
        assert [batch.num_rows for batch in again] == [5, 5]
        assert list(child.score([], ROWS.schema, OUTPUTS)) == []


TRAIN = """
import os
def train(data, params):
    BODY
def save(model, folder):
    SAVE
def load(folder):
    return None
"""


@pytest.mark.parametrize(
    ("body", "save", "message"),
    [
        ("return 1", "pass", r"saved nothing; save must write into the folder it is given"),
        ("return 1", "os.symlink('/etc/passwd', folder + '/link')", r"saved 'link', which is no "),
        ("return 1", "os.symlink('/etc', folder + '/etc')", r"saved 'etc', which is no plain file"),
        ("return 1", "os.mkfifo(folder + '/pipe')", r"saved 'pipe', which is no plain file"),
        ("raise ValueError('too few')", "pass", r"train raised ValueError: too few"),
        ("os._exit(0)", "pass", r"ended early: it ended before it was done"),
        ("while True: pass", "pass", NOT_IN_TIME),
    ],
)
def test_training_that_goes_wrong_is_an_error_in_words(
    place: Home, tiny: MakeFolder, tier: Tier, body: str, save: str, message: str
) -> None:
    folder = tiny(TRAIN.replace("BODY", body).replace("SAVE", save), deadline_s=stretched(3))
    lock = folder.files["requirements.lock"]

    def trained() -> None:
        with built_environment(place.scratch, "tiny", lock) as environment:
            with training_child(Room(place, environment, tier), folder) as child:
                child.train(ROWS)
            collect_artifact(environment, "flight-delay")

    with pytest.raises(ChildError, match=message):
        trained()


def test_training_sees_the_rows_and_parameters_and_what_it_saves_is_collected(
    place: Home, tiny: MakeFolder, tier: Tier
) -> None:
    save = "os.mkdir(folder + '/in'); open(folder + '/in/side', 'w').write(model)"
    body = "return f\"{len(data)} {data['x'].sum():g} {params['max_iter']}\""
    folder = tiny(TRAIN.replace("BODY", body).replace("SAVE", save))
    lock = folder.files["requirements.lock"]
    with built_environment(place.scratch, "tiny", lock) as environment:
        with training_child(Room(place, environment, tier), folder) as child:
            child.train(ROWS)
        assert collect_artifact(environment, "tiny") == {"in/side": b"10 45 5"}


FEATURES = """
import joblib, os
import numpy as np
import pandas as pd

def features(data):
    FEATURES

def train(data, params):
    return float(data["late"].mean())

def save(model, folder):
    open(os.path.join(folder, "rate"), "w").write(str(model))

def load(folder):
    return 0.5

def predict(model, data):
    return pd.DataFrame({"probability": data["made"].astype("float64")}, index=data.index)
"""
LATE = ROWS.append_column("late", pa.array([0, 1] * 5))


def try_features(place: Home, tier: Tier, folder: ModelFolder, mode: str) -> pa.Table | None:
    """Train on rows with the target, or predict rows without it."""
    lock = folder.files["requirements.lock"]
    with built_environment(place.scratch, "tiny", lock) as environment:
        room = Room(place, environment, tier)
        if mode == "train":
            with training_child(room, folder) as child:
                child.train(LATE)
            return None
        with scoring_child(room, folder, {}) as child:
            batches = list(child.score(ROWS.to_batches(), ROWS.schema, OUTPUTS))
    return pa.Table.from_batches(batches)


@pytest.mark.parametrize("mode", ["train", "predict"])
def test_features_get_the_same_columns_in_training_as_in_predicting(
    place: Home, tiny: MakeFolder, tier: Tier, mode: str
) -> None:
    body = "assert list(data.columns) == ['x', 'name']; return data.assign(made=data['x'] / 10)"
    predicted = try_features(place, tier, tiny(FEATURES.replace("FEATURES", body)), mode)
    if predicted is not None:
        assert predicted["probability"].to_pylist() == [n / 10 for n in range(10)]


@pytest.mark.parametrize("mode", ["train", "predict"])
@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return data.head(3)", r"raised ValueError: features gave 3 rows for 10, or in another"),
        ("return data.iloc[::-1]", r"raised ValueError: features gave 10 rows for 10, or in anot"),
        ("return data['x']", r"raised TypeError: features gave Series, expected a DataFrame"),
        ("return data.assign(made=data['late'])", r"raised KeyError: 'late'"),
        ("raise RuntimeError('no map')", r"raised RuntimeError: no map"),
    ],
)
def test_features_that_do_not_keep_the_rows_are_an_error_in_words(
    place: Home,
    tiny: MakeFolder,
    tier: Tier,
    body: str,
    message: str,
    mode: str,
) -> None:
    folder = tiny(FEATURES.replace("FEATURES", body))
    with pytest.raises(ChildError, match=f"{mode} {message}"):
        try_features(place, tier, folder, mode)


def test_a_model_that_crashes_leaves_no_core_with_rows_in_it(tmp_path: Path) -> None:
    if resource.getrlimit(resource.RLIMIT_CORE)[1] == 0:
        pytest.skip("nothing leaves a core here")
    # The harness alone: its model is asked for no prediction, and no environment is built.
    script = "import resource\nraise ValueError(resource.getrlimit(resource.RLIMIT_CORE))"
    (tmp_path / "model.py").write_text(script)
    (tmp_path / "harness.py").write_bytes(Path(harness.__file__).read_bytes())
    reader, writer = os.pipe()
    settings = {"control_fd": writer, "model": str(tmp_path), "mode": "score"}
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    command = [sys.executable, "-I", str(tmp_path / "harness.py"), str(tmp_path / "settings.json")]
    subprocess.run(command, pass_fds=[writer], check=False)
    os.close(writer)
    with open(reader, encoding="utf-8") as control:
        assert "(0, 0)" in json.loads(control.readline())["message"]
