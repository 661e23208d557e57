"""A lineage as OpenLineage run events: each ingest, training and scoring, what it read and made.

Source:
    OpenLineage 2-0-2 (spec/OpenLineage.json, spec/OpenLineage.md, spec/Naming.md) and its facets
    DatasetVersionDatasetFacet 1-0-1, OutputStatisticsOutputDatasetFacet 1-0-2 and
    ErrorMessageRunFacet 1-0-1. A dataset here is one day of one table, because that is what has a
    version; docs/reference/lineage.md has the mapping.
"""

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from functools import cache
from importlib.metadata import version as installed_version
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from pilotline.registry.record import TrainingPartition
from pilotline.registry.runs import PRODUCTION, DataVersion, KnownRun, KnownVersion, Lineage
from pilotline.tasks.explain.lineage import Prediction, Traced
from pilotline.tasks.lab import PREDICTIONS

Json = dict[str, Any]

NAMESPACE = "pilotline"  # of jobs and datasets
RUN_IDS = uuid5(NAMESPACE_URL, "urn:pilotline:runs")  # what our names become UUIDs in
SCHEMA = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
FACETS = "https://openlineage.io/spec/facets"
STANDARD = {
    "version": f"{FACETS}/1-0-1/DatasetVersionDatasetFacet.json#/$defs/DatasetVersionDatasetFacet",
    "outputStatistics": f"{FACETS}/1-0-2/OutputStatisticsOutputDatasetFacet.json"
    "#/$defs/OutputStatisticsOutputDatasetFacet",
    "errorMessage": f"{FACETS}/1-0-1/ErrorMessageRunFacet.json#/$defs/ErrorMessageRunFacet",
}
# A run that lost its partition, or whose process died, was stopped; only "failed" is a failure.
ENDINGS = {"succeeded": "COMPLETE", "failed": "FAIL", "superseded": "ABORT", "crashed": "ABORT"}
NO_TIME = {"START": 0}  # at equal times a START stands first


def describe_events(traced: Traced) -> list[Json]:
    """Return the events of every ingest, training and scoring in a lineage, oldest first."""
    lineage = traced.lineage
    events = [*_ingest_events(lineage), *_training_events(lineage), *_scoring_events(traced)]
    return sorted(events, key=lambda e: (e["eventTime"], NO_TIME.get(e["eventType"], 1)))


def _ingest_events(lineage: Lineage) -> Iterator[Json]:
    for ingest in (ingest for ingests in lineage.ingests.values() for ingest in ingests):
        data = DataVersion(ingest.dataset, ingest.date, ingest.partition_digest)
        moment = ingest.recorded_at
        run = _run(
            f"ingest/{_data_name(data)}/{moment.isoformat()}",
            pilotline_ingest={
                "token": ingest.token,
                "accepted": ingest.accepted,
                "quarantined": ingest.quarantined,
            },
        )
        output = _data(data, ingest.table_version) | _rows(ingest.accepted)
        yield from _finished(f"ingest/{ingest.dataset}", run, moment, [], [output])


def _training_events(lineage: Lineage) -> Iterator[Json]:
    for version in lineage.versions.values():
        inputs = [
            _data(_learned(item), item.table_version, use=item.use)
            for item in lineage.learned[version.row.id]
        ]
        parent = lineage.versions.get(version.row.parent_id or 0)
        if parent is not None:
            inputs.append(_model(parent))
        run = _run(f"train/{version.row.digest}", pilotline_training={"author": version.row.author})
        moment = version.row.recorded_at
        yield from _finished(f"train/{version.model}", run, moment, inputs, [_model(version)])


