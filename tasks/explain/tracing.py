"""Where one prediction came from: version, run, partition, environment and input row."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pilotline.registry import Registry
from pilotline.registry.gates import SET
from pilotline.registry.record import ModelVersion, get_model, list_events, list_versions, status_of
from pilotline.registry.runs import (
    PRODUCTION,
    describe_split,
    get_run,
    imported_run,
    inputs_of,
    outcome_of,
    teardown_of,
    versions_of,
    visible_runs,
)
from pilotline.registry.store import Session
from pilotline.tasks import lake
from pilotline.tasks.errors import LakeError, NothingToDoError
from pilotline.tasks.features import read_joined
from pilotline.tasks.home import Home
from pilotline.tasks.lab import TYPES, load_json, load_manifest
from pilotline.tasks.lake import check_day
from pilotline.tasks.score import plan_again


def trace_prediction(
    registry: Registry, home: Home, name: str, day: date, text: str
) -> dict[str, Any]:
    """Return everything that led to one production prediction, as JSON values.

    Args:
        registry: the registry.
        home: the home.
        name: the model.
        day: the partition.
        text: the key's values, ``carrier=UA,flight=1545,origin=EWR``, or just the values in the
            key's order without the date.

    Raises:
        UnknownModelError: the model is not registered.
        NothingToDoError: the key is incomplete, or there is no such prediction.
        LakeError: the input is not what was ingested.
    """
    contract, where, row = find_prediction(registry, home, name, day, text)
    with registry.read() as session:
        run = get_run(session, row["run_id"])
        version = _scorer(versions_of(session, run), name, row["model_version"])
        outcome, teardown = outcome_of(session, run), teardown_of(session, run)
        status = status_of(session, version)
        approvals = _approvals_of(session, version)
        split = describe_split(session, run)
        reads = inputs_of(session, [run.id])
    manifest = load_manifest(registry, version)
    source = lake.open_table(lake.accepted_path(home.lake, run.dataset), run.table_version)
    partition = lake.read(source, lake.schema_of(source), lake.on_day(contract["date"], day))
    check_day(run.dataset, tuple(contract["key"]), day, partition, run.partition_digest)
    found = _pick(partition, where)
    job = plan_again(registry, run)
    joined = read_joined(registry, home, job.joins, reads, job.date_column)
    if joined is not None and found:
        (found,) = joined.add(pa.Table.from_pylist([found], partition.schema)).to_pylist()
    return {
        "model": name,
        "key": {column: _plain(value) for column, value in where.items()},
        "prediction": {
            column: row[column]
            for column in load_json(registry, version, "contract.json")["outputs"]
        },
        "input": {column: _plain(value) for column, value in found.items()},
        "version": {
            "number": version.number,
            "digest": version.digest,
            "status": status,
            "author": version.author,
            "interpreter": manifest.interpreter,
            "approvals": approvals,
        },
        "run": {
            "id": run.id,
            "trigger": run.trigger,
            "isolation": run.isolation,
            "started_at": run.started_at.isoformat(),
            "state": outcome.state if outcome else "unknown",
            "rows": outcome.rows if outcome else None,
            "torn_down": teardown.clean if teardown else False,
            "split": split or None,
        },
        "partition": {
            "dataset": run.dataset,
            "date": day.isoformat(),
            "digest": run.partition_digest,
            "table_version": run.table_version,
        },
        "joined": [
            {
                "dataset": read.dataset,
                "date": read.date.isoformat(),
                "digest": read.partition_digest,
                "table_version": read.table_version,
            }
            for read in reads
        ],
        "environment": {"lock": manifest.file("requirements.lock").sha256},
    }


def _scorer(versions: Sequence[ModelVersion], name: str, number: str) -> ModelVersion:
    """Return the one of a run's versions that a row says made it.

    Raises:
        LakeError: it says another one.
    """
    for version in versions:
        if version.number == number:
            return version
    scorers = " and ".join(version.number for version in versions)
    raise LakeError(
        name,
        f"the row says version {number!r}, its run was by {scorers}",
        "Somebody changed the table: score the day again.",
    )


def _approvals_of(session: Session, version: ModelVersion) -> list[dict[str, str]]:
    """Return the approvals on which ``version`` may score production's rows, if it may."""
    kinds = ("promoted", SET)
    for event in reversed(list_events(session, version.model_id, *kinds)):
        facts = event.facts()
        if facts["digest"] == version.digest:
            approvals: list[dict[str, str]] = facts["approvals"]
            return approvals
    return []


