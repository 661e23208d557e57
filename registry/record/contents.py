"""What a version's own files say of it, beside what the registry keeps in its tables."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy.orm import Session

from pilotline.registry.form import AuditError
from pilotline.registry.record.manifest import Manifest
from pilotline.registry.record.metrics import list_metrics
from pilotline.registry.record.versions import ModelVersion, learned_from

Read = Callable[[str], bytes]  # a file's bytes by its path; KeyError where there is none
# What every command that shows a version reads.
NEEDED = ("notes.md", "contract.json", "evaluation.json")


@dataclass(frozen=True)
class Kept:
    """What the registry keeps of a version that its files say as well."""

    notes: str
    features: list[str]
    dataset: str
    metrics: Mapping[str, float]
    rows: int  # it was judged on; 0 where it was not
    span: tuple[date, date] | None  # first and last day of them
    learned: Iterable[Any]  # days, as rows of the table or as given


def check_contents(
    session: Session, name: str, version: ModelVersion, manifest: Manifest, get: Read
) -> None:
    """Do nothing if the rows of ``version`` say what its files do; reads only.

    Args:
        session: any session.
        name: the model.
        version: one of its versions.
        manifest: what it holds.
        get: gives a blob by its digest.

    Raises:
        AuditError: the first file that says something else, or what it must not.
    """
    digests = {file.path: file.sha256 for file in manifest.files}
    metrics = list_metrics(session, version, "evaluation")
    judged = {(metric.start, metric.end, metric.rows) for metric in metrics}
    if len(judged) > 1:
        raise AuditError(name, f"Metrics of {version.number}", "they are of several spans or rows")
    start, end, rows = judged.pop() if judged else (None, None, 0)
    kept = Kept(
        notes=version.notes,
        features=json.loads(version.features),
        dataset=version.dataset,
        metrics={metric.name: metric.value for metric in metrics},
        rows=rows,
        span=(start, end) if start and end else None,
        learned=learned_from(session, version),
    )
    wrong = first_contradiction(kept, lambda path: get(digests[path]))
    if wrong is not None:
        path, what = wrong
        raise AuditError(name, f"File {path} of {version.number}", f"it says other {what}")


def first_contradiction(kept: Kept, read: Read) -> tuple[str, str] | None:
    """Return the first file that says something else than what is kept, and of what; or None.

    A file that is not there, or says nothing of it, contradicts nothing.
    """
    contract, data = _json(read, "contract.json"), _json(read, "data.json")
    evaluation = _json(read, "evaluation.json")
    said: list[tuple[str, str, object, object]] = [
        ("notes.md", "notes", _text(read, "notes.md"), kept.notes),
        ("contract.json", "dataset", contract.get("dataset"), kept.dataset),
        ("evaluation.json", "metrics", evaluation.get("metrics"), dict(kept.metrics)),
    ]
    if "inputs" in contract:
        features = sorted(contract["inputs"])
        said.append(("contract.json", "features", features, sorted(kept.features)))
    if kept.span is not None:
        said.append(("evaluation.json", "rows", evaluation.get("rows"), kept.rows))
    if kept.span is not None and "holdout" in data:
        days = [day.isoformat() for day in kept.span]
        told = sorted(data["holdout"]["days"])
        said.append(("data.json", "held-out days", [told[0], told[-1]], days))
    if "tables" in data:
        said.append(("data.json", "days", _days(data), _described(kept.learned)))
    for path, what, says, keeps in said:
        if says is not None and says != keeps:
            return path, what
    return None


def check_form(path: str, data: bytes) -> None:
    """Do nothing if one of the files that every version needs says what it must.

    Raises:
        ValueError, LookupError, TypeError, AttributeError: it does not.
    """
    if path == "notes.md":
        data.decode()
    elif path == "contract.json":
        contract = json.loads(data)
        for side in ("inputs", "outputs"):
            for column in contract[side].values():
                sound = isinstance(column["type"], str) and isinstance(column["nullable"], bool)
                if not sound:
                    raise ValueError(f"expected types of the contract's {side}, got {column!r}")
    elif path == "evaluation.json":
        evaluation = json.loads(data)
        if not all(isinstance(value, int | float) for value in evaluation["metrics"].values()):
            raise ValueError("expected the evaluation's metrics as numbers")
        for check in evaluation["checks"]:
            texts = (check["name"], check["detail"])
            if type(check["passed"]) is not bool or not all(isinstance(t, str) for t in texts):
                raise ValueError("expected the evaluation's checks with name, passed and detail")


def _text(read: Read, path: str) -> str | None:
    try:
        return read(path).decode()
    except KeyError:
        return None


def _json(read: Read, path: str) -> dict[str, Any]:
    text = _text(read, path)
    value = {} if text is None else json.loads(text)
    if not isinstance(value, dict):
        raise TypeError(f"{path} holds no JSON object")
    return value


def _days(data: Mapping[str, Any]) -> list[list[Any]]:
    """Return the days that ``data.json`` names, in the order of ``_described``."""
    uses = {day: use for use in ("train", "holdout") for day in data[use]["days"]}
    learned = [
        [name, day, uses[day], digest, table["table_version"]]
        for name, table in data["tables"].items()
        for day, digest in table["partitions"].items()
        if day in uses
    ]
    known = {(name, day) for name, day, *_ in learned}
    joined = [
        [name, day, "joined", facts["digest"], facts["table_version"]]
        for name, days in data.get("joined", {}).items()
        for day, facts in days.items()
        if (name, day) not in known
    ]
    return sorted(learned + joined)


def _described(learned: Iterable[Any]) -> list[list[Any]]:
    return sorted(
        [item.dataset, item.date.isoformat(), item.use, item.partition_digest, item.table_version]
        for item in learned
    )
