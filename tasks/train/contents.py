"""What a version holds: the lab's files, contract, data, evaluation, golden set, profile."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa

from pilotline.registry.form import canonical_json
from pilotline.tasks.lab import ARTIFACT, FILES, FOLDER, OPTIONAL_FILES, PAGE, Bundle, ModelFolder
from pilotline.tasks.stats import Profile, check_watch, profile_rows
from pilotline.tasks.train.data import Selection, TrainingRows

GOLDEN_ROWS = 256  # enough to meet every branch of a small model, few enough to keep for ever


@dataclass(frozen=True)
class Request:
    """What to train."""

    folder: ModelFolder
    until: date | None
    notes: str
    parent: Bundle | None  # what its number is compared with
    champion: Bundle | None  # what it is judged against


def version_contents(
    request: Request,
    selection: Selection,
    rows: TrainingRows,
    artifact: Mapping[str, bytes],
    predicted: pa.Table,
    evaluation: dict[str, Any],
    page: bytes | None,
) -> dict[str, tuple[str, bytes]]:
    """Return everything in the version: path -> (role, bytes).

    Args:
        page: the executed notebook; None where the folder has none.
    """
    spec, roles = request.folder.spec, {**FILES, **OPTIONAL_FILES}
    contents = {
        path: (roles.get(path, "script"), data) for path, data in request.folder.files.items()
    }
    if page is not None:
        contents[PAGE] = ("notebook-html", page)
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
    columns = dict(dataset.columns)
    for plan in selection.plans:
        columns |= plan.features
    joins = {plan.input: plan.describe() for plan in selection.plans}
    return {
        "dataset": dataset.name,
        "date": dataset.date,
        "key": list(dataset.key),
        "key_types": {name: dataset.columns[name].type for name in (dataset.date, *dataset.key)},
        "inputs": {name: vars(columns[name]) for name in spec.features},
        **({"joins": joins} if joins else {}),
        "outputs": {
            name: {"type": kind, "nullable": False} for name, kind in spec.predictions.items()
        },
    }


def _data(selection: Selection, rows: TrainingRows) -> dict[str, Any]:
    joined: dict[str, dict[str, Any]] = {}
    for read in selection.joined:
        facts = {"digest": read.partition_digest, "table_version": read.table_version}
        joined.setdefault(read.dataset, {})[read.date.isoformat()] = facts
    return {
        **({"joined": joined} if joined else {}),
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
    spec = request.folder.spec
    features = profile_rows(rows.train.select(list(spec.features)))
    reference = Profile(features.rows, {**features.columns, **profile_rows(predicted).columns})
    check_watch(spec.name, reference, spec.drift.watch)
    return reference


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
    lines += _list_changed_files(request.folder.files, before.files)
    if before.json("contract.json") != json.loads(canonical_json(contract)):
        lines.append("The contract changed.")
    earlier = before.json("evaluation.json")["metrics"]
    for name, value in json.loads(contents["evaluation.json"][1])["metrics"].items():
        if name in earlier:
            lines.append(f"{name}: {value:.4f}, was {earlier[name]:.4f} on its own held-out days.")
    return "\n".join([f"Since {before.version.number}:", *lines]) + "\n"


def _list_changed_files(now: Mapping[str, bytes], before: Mapping[str, bytes]) -> list[str]:
    lines = []
    for path in (*FILES, *OPTIONAL_FILES):
        if now.get(path) != before.get(path):
            verb = "added" if path not in before else "changed" if path in now else "removed"
            lines.append(f"{path} {verb}.")
    return lines + _count_program_changes(now, before)


def _count_program_changes(now: Mapping[str, bytes], before: Mapping[str, bytes]) -> list[str]:
    """Return one line for all files of the scoring program: they may be a thousand."""
    new, old = ({path for path in files if path.startswith(FOLDER)} for files in (now, before))
    changed = sum(now[path] != before[path] for path in new & old)
    if new == old and not changed:
        return []
    return [f"{FOLDER} {len(new - old)} added, {changed} changed, {len(old - new)} removed."]