def find_prediction(
    registry: Registry, home: Home, name: str, day: date, text: str
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Return the contract, the key and the row of one production prediction.

    Raises:
        UnknownModelError: the model is not registered.
        NothingToDoError: the key is incomplete, or there is no such prediction.
    """
    with registry.read() as session:
        newest = list_versions(session, get_model(session, name).id)[-1]
        elsewhere = imported_run(session, newest.model_id, PRODUCTION, day)
    contract: dict[str, Any] = load_json(registry, newest, "contract.json")
    where = {contract["date"]: day, **parse_key(contract, text)}
    path = lake.predictions_path(home.lake, name)
    here = elsewhere is None or lake.is_table(path)
    row = _find(lake.open_table(path), where, PRODUCTION) if here else None
    if row is None and elsewhere is not None:
        raise NothingToDoError(
            f"Trace of {name!r}",
            f"{day} was scored by run {elsewhere}, which was imported; its rows are not here",
            f"Trace it where it ran, or score the day here: 'pilotline score {name} --date {day}'.",
        )
    if row is None:
        with registry.read() as session:
            scored = visible_runs(session, newest.model_id, PRODUCTION, day, day)
        raise NothingToDoError(
            f"Trace of {name!r}",
            f"no production prediction for {day} with {text}",
            "The day is scored, but has no such key; check its values."
            if scored
            else f"The day is not scored: 'pilotline score {name} --date {day}'.",
        )
    return contract, where, row


def parse_key(contract: Mapping[str, Any], text: str) -> dict[str, Any]:
    """Return the key columns but the date, in the contract's types.

    Raises:
        NothingToDoError: a column is missing, unknown, or its value of another type.
    """
    names = [name for name in contract["key"] if name != contract["date"]]
    parts = [part.strip() for part in text.split(",")]
    pairs: Mapping[str, str]
    if all("=" in part for part in parts):
        pairs = dict(part.split("=", 1) for part in parts)
    else:
        pairs = dict(zip(names, parts, strict=False)) if len(parts) == len(names) else {}
    if set(pairs) != set(names):
        raise NothingToDoError(
            f"Key {text!r}",
            f"expected values for {', '.join(names)}",
            "Write " + ",".join(f"{name}=..." for name in names) + ".",
        )
    try:
        return {
            name: pa.scalar(pairs[name]).cast(TYPES[contract["key_types"][name]]).as_py()
            for name in names
        }
    except pa.ArrowInvalid as err:
        raise NothingToDoError(f"Key {text!r}", str(err), "Check the value's type.") from err


def _find(table: Any, where: Mapping[str, Any], variant: str) -> dict[str, Any] | None:
    (date_column, day), *_ = where.items()
    predicate = f"variant = '{variant}' and {lake.on_day(date_column, day)}"
    rows = lake.read(table, lake.schema_of(table), predicate)
    found = _pick(rows, where)
    return found or None


def _pick(rows: pa.Table, where: Mapping[str, Any]) -> dict[str, Any]:
    for name, value in where.items():
        rows = rows.filter(pc.equal(rows[name], pa.scalar(value, rows.schema.field(name).type)))
    found: list[dict[str, Any]] = rows.to_pylist()
    return found[0] if found else {}


def _plain(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else value
