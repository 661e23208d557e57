"""A factory of wide rows, made for measuring: 16 numbers and 4 texts a row, two trained models."""

import hashlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa

from pilotline.registry.record.versions import get_version
from pilotline.registry.runs.ingests import Ingest, record_ingest
from pilotline.tasks.home import Home
from pilotline.tasks.lab.bundle import Bundle, load_bundle
from pilotline.tasks.lab.datasets import Dataset, load_dataset
from pilotline.tasks.lab.models import load_model_folder
from pilotline.tasks.lake import tables as lake
from pilotline.tasks.lake.digests import partition_digest
from pilotline.tasks.lake.partition_files import PartitionFiles, find_files
from pilotline.tasks.sandbox.walls import probe_isolation
from pilotline.tasks.train.contents import Request
from pilotline.tasks.train.training import train_version

ROOT = Path(__file__).parent.parent
MODELS = ("linear", "boosting")
FLOATS, INTEGERS, TEXTS = 12, 4, 4
CHUNK = 250_000  # rows made at a time
TRAINING = (date(2024, 1, 1), date(2024, 1, 2))  # days; the second is held out
TRAINING_ROWS = 20_000

DATASET = """[dataset]
name = "{name}"
owner = "bench@example.org"
description = "Rows made for measuring."
date = "day"
key = ["id"]

[source]
kind = "sqlite"
url = "sqlite:///{{home}}/none.db"
query = "select * from rows where day = :date"

[schema]
day = "date"
id = "int64"
{columns}

[quarantine]
max_share = 0.0
"""
MODEL = """[model]
name = "{name}"
owner = "bench@example.org"
author = "bench@example.org"
description = "Made for measuring."

[data]
inputs = ["wide"]
features = {features}
actuals = "truth"
target = "truth"

[predictions]
probability = "float64"

[params]
max_iter = 100

[evaluation]
holdout_partitions = 1
metrics = {{ roc_auc = {{ min = 0.5 }} }}

[budget]
rows_per_s = 1000
memory_mib = 4096
deadline_s = 3600

[drift]
window_days = {window_days}
persistence = 1
watch = {{}}

[retraining]
cooldown_days = 1
max_per_quarter = 1
train_partitions = 1

[environment]
keep_wheels = false
"""
SUITE = (
    '{"name": "wide", "expectations": [{"type": "expect_column_values_to_not_be_null",'
    ' "kwargs": {"column": "id"}}]}'
)


def feature_names() -> list[str]:
    """Return the 20 columns that the models read."""
    kinds = (("float", FLOATS), ("int", INTEGERS), ("text", TEXTS))
    return [f"{kind}{n}" for kind, count in kinds for n in range(count)]


def make_factory(root: Path, window_days: Mapping[str, int] | None = None) -> Home:
    """Return a home in ``root`` with both models trained and nothing to score yet.

    Args:
        root: an empty folder.
        window_days: the length of a model's drift windows, where it is not one day.
    """
    home = find_home(root)
    home.make()
    _write_lab(home.lab, window_days or {})
    for day in TRAINING:
        add_day(home, day, TRAINING_ROWS)
    tier = probe_isolation()
    for name in MODELS:
        with home.open_registry() as registry:
            request = Request(load_model_folder(home.lab, name), None, "", None, None)
            train_version(registry, home, tier, request, lambda text: None)
        (artifact,) = load_version(home, name).artifact.values()
        (root / f"{name}.joblib").write_bytes(artifact)
    return home


def find_home(root: Path) -> Home:
    """Return the home of the factory in ``root``."""
    home = root / "home"
    return Home(home, root / "lab", home / "blobs", home / "lake", f"sqlite:///{home}/registry.db")


def load_version(home: Home, model: str) -> Bundle:
    """Return the one version of a model."""
    with home.open_registry() as registry:
        with registry.read() as session:
            version = get_version(session, model, "1.0.0")
        return load_bundle(registry, version)


def find_files_of(
    home: Home, day: date, features: Sequence[str]
) -> tuple[PartitionFiles, pa.Schema]:
    """Return the files of a day, and the columns a model reads of them."""
    path = lake.accepted_path(home.lake, "wide")
    table = lake.open_table(path)
    schema = pa.schema([lake.schema_of(table).field(name) for name in features])
    return find_files(table, path, "wide", "day", day), schema


