"""What the registry and the lake know of models, as plain values for people and programs."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pilotline.registry import Registry
from pilotline.registry.form import MissingBlobError
from pilotline.registry.gates import GATES, last_move, latest_decision, look_up
from pilotline.registry.record import (
    CHAMPION,
    ModelVersion,
    RegisteredModel,
    Reign,
    aliased_version,
    aliases_of,
    first_broken_event,
    get_model,
    last_verification,
    learned_from,
    list_events,
    list_metrics,
    list_models,
    list_versions,
    model_of,
    reign_at,
    reigns,
    standing_of,
    status_of,
)
from pilotline.registry.runs import last_shown_day, list_runs, teardown_of
from pilotline.registry.store import Session
from pilotline.tasks.lab import load_json, load_manifest


def describe_models(registry: Registry) -> list[dict[str, Any]]:
    """Return a line for each model."""
    with registry.read() as session:
        return [_describe_model(session, model) for model in list_models(session)]


def _describe_model(session: Session, model: RegisteredModel) -> dict[str, Any]:
    versions = list_versions(session, model.id)
    reigning = aliased_version(session, model.id, CHAMPION)
    number = reigning.number if reigning else None
    scored = last_shown_day(session, model.id)
    return {
        "model": model.name,
        "owner": model.owner,
        "description": model.description,
        "tags": model.tag_list(),
        "champion": number,
        "champion_status": standing_of(session, reigning) if reigning else None,
        "versions": {version.number: status_of(session, version) for version in versions},
        "last_scored": scored.isoformat() if scored else None,
    }


def show_model(registry: Registry, name: str) -> dict[str, Any]:
    """Return a model with all its versions, each in brief.

    Raises:
        UnknownModelError: it is not registered.
    """
    with registry.read() as session:
        model = get_model(session, name)
        facts = _describe_model(session, model)
        facts["versions"] = [
            {
                "version": version.number,
                "status": status_of(session, version),
                "aliases": aliases_of(session, version),
                "reason": version.reason,
                "recorded_at": version.recorded_at.isoformat(),
                "metrics": {
                    metric.name: metric.value
                    for metric in list_metrics(session, version, "evaluation")
                },
                "runs": len(list_runs(session, version)),
            }
            for version in list_versions(session, model.id)
        ]
        facts["chain"] = first_broken_event(session, model.id) is None
    return facts


def show_version(registry: Registry, name: str, reference: str) -> dict[str, Any]:
    """Return everything about one version.

    Raises:
        UnknownModelError, UnknownVersionError, NoChampionError: nothing fits.
    """
    with registry.read() as session:
        version = look_up(session, name, reference)
        facts = _describe_version(session, version)
        runs = list_runs(session, version)
        facts["runs"] = [
            {
                "id": run.id,
                "date": run.date.isoformat(),
                "variant": run.variant,
                "state": outcome.state if outcome else "under way, or its process died",
                "rows": outcome.rows if outcome else 0,
                "isolation": run.isolation,
                "torn_down": teardown is not None and teardown.clean,
            }
            for run, outcome in runs
            for teardown in [teardown_of(session, run)]
        ]
    if facts["verification"] is not None:
        facts["verification"] |= _load_report(registry, facts["verification"]["report"])
    manifest = load_manifest(registry, version)
    evaluation = load_json(registry, version, "evaluation.json")
    facts |= {
        "evaluation": evaluation,
        "contract": load_json(registry, version, "contract.json"),
        "notes": registry.blobs.get(manifest.file("notes.md").sha256).decode(),
        "interpreter": manifest.interpreter,
        "platform": manifest.platform,
        "files": [vars(file) for file in manifest.files],
    }
    return facts


def _load_report(registry: Registry, digest: str) -> dict[str, Any]:
    """Return what a verification found one by one; nothing where an import came without it."""
    try:
        report = json.loads(registry.blobs.get(digest))
    except MissingBlobError:
        report = {}
    return {
        "checks": _entries(report, "checks", "name", "passed", "detail"),
        "cases": _entries(report, "cases", "group", "case", "outcome", "detail"),
        "figures": report.get("figures"),
    }


def _entries(report: dict[str, Any], key: str, *needed: str) -> list[dict[str, Any]]:
    """Return the report's list under ``key``, without what an earlier release wrote otherwise."""
    return [entry for entry in report.get(key, []) if set(needed) <= set(entry)]


