"""Filling registries for the benchmark: rows as registering and promoting would leave them.

Inserted in bulk, since 220,000 events one by one would take an hour; hashes, approvals and aliases
are real, so that every check passes. There are no bytes behind the digests.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import Table, func, insert, select, text

from pilotline.registry import Registry
from pilotline.registry.audit.auditing import check_model
from pilotline.registry.form.canonical import canonical_json, digest_bytes
from pilotline.registry.gates.approvals import Approval, ApprovalUse, approval_digest
from pilotline.registry.gates.policy import GATES, Policy
from pilotline.registry.record.aliases import CHAMPION, Alias
from pilotline.registry.record.events import GENESIS, Event, hash_event
from pilotline.registry.record.metrics import Metric
from pilotline.registry.record.models import RegisteredModel
from pilotline.registry.record.verifications import Verification
from pilotline.registry.record.versions import ModelVersion, VersionStatus

AT = datetime(2026, 1, 1, tzinfo=UTC)
CHUNK = 500  # models inserted in one transaction
RELEASED = (5, 8, 10)  # which of the versions were promoted, one after the other
WORDS = ("churn", "delay", "price", "demand", "fraud", "risk", "sales", "stock", "trip", "weather")
POLICY = Policy(
    approvers={"review": ("reviewer",), "go-live": ("operations",)},
    identity="claimed",
    distinct_approvers=True,
    expires_days=14,
    minimum_isolation="A",
)
PLATFORM = "linux x86_64"
Rows = dict[Table, list[dict[str, Any]]]


@dataclass
class EventRow:
    """An event as its table holds it."""

    id: int
    chain: str
    model_id: int
    seq: int
    kind: str
    body: str
    previous: str
    recorded_at: datetime = AT
    effective_from: datetime = AT
    hash: str = ""


@dataclass(frozen=True)
class ApprovalRow:
    """An approval as its table holds it."""

    id: int
    version_id: int
    gate: str
    approver: str
    manifest_digest: str
    policy_digest: str
    decision: str = "approve"
    identity: str = "claimed"
    comment: str = "read the evidence"
    recorded_at: datetime = AT


@dataclass
class Filling:
    """What was made so far; every id is given out here."""

    versions: int
    policy: str = POLICY.digest()
    rows: Rows = field(default_factory=lambda: defaultdict(list))
    ids: dict[type, int] = field(default_factory=lambda: defaultdict(int))
    last: EventRow | None = None  # of the model that is being made
    manifest: Callable[[int], bytes] = lambda version_id: f"manifest {version_id}".encode()

    def new_id(self, table: type) -> int:
        """Return the next id of a table."""
        self.ids[table] += 1
        return self.ids[table]

    def add(self, table: Any, **row: Any) -> None:
        """Keep a row until the chunk is inserted."""
        self.rows[table.__table__].append(row)


def fill_registries(
    registries: Sequence[Registry],
    models: int,
    versions: int,
    manifest: Callable[[int], bytes] | None = None,
) -> list[str]:
    """Fill empty registries alike and return the names of the models in them.

    Args:
        registries: empty ones.
        models: how many.
        versions: of each model.
        manifest: gives the manifest of a version by its id, where there are bytes behind it.
    """
    filling = Filling(versions, manifest=manifest) if manifest else Filling(versions)
    names = [f"{WORDS[n % len(WORDS)]}-{n:05}" for n in range(models)]
    for start in range(0, models, CHUNK):
        for name in names[start : start + CHUNK]:
            _make_model(filling, name)
        for registry in registries:
            with registry.write() as session:
                for table in RegisteredModel.metadata.sorted_tables:
                    if filling.rows[table]:
                        session.execute(insert(table), filling.rows[table])
        filling.rows.clear()
    for registry in registries:
        settle(registry)
        check_chains(registry, names[:: max(1, models // 20)])
    return names


def settle(registry: Registry) -> None:
    """Bring a PostgreSQL server to where its own housekeeping would bring it in a minute."""
    if registry.engine.dialect.name != "postgresql":
        return
    with registry.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for table in RegisteredModel.metadata.sorted_tables:
            if "id" in table.c and table.c.id.autoincrement is not False and table.name != "run":
                largest = connection.scalar(select(func.max(table.c.id)))
                if largest is not None:
                    sequence = func.pg_get_serial_sequence(table.name, "id")
                    connection.execute(select(func.setval(sequence, largest)))
        connection.execute(text("VACUUM ANALYZE"))


def check_chains(registry: Registry, names: Sequence[str]) -> None:
    """Do nothing if the named models pass the audit.

    Raises:
        AuditError: one does not.
    """
    with registry.read() as session:
        query = select(RegisteredModel).where(RegisteredModel.name.in_(names))
        for model in session.scalars(query):
            check_model(session, model.id, model.name)


def _make_model(filling: Filling, name: str) -> None:
    model_id = filling.new_id(RegisteredModel)
    filling.last = None
    filling.add(
        RegisteredModel,
        id=model_id,
        name=name,
        owner=f"team-{model_id % 50}",
        description=f"Predicts {name.split('-')[0]} of market {model_id % 200} a day ahead.",
        tags=json.dumps(["daily", f"market-{model_id % 200}"]),
        created_at=AT,
    )
    champion = None
    for major in range(1, filling.versions + 1):
        champion = _make_version(filling, name, model_id, major, champion)


def _make_version(
    filling: Filling, name: str, model_id: int, major: int, champion: str | None
) -> str | None:
    """Make a version, promoted if it is one of those, and return who is champion now."""
    version_id, number = filling.new_id(ModelVersion), f"{major}.0.0"
    digest = digest_bytes(filling.manifest(version_id))
    filling.add(
        ModelVersion,
        id=version_id,
        model_id=model_id,
        major=major,
        minor=0,
        patch=0,
        digest=digest,
        training_key=digest_bytes(f"inputs {version_id}".encode()),
        parent_id=None,
        reason="no parent version",
        author="author",
        features=json.dumps(["hour", "weekday", "distance"]),
        dataset="flights",
        notes=f"Learned another month, the {major}.",
        recorded_at=AT,
    )
    released = major in RELEASED
    metrics = {"roc_auc": 0.5 + version_id % 400 / 1000} if released else {}
    body = {"digest": digest, "parent": None, "author": "author", "reason": "no parent version"}
    _add_event(filling, name, "registered", {"version": number, **body, "metrics": metrics})
    filling.add(
        VersionStatus, version_id=version_id, status="approved" if released else "registered"
    )
    if not released:
        return champion
    _add_metric(filling, version_id, digest, metrics["roc_auc"])
    _release(filling, name, version_id, number, digest, champion)
    return number


def _add_metric(filling: Filling, version_id: int, digest: str, value: float) -> None:
    filling.add(
        Metric,
        id=filling.new_id(Metric),
        version_id=version_id,
        kind="evaluation",
        name="roc_auc",
        value=value,
        start=date(2025, 12, 1),
        end=date(2025, 12, 31),
        variant="holdout",
        rows=1000,
        basis=digest,
        recorded_at=AT,
    )


def _release(
    filling: Filling, name: str, version_id: int, number: str, digest: str, champion: str | None
) -> None:
    """Approve, verify, approve again and promote; the champion moves with the last promotion."""
    model_id = filling.ids[RegisteredModel]
    about = {"version": number, "digest": digest}
    review = _approve(filling, name, version_id, number, GATES[0], digest)
    report = digest_bytes(b"{}")
    verified = {"passed": True, "summary": "parity", "platform": PLATFORM, "isolation": "A"}
    filling.add(
        Verification,
        id=filling.new_id(Verification),
        version_id=version_id,
        report_digest=report,
        recorded_at=AT,
        **verified,
    )
    _add_event(filling, name, "verified", {**about, "report": report, **verified})
    approvals = [review, _approve(filling, name, version_id, number, GATES[1], digest)]
    event = _add_event(
        filling,
        name,
        "promoted",
        {
            **about,
            "previous": champion,
            "policy": filling.policy,
            "approvals": [_describe(approval) for approval in approvals],
            "broken": [],
            "break_reason": "",
        },
    )
    for approval in approvals:
        use = filling.new_id(ApprovalUse)
        filling.add(ApprovalUse, id=use, approval_id=approval.id, event_id=event.id)
    if int(number.split(".")[0]) == min(filling.versions, max(RELEASED)):
        filling.add(
            Alias, model_id=model_id, name=CHAMPION, version_id=version_id, event_id=event.id
        )


def _approve(
    filling: Filling, name: str, version_id: int, number: str, gate: str, digest: str
) -> ApprovalRow:
    approver = POLICY.approvers[gate][0]
    approval = ApprovalRow(
        filling.new_id(Approval), version_id, gate, approver, digest, filling.policy
    )
    filling.add(Approval, **vars(approval))
    said = {
        "gate": gate,
        "by": approver,
        "identity": approval.identity,
        "comment": approval.comment,
        "approval": approval_digest(approval),
        "digest": digest,
        "policy": filling.policy,
    }
    kind = "approved" if gate == "review" else "go-live approved"
    _add_event(filling, name, kind, {"version": number, **said})
    return approval


def _describe(approval: ApprovalRow) -> dict[str, str]:
    return {
        "gate": approval.gate,
        "by": approval.approver,
        "identity": approval.identity,
        "comment": approval.comment,
        "approval": approval_digest(approval),
        "digest": approval.manifest_digest,
        "at": approval.recorded_at.isoformat(),
    }


def _add_event(filling: Filling, name: str, kind: str, body: dict[str, Any]) -> EventRow:
    last = filling.last
    event = EventRow(
        id=filling.new_id(Event),
        chain=name,
        model_id=filling.ids[RegisteredModel],
        seq=last.seq + 1 if last else 1,
        kind=kind,
        body=canonical_json(body).decode(),
        previous=last.hash if last else GENESIS,
    )
    event.hash = hash_event(event)
    filling.add(Event, **vars(event))
    filling.last = event
    return event
