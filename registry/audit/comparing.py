"""Comparing a model's rows with what its events say: every fact that an event holds."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import isclose
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import NoResultFound
from sqlalchemy.orm import Session

from pilotline.registry.audit.folding import Fold
from pilotline.registry.consumers import Consumer
from pilotline.registry.form import AuditError, GarbledError, RegistryError, digest_bytes
from pilotline.registry.gates import Approval, ApprovalUse, approval_digest
from pilotline.registry.record import (
    Alias,
    Event,
    Metric,
    ModelVersion,
    TrainingPartition,
    Verification,
    VersionStatus,
    learned_digest,
    list_versions,
)
from pilotline.registry.runs import (
    PRODUCTION,
    Run,
    RunInput,
    RunOutcome,
    ScoredPartition,
    describe_inputs,
)

REASON = 400  # characters of a run's reason that its event holds


@dataclass(frozen=True)
class _Model:
    """Whose rows are looked at."""

    session: Session
    id: int
    name: str
    versions: dict[int, ModelVersion]  # by id

    def number(self, version_id: int) -> str:
        """Return a version's number, in words where it is none of the model's."""
        version = self.versions.get(version_id)
        return version.number if version else "no version of the model"


def compare_rows(session: Session, model_id: int, name: str, fold: Fold) -> None:
    """Do nothing if the model's rows are what ``fold`` says; reads only.

    Raises:
        AuditError: the first difference.
    """
    with readable(name, "Version"):
        versions = {version.id: version for version in list_versions(session, model_id)}
    model = _Model(session, model_id, name, versions)
    for what, check in (
        ("Version", _compare_versions),
        ("Training partition", _compare_learned),
        ("Status", _compare_statuses),
        ("Alias", _compare_aliases),
        ("Approval", _compare_approvals),
        ("Verification", _compare_verifications),
        ("Metric", _compare_metrics),
        ("Run", _compare_runs),
        ("Consumer", _compare_consumers),
    ):
        with readable(name, what):
            check(model, fold)


@contextmanager
def readable(chain: str, what: str) -> Iterator[None]:
    """Say in words what comes of rows that are missing or hold nonsense.

    Raises:
        AuditError: a row of ``what`` cannot be read.
    """
    try:
        yield
    except GarbledError as err:
        raise AuditError(chain, what, err.problem) from err
    except RegistryError:
        raise
    except (ValueError, LookupError, TypeError, AttributeError, NoResultFound) as err:
        raise AuditError(chain, what, f"a row is missing or holds nonsense ({err})") from err


def compare(
    chain: str, what: str, told: Mapping[str, object], present: Mapping[str, object]
) -> None:
    """Do nothing if what the events say is what is there.

    Raises:
        AuditError: the first difference.
    """
    for key in sorted({*told, *present}):
        said, found = told.get(key), present.get(key)
        if said != found:
            problem = f"the events say {_shown(said)}, found {_shown(found)}"
            raise AuditError(chain, f"{what} {key}", problem)


def compare_facts(
    chain: str,
    what: str,
    told: Mapping[str, Mapping[str, object]],
    present: Mapping[str, Mapping[str, object]],
) -> None:
    """Do nothing if the same things are there, with every fact that the events hold of them.

    Raises:
        AuditError: the first difference.
    """
    compare(chain, what, dict.fromkeys(told, "one"), dict.fromkeys(present, "one"))
    for key, facts in told.items():
        known = {name: value for name, value in facts.items() if name in present[key]}
        compare(chain, f"{what} {key}", known, {name: present[key][name] for name in known})


def _shown(value: object) -> object:
    return "nothing" if value is None or value == "" else value


def _compare_versions(model: _Model, fold: Fold) -> None:
    present = {version.number: _describe(model, version) for version in model.versions.values()}
    digests = {number: facts["digest"] for number, facts in present.items()}
    told = {number: facts["digest"] for number, facts in fold.versions.items()}
    compare(model.name, "Digest of version", told, digests)
    for fact in next(iter(present.values()), {}):  # of early versions no event holds them all
        told = {number: facts[fact] for number, facts in fold.versions.items() if fact in facts}
        found = {number: present[number][fact] for number in told}
        what = f"{fact.replace('_', ' ').capitalize()} of version"
        compare(model.name, what, told, found)


def _describe(model: _Model, version: ModelVersion) -> dict[str, Any]:
    parent = version.parent_id
    return {
        "digest": version.digest,
        "parent": None if parent is None else model.number(parent),
        "author": version.author,
        "reason": version.reason,
        "training_key": version.training_key,
        "dataset": version.dataset,
        "features": json.loads(version.features),
        "notes": digest_bytes(version.notes.encode()),
    }


def _compare_learned(model: _Model, fold: Fold) -> None:
    told = {
        number: facts["learned"] for number, facts in fold.versions.items() if "learned" in facts
    }
    learned: dict[str, list[TrainingPartition]] = {number: [] for number in told}
    query = select(TrainingPartition).where(TrainingPartition.version_id.in_(model.versions))
    for row in model.session.scalars(query) if told else ():
        if model.number(row.version_id) in learned:
            learned[model.number(row.version_id)].append(row)
    present = {number: learned_digest(rows) for number, rows in learned.items()}
    compare(model.name, "Training partitions of version", told, present)


def _compare_statuses(model: _Model, fold: Fold) -> None:
    query = select(VersionStatus).where(VersionStatus.version_id.in_(model.versions))
    rows = model.session.scalars(query)
    present = {model.number(row.version_id): row.status for row in rows}
    compare(model.name, "Status of version", fold.status, present)


def _compare_aliases(model: _Model, fold: Fold) -> None:
    rows = model.session.execute(
        select(Alias.name, Alias.version_id, Event.seq)
        .outerjoin(Event, (Event.id == Alias.event_id) & (Event.model_id == model.id))
        .where(Alias.model_id == model.id)
    )
    present = {name: f"{model.number(to)} since event {seq}" for name, to, seq in rows}
    told = {name: f"{number} since event {seq}" for name, (number, seq) in fold.aliases.items()}
    compare(model.name, "Alias", told, present)


def _compare_approvals(model: _Model, fold: Fold) -> None:
    """Look at each decision, and that no promotion's approvals can be used a second time."""
    query = select(Approval).where(Approval.version_id.in_(model.versions)).order_by(Approval.id)
    present: dict[str, str] = {}
    for approval in model.session.scalars(query):
        version = model.versions[approval.version_id]
        if approval.manifest_digest != version.digest:
            what = f"Approval at {approval.gate} of {version.number}"
            raise AuditError(model.name, what, "it was moved here from another version")
        present[approval_digest(approval)] = version.number
    compare(model.name, "Approval", fold.approvals, present)
    uses = model.session.execute(
        select(Approval, Event.seq)
        .join(ApprovalUse, ApprovalUse.approval_id == Approval.id)
        .outerjoin(Event, (Event.id == ApprovalUse.event_id) & (Event.model_id == model.id))
        .where(Approval.version_id.in_(model.versions))
    )
    used = {approval_digest(approval): seq for approval, seq in uses}
    compare(model.name, "Use of approval", fold.uses, used)