def add_day(home: Home, day: date, rows: int) -> None:
    """Bring in a day of ``rows`` as an ingest would leave it, without a source to read it from."""
    wide, truth = load_dataset(home.lab, "wide"), load_dataset(home.lab, "truth")
    _write(home, wide, day, rows, _wide_batches(wide.schema, day, rows))
    if day in TRAINING:
        _write(home, truth, day, rows, _truth_batches(truth.schema, day, rows))


def _write(
    home: Home, dataset: Dataset, day: date, rows: int, batches: Iterator[pa.RecordBatch]
) -> None:
    path = lake.accepted_path(home.lake, dataset.name)
    table = lake.ensure_table(path, dataset.schema, [dataset.date])
    reader = pa.RecordBatchReader.from_batches(dataset.schema, batches)
    version = lake.replace_partition(table, reader, lake.on_day("day", day), {})
    files = find_files(lake.open_table(path, version), path, dataset.name, dataset.date, day)
    if day in TRAINING:  # the rows of these are checked one by one
        found = lake.read(lake.open_table(path), dataset.schema, lake.on_day("day", day))
        digest = partition_digest(found, dataset.key)
    else:
        digest = hashlib.sha256(f"{dataset.name} {day} {rows}".encode()).hexdigest()
    with home.open_registry() as registry, registry.write() as session:
        record_ingest(
            session,
            Ingest(
                dataset=dataset.name,
                date=day,
                token=digest,
                partition_digest=digest,
                files_digest=files.digest(),
                table_version=version,
                accepted=rows,
                quarantined=0,
            ),
        )


def _wide_batches(schema: pa.Schema, day: date, rows: int) -> Iterator[pa.RecordBatch]:
    words = np.array([f"category {n}" for n in range(30)])
    for start in range(0, rows, CHUNK):
        count = min(CHUNK, rows - start)
        random = np.random.default_rng((day.toordinal(), start))
        columns: dict[str, object] = {
            "day": np.full(count, np.datetime64(day)),
            "id": np.arange(start, start + count),
        }
        columns |= {f"float{n}": random.normal(size=count) for n in range(FLOATS)}
        columns |= {f"int{n}": random.integers(0, 60, count) for n in range(INTEGERS)}
        columns |= {f"text{n}": words[random.integers(0, 30, count)] for n in range(TEXTS)}
        arrays = [pa.array(columns[field.name]).cast(field.type) for field in schema]
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def _truth_batches(schema: pa.Schema, day: date, rows: int) -> Iterator[pa.RecordBatch]:
    wide = _wide_batches(
        pa.schema(
            [
                ("day", pa.date32()),
                ("id", pa.int64()),
                ("float0", pa.float64()),
                ("int0", pa.int64()),
            ]
        ),
        day,
        rows,
    )
    for batch in wide:
        random = np.random.default_rng(day.toordinal())
        score = batch["float0"].to_numpy() + batch["int0"].to_numpy() / 30 - 1
        happened = (score + random.normal(size=batch.num_rows) > 0).astype(np.int64)
        columns = [batch["day"], batch["id"], pa.array(happened)]
        yield pa.RecordBatch.from_arrays(columns, schema=schema)


def _write_lab(lab: Path, window_days: Mapping[str, int]) -> None:
    kinds = {"float": "float64", "int": "int64", "text": "string"}
    columns = "\n".join(
        f'{name} = "{kinds[name.rstrip("0123456789")]}"' for name in feature_names()
    )
    for name, own in (("wide", columns), ("truth", 'truth = "int64"')):
        folder = lab / "datasets" / name
        folder.mkdir(parents=True)
        (folder / "dataset.toml").write_text(DATASET.format(name=name, columns=own))
        (folder / "expectations.json").write_text(SUITE)
    for name in MODELS:
        folder = lab / "models" / name
        folder.mkdir(parents=True)
        features = "[" + ", ".join(f'"{feature}"' for feature in feature_names()) + "]"
        config = MODEL.format(name=name, features=features, window_days=window_days.get(name, 1))
        (folder / "model.toml").write_text(config)
        (folder / "README.md").write_text(f"# {name}\n\nMade for measuring.\n")
        shutil.copy(ROOT / "benchmarks" / "wide" / f"{name}.py", folder / "model.py")
        shutil.copy(
            ROOT / "lab" / "models" / "flight-delay" / "requirements.lock",
            folder / "requirements.lock",
        )
