"""Training a version: fit in a transient environment, judge on held-out days, register whole."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa

from registry import Registry
from registry.canonical import canonical_json, digest_bytes, digest_json
from registry.manifest import Manifest, ManifestFile
from registry.metrics import Metric, record_metric
from registry.models import get_model
from registry.numbering import Release, compare_releases
from registry.versions import ModelVersion, NewVersion, enter_version, find_trained
from tasks.bundle import ARTIFACT, Bundle
from tasks.environments import built_environment, interpreter, machine
from tasks.errors import ChildError
from tasks.evaluation import check_metrics, measure
from tasks.home import Home
from tasks.model_folder import FILES, ModelFolder
from tasks.process import Room, collect_artifact, scoring_child, training_child
from tasks.profiles import Profile, make_reference
from tasks.sandbox import Tier
from tasks.training_data import Selection, TrainingRows, load_rows, select_days

BATCH_ROWS = 65_536  # pipes carry Arrow at in-process speed from about here
GOLDEN_ROWS = 256  # enough to meet every branch of a small model, few enough to keep for ever


@dataclass(frozen=True)
class Trained:
    """A registered version, and whether this call made it."""

    number: str
    digest: str
    new: bool
    reason: str
    metrics: dict[str, float]
    checks: list[dict[str, Any]]
    champion: dict[str, Any] | None  # its number and metrics on the same held-out rows
    train_days: tuple[date, date, int]
    holdout_days: tuple[date, date, int]


@dataclass(frozen=True)
class Request:
    """What to train."""

    folder: ModelFolder
    until: date | None
    notes: str
    parent: Bundle | None  # what its number is compared with
    champion: Bundle | None  # what it is judged against


def train_version(
    registry: Registry, home: Home, tier: Tier, request: Request, say: Callable[[str], None]
) -> Trained:
    """Train, judge and register one version; the same inputs again give the version there is.

    Raises:
        NothingToDoError: too few days are ingested.
        EnvironmentBuildError, ChildError: the environment or the model's code failed.
        LakeError: the data is damaged.
    """
    spec = request.folder.spec
    selection = select_days(registry, home, spec, request.until)
    key = _training_key(request.folder, selection)
    known = _find_known(registry, spec.name, key)
    if known is not None:
        say(f"{spec.name} {known.number} was trained from exactly this before")
        return _describe(registry, known, new=False)
    rows = load_rows(home, spec, selection)
    say(f"training on {rows.train.num_rows:,} rows of {len(selection.train)} days")
    with built_environment(
        home.scratch, spec.name, request.folder.files["requirements.lock"], walled=tier.walled
    ) as (environment):
        room = Room(home, environment, tier)
        with training_child(room, request.folder) as child:
            child.train(rows.train.select([*spec.features, spec.target]))
        artifact = collect_artifact(environment, spec.name)
        predicted = predict_rows(room, request.folder, artifact, rows.holdout)
    say(f"judging on {rows.holdout.num_rows:,} rows of {len(selection.holdout)} held-out days")
    evaluation = _evaluate(home, tier, request, rows, predicted)
    contents = _contents(request, selection, rows, artifact, predicted, evaluation)
    version, new = _register(registry, request, selection, key, contents, evaluation)
    return _describe(registry, version, new)


def predict_rows(
    room: Room, folder: ModelFolder, artifact: Mapping[str, bytes], rows: pa.Table
) -> pa.Table:
    """Return the predictions for ``rows`` by the model in its own process."""
    spec = folder.spec
    features = rows.select(list(spec.features))
    outputs = output_schema(spec.predictions)
    with scoring_child(room, folder, artifact) as child:
        batches = features.to_batches(max_chunksize=BATCH_ROWS)
        predicted = list(child.score(batches, features.schema, outputs))
    table = pa.Table.from_batches(predicted, outputs)
    refuse_not_finite(spec.name, table)
    return table


def output_schema(predictions: Mapping[str, str]) -> pa.Schema:
    """Return the Arrow schema of declared predictions."""
    from tasks.datasets import TYPES

    return pa.schema([(name, TYPES[kind]) for name, kind in predictions.items()])


def refuse_not_finite(model: str, predicted: pa.Table | pa.RecordBatch, log: str = "") -> None:
    """Do nothing if every prediction is there, and every number finite.

    Raises:
        ChildError: one is null, NaN or infinite.
    """
    import pyarrow.compute as pc

    for name in predicted.schema.names:
        column = predicted.column(name)
        bad = column.null_count
        if pa.types.is_floating(column.type):
            bad += pc.sum(pc.invert(pc.is_finite(column))).as_py() or 0
        if bad:
            raise ChildError(
                model, f"gave {bad} predictions in {name!r} that are missing or not finite", log
            )


def _training_key(folder: ModelFolder, selection: Selection) -> str:
    return digest_json(
        {
            "files": {path: digest_bytes(data) for path, data in folder.files.items()},
            "interpreter": interpreter(),
            "platform": machine(),
            "learned": [
                [item.dataset, item.date.isoformat(), item.use, item.partition_digest]
                for item in selection.learned()
            ],
        }
    )


def _find_known(registry: Registry, name: str, key: str) -> ModelVersion | None:
    with registry.read() as session:
        try:
            model = get_model(session, name)
        except LookupError:
            return None
        return find_trained(session, model.id, key)


def _evaluate(
    home: Home, tier: Tier, request: Request, rows: TrainingRows, predicted: pa.Table
) -> dict[str, Any]:
    spec = request.folder.spec
    names = tuple(dict.fromkeys([*spec.metrics, "roc_auc", "brier"]))
    happened = rows.holdout[spec.target].to_numpy().astype(np.float64)
    own = measure(names, happened, predicted[spec.score_column].to_numpy())
    against: dict[str, Any] | None = None
    if request.champion is not None:
        champion = request.champion
        with built_environment(
            home.scratch, spec.name, champion.lock, walled=tier.walled
        ) as environment:
            room = Room(home, environment, tier)
            chances = predict_rows(room, champion.folder, champion.artifact, rows.holdout)
        theirs = measure(names, happened, chances[champion.spec.score_column].to_numpy())
        against = {"version": champion.version.number, "metrics": theirs}
    checks = check_metrics(spec.metrics, own, against["metrics"] if against else None)
    return {
        "metrics": own,
        "checks": [asdict(check) for check in checks],
        "passed": all(check.passed for check in checks),
        "champion": against,
        "rows": rows.holdout.num_rows,
        "base_rate": float(happened.mean()),
    }


def _contents(
    request: Request,
    selection: Selection,
    rows: TrainingRows,
    artifact: Mapping[str, bytes],
    predicted: pa.Table,
    evaluation: dict[str, Any],
) -> dict[str, tuple[str, bytes]]:
    """Return everything in the version: path -> (role, bytes)."""
    spec = request.folder.spec
    contents = {path: (FILES[path], data) for path, data in request.folder.files.items()}
    contents |= {ARTIFACT + path: ("model", data) for path, data in artifact.items()}
    contract = _contract(request.folder, selection)
    contents["contract.json"] = ("contract", canonical_json(contract))
    contents["data.json"] = ("data", canonical_json(_data(selection, rows)))
    contents["evaluation.json"] = ("evaluation", canonical_json(evaluation))
    contents["golden.arrow"] = ("golden", _golden(spec.features, rows.holdout, predicted))
    contents["profile.json"] = ("profile", _reference(request, rows, predicted).encode())
    notes = request.notes or _list_differences(request, contents, contract, selection)
    contents["notes.md"] = ("notes", notes.encode())
    return contents


def _contract(folder: ModelFolder, selection: Selection) -> dict[str, Any]:
    dataset, spec = selection.input.dataset, folder.spec
    return {
        "dataset": dataset.name,
        "date": dataset.date,
        "key": list(dataset.key),
        "key_types": {name: dataset.columns[name].type for name in (dataset.date, *dataset.key)},
        "inputs": {name: vars(dataset.columns[name]) for name in spec.features},
        "outputs": {
            name: {"type": kind, "nullable": False} for name, kind in spec.predictions.items()
        },
    }


def _data(selection: Selection, rows: TrainingRows) -> dict[str, Any]:
    return {
        "tables": {
            pin.dataset.name: {
                "table_version": pin.table_version,
                "partitions": {day.isoformat(): digest for day, digest in pin.days.items()},
            }
            for pin in (selection.input, selection.actuals)
        },
        "train": {"days": [d.isoformat() for d in selection.train], "rows": rows.train.num_rows},
        "holdout": {
            "days": [d.isoformat() for d in selection.holdout],
            "rows": rows.holdout.num_rows,
        },
    }


def _golden(features: tuple[str, ...], holdout: pa.Table, predicted: pa.Table) -> bytes:
    """Return held-out rows, evenly spread, beside what the model said of them."""
    picked = np.unique(np.linspace(0, holdout.num_rows - 1, GOLDEN_ROWS).astype(np.int64))
    golden = holdout.select(list(features)).take(picked)
    for name in predicted.column_names:
        golden = golden.append_column(f"predicted:{name}", predicted[name].take(picked))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, golden.schema) as writer:
        writer.write_table(golden.combine_chunks())
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _reference(request: Request, rows: TrainingRows, predicted: pa.Table) -> Profile:
    features = make_reference(rows.train.select(list(request.folder.spec.features)))
    predictions = make_reference(predicted)
    return Profile(features.rows, {**features.columns, **predictions.columns})


def _list_differences(
    request: Request,
    contents: Mapping[str, tuple[str, bytes]],
    contract: Mapping[str, Any],
    selection: Selection,
) -> str:
    """Return release notes nobody had to write: the plain list of differences."""
    days = f"{selection.train[0]} to {selection.train[-1]}"
    lines = [f"Trained on {days}, {len(selection.train)} days."]
    if request.parent is None:
        return "\n".join(["First version.", *lines]) + "\n"
    before = request.parent
    learned = before.json("data.json")["train"]["days"]
    lines.append(f"Before: {learned[0]} to {learned[-1]}, {len(learned)} days.")
    lines += [f"{path} changed." for path in FILES if contents[path][1] != before.files[path]]
    if before.json("contract.json") != json.loads(canonical_json(contract)):
        lines.append("The contract changed.")
    earlier = before.json("evaluation.json")["metrics"]
    for name, value in json.loads(contents["evaluation.json"][1])["metrics"].items():
        if name in earlier:
            lines.append(f"{name}: {value:.4f}, was {earlier[name]:.4f} on its own held-out days.")
    return "\n".join([f"Since {before.version.number}:", *lines]) + "\n"


def _register(
    registry: Registry,
    request: Request,
    selection: Selection,
    key: str,
    contents: Mapping[str, tuple[str, bytes]],
    evaluation: Mapping[str, Any],
) -> tuple[ModelVersion, bool]:
    spec, parent = request.folder.spec, request.parent
    manifest = Manifest(
        model=spec.name,
        files=tuple(
            ManifestFile(role, path, len(data), registry.blobs.put(data))
            for path, (role, data) in contents.items()
        ),
        interpreter=interpreter(),
        platform=machine(),
        parent=parent.version.digest if parent else None,
    )
    digest = registry.blobs.put(manifest.encode())
    step = None
    if parent is not None:
        child = Release(manifest, json.loads(contents["contract.json"][1]))
        step = compare_releases(Release(parent.manifest, parent.json("contract.json")), child)
    with registry.write() as session:
        version, new = enter_version(
            session,
            NewVersion(
                facts=spec.facts,
                author=spec.author,
                digest=digest,
                training_key=key,
                parent=parent.version if parent else None,
                step=step,
                learned=selection.learned(),
                metrics=evaluation["metrics"],
            ),
        )
        for name, value in evaluation["metrics"].items():
            record_metric(
                session,
                Metric(
                    version_id=version.id,
                    kind="evaluation",
                    name=name,
                    value=value,
                    start=selection.holdout[0],
                    end=selection.holdout[-1],
                    variant="holdout",
                    rows=evaluation["rows"],
                    basis=digest,
                ),
            )
    return version, new


def _describe(registry: Registry, version: ModelVersion, new: bool) -> Trained:
    from tasks.bundle import load_json

    evaluation = load_json(registry, version, "evaluation.json")
    data = load_json(registry, version, "data.json")
    spans = []
    for use in ("train", "holdout"):
        days = [date.fromisoformat(day) for day in data[use]["days"]]
        spans.append((days[0], days[-1], len(days)))
    return Trained(
        number=version.number,
        digest=version.digest,
        new=new,
        reason=version.reason,
        metrics=evaluation["metrics"],
        checks=evaluation["checks"],
        champion=evaluation["champion"],
        train_days=spans[0],
        holdout_days=spans[1],
    )
