"""A model trained in Python and scored in JavaScript: the same numbers, and all steps work."""

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pilotline.registry import Registry
from pilotline.registry.record.versions import get_version
from pilotline.tasks.explain.replaying import replay_run
from pilotline.tasks.explain.tracing import trace_prediction
from pilotline.tasks.home import Home
from pilotline.tasks.lab.bundle import load_bundle, load_champion
from pilotline.tasks.lab.models import load_model_folder
from pilotline.tasks.lab.programs import SEARCHED
from pilotline.tasks.monitor.actuals import read_predictions
from pilotline.tasks.sandbox.environments import built_environment
from pilotline.tasks.sandbox.launching import Room, collect_artifact, training_child
from pilotline.tasks.sandbox.predictions import predict_rows
from pilotline.tasks.sandbox.walls import Tier
from pilotline.tasks.score.days import score_days
from pilotline.tasks.score.job import Job, plan_job
from pilotline.tasks.train.contents import Request
from pilotline.tasks.train.training import train_version
from tests.support.servers.once import made_once
from tests.support.servers.programs import require
from tests.support.tasks.foreign import COMMAND, DATA, TWIN, C, bare_room
from tests.tasks.conftest import (
    DAYS,
    MODEL,
    TRAINED_UNTIL,
    copy_home,
    home_in,
    ingest,
    lay_out,
    release,
    train,
)

DAY = date(2013, 1, 14)


@pytest.fixture(scope="session")
def node_program(shared: Path) -> Path:
    """Return the folder of score.js with what its lock names, by npm; skip where node is absent."""
    require("node", SEARCHED)
    require("npm")
    return made_once(shared, "node-program", install_program)


def install_program(folder: Path) -> None:
    """Install score.js and what its lock names."""
    for name in ("package.json", "package-lock.json", "score.js"):
        shutil.copy(DATA / name, folder)
    command = [
        str(require("npm")),
        "ci",
        "--ignore-scripts",
        "--no-bin-links",
        "--no-audit",
        "--no-fund",
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def node_lab(shared: Path, node_program: Path) -> Home:
    """Return a home with an empty registry, whose model is scored by score.js."""

    def make(project: Path) -> None:
        folder = lay_out(project).lab / "models" / MODEL
        shutil.copy(DATA / "model.py", folder)
        shutil.copytree(node_program, folder / "runner")
        with (folder / "model.toml").open("a") as file:
            file.write(COMMAND)

    return home_in(made_once(shared, "node-lab", make))


@pytest.fixture(scope="session")
def node_factory(shared: Path, node_lab: Home, tier: Tier) -> Home:
    """Return a home in which that model went all the way to champion."""

    def make(project: Path) -> None:
        home = copy_home(node_lab, project)
        for name in ("flights", "arrivals"):
            ingest(home, name, DAYS[:15])
        release(home, tier, train(home, tier, TRAINED_UNTIL).number)

    return home_in(made_once(shared, "node-factory", make))


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