def _describe_version(session: Session, version: ModelVersion) -> dict[str, Any]:
    model = model_of(session, version)
    learned: dict[str, dict[str, Any]] = {}
    for item in learned_from(session, version):
        table = learned.setdefault(
            item.dataset, {"table_version": item.table_version, "partitions": {}}
        )
        table["partitions"][item.date.isoformat()] = {
            "use": item.use,
            "digest": item.partition_digest,
        }
    verification = last_verification(session, version)
    return {
        "model": model.name,
        "version": version.number,
        "status": status_of(session, version),
        "status_change": _status_change(session, version),
        "aliases": aliases_of(session, version),
        "digest": version.digest,
        "reason": version.reason,
        "author": version.author,
        "owner": model.owner,
        "recorded_at": version.recorded_at.isoformat(),
        "approvals": _approvals(session, version),
        "metrics": {
            metric.name: metric.value for metric in list_metrics(session, version, "evaluation")
        },
        "realized": [
            {
                "date": metric.start.isoformat(),
                "metric": metric.name,
                "value": metric.value,
                "rows": metric.rows,
                "variant": metric.variant,
            }
            for metric in list_metrics(session, version, "realized")
        ],
        "verification": None
        if verification is None
        else {
            "passed": verification.passed,
            "summary": verification.summary,
            "platform": verification.platform,
            "isolation": verification.isolation,
            "recorded_at": verification.recorded_at.isoformat(),
            "report": verification.report_digest,
        },
        "learned_from": learned,
    }


def _status_change(session: Session, version: ModelVersion) -> dict[str, Any] | None:
    """Return why, by whom and when the version got its status; None while nobody decided."""
    event = last_move(session, version)
    if event is None or event.kind == "registered":
        return None
    facts = event.facts()
    return {
        "reason": facts.get("reason", facts.get("comment", "")),
        "by": facts.get("by", ""),
        "identity": facts.get("identity", ""),
        "recorded_at": event.recorded_at.isoformat(),
    }


def _approvals(session: Session, version: ModelVersion) -> list[dict[str, Any]]:
    decisions = [latest_decision(session, version, gate) for gate in GATES]
    return [
        {
            "gate": decision.gate,
            "decision": decision.decision,
            "by": decision.approver,
            "identity": decision.identity,
            "comment": decision.comment,
            "digest": decision.manifest_digest,
            "policy": decision.policy_digest,
            "recorded_at": decision.recorded_at.isoformat(),
        }
        for decision in decisions
        if decision is not None
    ]


def show_history(
    registry: Registry, name: str, at: datetime | None = None, known_at: datetime | None = None
) -> list[dict[str, Any]]:
    """Return who was champion when; with ``at`` only the one in force at that business time.

    Raises:
        UnknownModelError: the model is not registered.
        NoChampionError: none yet at ``at``.
    """
    with registry.read() as session:
        known: Sequence[Reign]
        if at is not None:
            known = [reign_at(session, name, at, known_at)]
        else:
            every = reigns(session, name)
            known = [r for r in every if known_at is None or r.recorded_at <= known_at]
        revoked = {
            event.facts()["version"]: event.recorded_at.isoformat()
            for event in list_events(session, get_model(session, name).id, "revoked")
        }
    return [
        {
            "version": reign.number,
            "revoked_since": revoked.get(reign.number),
            "digest": reign.digest,
            "effective_from": reign.effective_from.isoformat(),
            "recorded_at": reign.recorded_at.isoformat(),
            "previous": reign.previous,
            "kind": reign.kind,
            "backdated": reign.backdated,
            "reason": reign.reason,
            "by": reign.by or ", ".join(dict.fromkeys(a["by"] for a in reign.approvals)),
            "event": reign.event,
            "approvals": reign.approvals,
            "policy": reign.policy,
        }
        for reign in known
    ]
