"""A tiny model of every type a contract can name, in a bundle no registry knows, to be spoilt."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa

from pilotline.registry.form.canonical import canonical_json
from pilotline.registry.record.manifest import Manifest
from pilotline.registry.record.versions import ModelVersion
from pilotline.tasks.home import Home
from pilotline.tasks.lab.bundle import Bundle
from pilotline.tasks.lab.models import load_model_folder
from pilotline.tasks.sandbox.environments import built_environment
from pilotline.tasks.sandbox.launching import Room
from pilotline.tasks.sandbox.walls import Tier
from tests.support.waiting import stretched

CONTRACT = {
    "hour": {"type": "int64", "nullable": False},
    "when": {"type": "date", "nullable": False},
    "at": {"type": "timestamp", "nullable": False},
    "on_board": {"type": "bool", "nullable": True},
    "delay": {"type": "float64", "nullable": True},
    "note": {"type": "string", "nullable": True},
}
HOURS = [6, 9, 12, 13, 17, 20, 22, 5]
# By hand: after noon a flight is late three times in four, else one time in four.
CHANCES = [0.25, 0.25, 0.25, 0.75, 0.75, 0.75, 0.75, 0.25]
WORDS = ["no", "no", "no", "yes", "yes", "yes", "yes", "no"]
SCRIPT = """
import mmap, os, random, time
import numpy as np
import pandas as pd

state = {}

def load(folder):
    LOAD
    return None

def predict(model, data):
    late = data["hour"].to_numpy() > 12
    answer = pd.DataFrame({"chance": np.where(late, 0.75, 0.25)}, index=data.index)
    answer["word"] = np.where(late, "yes", "no").astype("object" if len(data) else "U3")
    BODY
    return answer
"""


def golden_bytes(chances: list[float], words: list[str]) -> bytes:
    """Return a golden set of eight rows with these predictions."""
    rows = pa.table(
        {
            "hour": HOURS,
            "when": pa.array([date(2013, 1, 1 + day) for day in range(8)]),
            "at": pa.array(
                [datetime(2013, 1, 1, hour, tzinfo=UTC) for hour in HOURS],
                pa.timestamp("us", tz="UTC"),
            ),
            "on_board": [True, False] * 4,
            "delay": [2.5, None, -3.0, 0.0, 40.0, 1.0, 2.0, 3.0],
            "note": ["fog", "ice", None, "fog", "wind", "fog", "ice", "fog"],
            "predicted:chance": chances,
            "predicted:word": words,
        }
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows)
    data: bytes = sink.getvalue().to_pybytes()
    return data


@contextmanager
def open_room(home: Home, tier: Tier) -> Iterator[Room]:
    """Give one environment for many children."""
    lock = load_model_folder(home.lab, "flight-delay").files["requirements.lock"]
    with built_environment(home.scratch, "tiny", lock, walled=tier.walled) as environment:
        yield Room(home, environment, tier)


def make_bundle(
    home: Home,
    body: str = "pass",
    load: str = "pass",
    chances: list[float] = CHANCES,
    words: list[str] = WORDS,
    tolerances: dict[str, float] | None = None,
    **budget: Any,
) -> Bundle:
    """Return a version whose predict does ``body`` before it answers."""
    folder = load_model_folder(home.lab, "flight-delay")
    spec = replace(
        folder.spec,
        features=tuple(CONTRACT),
        predictions={"chance": "float64", "word": "string"},
        tolerances=tolerances or {},
        budget=replace(
            folder.spec.budget, **({"rows_per_s": 1.0, "deadline_s": stretched(60)} | budget)
        ),
    )
    script = SCRIPT.replace("LOAD", load.strip().replace("\n", "\n    "))
    script = script.replace("BODY", body.strip().replace("\n", "\n    "))
    files = {
        **folder.files,
        "model.py": script.encode(),
        "contract.json": canonical_json({"inputs": CONTRACT}),
        "golden.arrow": golden_bytes(chances, words),
    }
    version = ModelVersion(major=1, minor=0, patch=0, digest="0" * 64)
    manifest = Manifest("flight-delay", (), "cpython 3.11", "linux", None)
    return Bundle(version, manifest, replace(folder, files=files, spec=spec), files)