def _scoring_events(traced: Traced) -> Iterator[Json]:
    lineage = traced.lineage
    for known in lineage.runs:
        row, outcome = known.row, known.outcome
        version = lineage.versions[row.version_id]
        job = f"score/{version.model}/{row.variant}"
        joined = [
            _data(DataVersion(r.dataset, r.date, r.partition_digest), r.table_version, use="joined")
            for r in known.inputs
        ]
        inputs = [_data(known.data, row.table_version), *joined, _model(version)]
        facts = {
            "run": row.id,
            "variant": row.variant,
            "date": row.date.isoformat(),
            "epoch": row.epoch,
            "state": outcome.state if outcome else None,
            "trigger": row.trigger,
            "isolation": row.isolation,
            "lock": row.lock_digest,
        }
        yield _event("START", row.started_at, job, _run(f"score/{row.id}"), inputs, [])
        if outcome is None:
            continue
        said: Json = {"pilotline_scoring": facts}
        if outcome.reason:
            said["errorMessage"] = {"message": outcome.reason, "programmingLanguage": "python"}
        # A run that died may have committed: its rows were there, whatever became of it.
        made = [] if outcome.table_version is None else [_predictions(known, version.model)]
        if traced.prediction is not None:
            made[0]["facets"] |= _facets(pilotline_prediction=_plain(traced.prediction))
        run = _run(f"score/{row.id}", **said)
        yield _event(ENDINGS[outcome.state], outcome.ended_at, job, run, inputs, made)


def _finished(
    job: str, run: Json, moment: datetime, inputs: Sequence[Json], outputs: Sequence[Json]
) -> list[Json]:
    """Return both events of work whose end alone is on record."""
    return [
        _event("START", moment, job, {"runId": run["runId"]}, inputs, []),
        _event("COMPLETE", moment, job, run, inputs, outputs),
    ]


def _event(
    kind: str,
    moment: datetime,
    job: str,
    run: Json,
    inputs: Sequence[Json],
    outputs: Sequence[Json],
) -> Json:
    return {
        "eventType": kind,
        "eventTime": moment.isoformat(),
        "producer": _producer(),
        "schemaURL": SCHEMA,
        "run": run,
        "job": {"namespace": NAMESPACE, "name": job},
        "inputs": list(inputs),
        "outputs": list(outputs),
    }


def _run(name: str, **facets: Json) -> Json:
    run: Json = {"runId": str(uuid5(RUN_IDS, name))}
    return run | {"facets": _facets(**facets)} if facets else run


def _data(data: DataVersion, table_version: int, **more: Any) -> Json:
    facts = {"digest": data.digest, "tableVersion": table_version, **more}
    name = f"datasets/{_data_name(data)}"
    if data.dataset.startswith(PREDICTIONS):  # of another model, that were read as a dataset
        name = f"{data.dataset}/{PRODUCTION}/{data.date.isoformat()}"
    return _dataset(name, version=data.digest, pilotline_partition=facts)


def _model(version: KnownVersion) -> Json:
    facts = {"number": version.row.number, "status": version.status, "reason": version.row.reason}
    return _dataset(f"models/{version.model}", version=version.row.digest, pilotline_version=facts)


def _predictions(known: KnownRun, model: str) -> Json:
    row, outcome = known.row, known.outcome
    assert outcome is not None
    facts = {
        "epoch": row.epoch,
        "tableVersion": outcome.table_version,
        "visible": known.visible,
    }
    name = f"predictions/{model}/{row.variant}/{row.date.isoformat()}"
    made = _dataset(name, version=row.id, pilotline_predictions=facts)
    # Of a run that died nobody counted the rows.
    return made | _rows(outcome.rows) if outcome.state == "succeeded" else made


def _plain(prediction: Prediction) -> Json:
    key = {n: v.isoformat() if isinstance(v, date) else v for n, v in prediction.key.items()}
    return {"key": key, "values": dict(prediction.values)}


def _dataset(name: str, version: str, **facets: Json) -> Json:
    found = _facets(version={"datasetVersion": version}, **facets)
    return {"namespace": NAMESPACE, "name": name, "facets": found}


def _rows(count: int) -> Json:
    return {"outputFacets": _facets(outputStatistics={"rowCount": count})}


def _facets(**facets: Json) -> Json:
    """Return the facets under their keys, each naming its producer and its schema."""
    return {
        key: {"_producer": _producer(), "_schemaURL": STANDARD.get(key, _own(key)), **facts}
        for key, facts in facets.items()
    }


def _own(key: str) -> str:
    return f"urn:pilotline:facet:{key.removeprefix('pilotline_')}:1-0-0"


def _learned(item: TrainingPartition) -> DataVersion:
    return DataVersion(item.dataset, item.date, item.partition_digest)


def _data_name(data: DataVersion) -> str:
    return f"{data.dataset}/{data.date.isoformat()}"


@cache
def _producer() -> str:
    return f"urn:pilotline:release:{installed_version('pilotline')}"