def _compare_verifications(model: _Model, fold: Fold) -> None:
    query = select(Verification).where(Verification.version_id.in_(model.versions))
    counts: Counter[str] = Counter()
    present = {}
    for row in model.session.scalars(query.order_by(Verification.id)):
        number = model.number(row.version_id)
        counts[number] += 1
        present[f"{counts[number]} of {number}"] = {
            "passed": row.passed,
            "platform": row.platform,
            "isolation": row.isolation,
            "report": row.report_digest,
            "summary": row.summary,
        }
    compare_facts(model.name, "Verification", fold.verifications, present)


def _compare_metrics(model: _Model, fold: Fold) -> None:
    """Look at what a version was registered with, and at the distances that were called drift."""
    query = select(Metric).where(Metric.version_id.in_(model.versions)).order_by(Metric.id)
    present: dict[str, Any] = {}
    drift: dict[tuple[str, str, str, str], list[float]] = {}
    for row in model.session.scalars(query):
        number, version = model.number(row.version_id), model.versions[row.version_id]
        key = f"{row.name} of {number}"
        if row.kind == "evaluation" and key in present:
            raise AuditError(model.name, f"Metric {key}", "it is there twice")
        if row.kind == "evaluation":
            sound = (row.variant, row.basis) == ("holdout", version.digest)
            present[key] = row.value if sound else f"one of {row.variant} on {row.basis}"
        elif row.kind == "drift" and row.variant == PRODUCTION:
            span = (row.start.isoformat(), row.end.isoformat())
            drift.setdefault((number, row.name, *span), []).append(row.value)
    told = {
        f"{name} of {number}": value
        for number, facts in fold.versions.items()
        for name, value in facts["metrics"].items()
    }
    compare(model.name, "Metric", told, present)
    for one in fold.distances:
        found = drift.get((one.number, one.name, one.start, one.end), [])
        # The day may have been judged before on another machine, whose last digits differ.
        if not any(isclose(value, one.value, rel_tol=1e-6) for value in found):
            what = f"Metric {one.name} of {one.number}, {one.start} to {one.end}"
            problem = f"the events say {one.value}, found {found or 'nothing'}"
            raise AuditError(model.name, what, problem)


