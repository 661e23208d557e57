"""A model may pin packages older than pilotline's own: its child needs nothing of ours."""

import sys
from dataclasses import replace
from datetime import UTC, date, datetime

import pyarrow as pa
import pytest

from pilotline.tasks.home import Home
from pilotline.tasks.lab.models import ModelFolder, load_model_folder
from pilotline.tasks.sandbox.environments import built_environment
from pilotline.tasks.sandbox.launching import Room, collect_artifact, training_child
from pilotline.tasks.sandbox.predictions import predict_rows
from pilotline.tasks.sandbox.walls import Tier
from tests.support.places import TESTS
from tests.support.tasks.children import require_ended

OLDER = TESTS / "support" / "tasks" / "older_model"


@pytest.fixture
def folder(workshop: Home) -> ModelFolder:
    """Return the example's folder with a script and a lock of years ago."""
    found = load_model_folder(workshop.lab, "flight-delay")
    own = {name: (OLDER / name).read_bytes() for name in ("model.py", "requirements.lock")}
    return replace(
        found,
        files={**found.files, **own},
        spec=replace(found.spec, features=("x", "name", "day", "at", "sure")),
    )


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="pandas 2.1 has no wheel for this Python")
def test_a_model_locked_to_scikit_learn_1_3_and_pandas_2_1_is_trained_and_scored(
    folder: ModelFolder, fresh: Home, tier: Tier
) -> None:
    rows = pa.table(
        {
            "x": pa.array([0.0, 1.0, 2.0, 3.0]),
            "name": pa.array(["a", None, "é", "𝄞"]),
            "day": pa.array([date(2024, 1, n) for n in (1, 2, 3, 4)]),
            "at": pa.array([datetime(2024, 1, 1, tzinfo=UTC)] * 4, pa.timestamp("us", "UTC")),
            "sure": pa.array([True, None, False, True]),
        }
    )
    truth = rows.append_column("truth", pa.array([1.0, 3.0, 5.0, 7.0]))  # 2 x + 1
    lock = folder.files["requirements.lock"]
    with built_environment(fresh.scratch, "older", lock, walled=tier.walled) as environment:
        room = Room(fresh, environment, tier)
        with training_child(room, folder) as child:
            child.train(truth)
        artifact = collect_artifact(environment, "older")
        predicted = predict_rows(room, folder, artifact, rows)
    found = predicted["probability"].to_pylist()
    assert found == pytest.approx([1.0, -1.0, 5.0, 7.0], abs=1e-9)
    require_ended(fresh.root)