def _compare_runs(model: _Model, fold: Fold) -> None:
    rows = model.session.execute(
        select(Run, RunOutcome)
        .outerjoin(RunOutcome, RunOutcome.run_id == Run.id)
        .where(Run.model_id == model.id)
        .order_by(Run.epoch)
    )
    joined: dict[str, list[RunInput]] = {}
    query = select(RunInput).join(Run, Run.id == RunInput.run_id).where(Run.model_id == model.id)
    for read in model.session.scalars(query):
        joined.setdefault(read.run_id, []).append(read)
    ended: dict[str, dict[str, object]] = {}
    claims: dict[str, str] = {}
    for run, outcome in rows:
        claims[f"{run.variant} {run.date}"] = f"claimed by {run.id} with epoch {run.epoch}"
        if outcome is not None:
            facts = _describe_run(model, run, outcome)
            ended[run.id] = facts | {"inputs": None} | describe_inputs(joined.get(run.id, []))
    told = {run: facts | {"reason": facts.get("reason", "")} for run, facts in fold.runs.items()}
    compare_facts(model.name, "Run", told, ended)
    _compare_partitions(model, fold, claims)


def _describe_run(model: _Model, run: Run, outcome: RunOutcome) -> dict[str, object]:
    return {
        "version": model.number(run.version_id),
        "challenger": model.number(run.challenger_id) if run.challenger_id else None,
        "share": run.share,
        "variant": run.variant,
        "date": run.date.isoformat(),
        "epoch": run.epoch,
        "partition": run.partition_digest,
        "state": outcome.state,
        "rows": outcome.rows,
        "committed": outcome.table_version is not None,
        "reason": outcome.reason[:REASON],
    }


def _compare_partitions(model: _Model, fold: Fold, claims: Mapping[str, str]) -> None:
    """Look at the last claim of each partition, and at the run that readers see."""
    query = select(ScoredPartition).where(ScoredPartition.model_id == model.id)
    present, shown = {}, {}
    for row in model.session.scalars(query):
        key = f"{row.variant} {row.date}"
        present[key] = f"claimed by {row.claimed_by} with epoch {row.epoch}"
        if row.visible_run is not None and key not in fold.unsure:
            shown[key] = row.visible_run
    sure = {key: run for key, run in fold.visible.items() if run and key not in fold.unsure}
    compare(model.name, "Partition", sure, shown)
    for key in sorted({*claims, *present}):
        if claims.get(key) != present.get(key):
            problem = (
                f"the runs say {claims.get(key, 'nothing')}, found {present.get(key, 'nothing')}"
            )
            raise AuditError(model.name, f"Partition {key}", problem)


def _compare_consumers(model: _Model, fold: Fold) -> None:
    rows = model.session.execute(
        select(Consumer, Event.seq)
        .outerjoin(Event, (Event.id == Consumer.event_id) & (Event.model_id == model.id))
        .where(Consumer.model_id == model.id)
    )
    present = {row.name: (row.contact, row.needs, seq) for row, seq in rows}
    compare(model.name, "Consumer", fold.consumers, present)
