"""What most tests of the registry begin with: people, versions, and what is done to them."""

import hashlib
from dataclasses import dataclass
from datetime import date

from sqlalchemy import Executable, inspect, text
from sqlalchemy.orm import Session

from pilotline.registry.form.canonical import canonical_json
from pilotline.registry.gates.approvals import Approval, Decision, decide
from pilotline.registry.gates.policy import Policy
from pilotline.registry.gates.promotions import promote
from pilotline.registry.record.history import Reign
from pilotline.registry.record.models import ModelFacts
from pilotline.registry.record.numbering import Release, Step
from pilotline.registry.record.registration import Judged, Registration
from pilotline.registry.record.verifications import Verification, record_verification
from pilotline.registry.record.versions import (
    Learned,
    ModelVersion,
    NewVersion,
    enter_version,
    model_of,
)
from pilotline.registry.runs.runs import Claim

AUTHOR = "author@example.org"
REVIEWER = "reviewer@example.org"
OPERATIONS = "operations@example.org"
NAME = "flight-delay"
LINUX = "linux x86_64"
LEARNED = (Learned("flights", date(2013, 1, 1), "train", "d" * 64, 3),)
TWO_PEOPLE = Policy(
    approvers={
        "review": (REVIEWER, OPERATIONS, AUTHOR),
        "go-live": (OPERATIONS, REVIEWER),
    },
    identity="claimed",
    distinct_approvers=True,
    expires_days=14,
    minimum_isolation="A",
)
CLAIM = Claim(
    variant="production",
    dataset="flights",
    date=date(2013, 1, 1),
    partition_digest="d" * 64,
    table_version=3,
    lock_digest="c" * 64,
    isolation="A",
    trigger="score",
)


@dataclass(frozen=True)
class World:
    """One author, two people who decide, and versions of a model that differ by a key."""

    policy: Policy = TWO_PEOPLE  # two people at each gate
    claim: Claim = CLAIM  # what a run over 1 January 2013 is about to do

    def new_version(
        self,
        key: str = "first",
        name: str = NAME,
        parent: ModelVersion | None = None,
        part: str | None = None,
        digest: str | None = None,
    ) -> NewVersion:
        """Return a version without bytes, to be entered."""
        return NewVersion(
            facts=_facts(name),
            author=AUTHOR,
            digest=digest or hashlib.sha256(f"manifest {key}".encode()).hexdigest(),
            training_key=_training_key(key),
            parent=parent,
            step=Step(part, ("code changed",)) if part else None,
            learned=LEARNED,
            metrics={"roc_auc": 0.75},
        )

    def enter(
        self,
        session: Session,
        key: str = "first",
        name: str = NAME,
        parent: ModelVersion | None = None,
        part: str | None = None,
        digest: str | None = None,
    ) -> ModelVersion:
        """Enter such a version."""
        return enter_version(session, self.new_version(key, name, parent, part, digest))[0]

    def registration(
        self,
        key: str = "first",
        name: str = NAME,
        notes: str = "First version.",
        parent: tuple[ModelVersion, Release] | None = None,
    ) -> Registration:
        """Return a version with bytes, to be registered."""
        column = {"type": "float64", "nullable": False}
        contract = {"dataset": "flights", "inputs": {"hour": column}, "outputs": {"late": column}}
        partitions = {"2013-01-01": "d" * 64}
        data = {
            "tables": {"flights": {"table_version": 3, "partitions": partitions}},
            "train": {"days": ["2013-01-01"], "rows": 900},
            "holdout": {"days": ["2013-01-02", "2013-01-03"], "rows": 842},
        }
        check = {"name": "roc_auc", "passed": True, "detail": "0.75, at least 0.6"}
        evaluation = {"metrics": {"roc_auc": 0.75}, "rows": 842, "checks": [check]}
        return Registration(
            facts=_facts(name),
            author=AUTHOR,
            contents={
                "model.py": ("script", b"def predict(model, data): ..."),
                "artifact/model": ("model", f"trained on {key}".encode()),
                "contract.json": ("contract", canonical_json(contract)),
                "data.json": ("data", canonical_json(data)),
                "evaluation.json": ("evaluation", canonical_json(evaluation)),
                "notes.md": ("notes", notes.encode()),
            },
            contract=contract,
            interpreter="cpython 3.11",
            platform=LINUX,
            training_key=_training_key(key),
            learned=LEARNED,
            judged=Judged({"roc_auc": 0.75}, date(2013, 1, 2), date(2013, 1, 3), 842),
            notes=notes,
            parent=parent,
        )

    def say(
        self,
        session: Session,
        version: ModelVersion,
        gate: str,
        approver: str,
        decision: str = "approve",
        under: Policy | None = None,
    ) -> tuple[Approval, bool]:
        """Decide at a gate, by default to approve."""
        said = Decision(gate, decision, approver, "read the evidence")
        name = model_of(session, version).name
        return decide(session, name, version.number, said, under or self.policy)

    def verify(
        self,
        session: Session,
        version: ModelVersion,
        passed: bool = True,
        platform: str = LINUX,
        isolation: str = "A",
    ) -> Verification:
        """Record a verification, by default one that passed."""
        return record_verification(
            session,
            version,
            Verification(
                passed=passed,
                summary="golden set parity",
                report_digest=hashlib.sha256(b"{}").hexdigest(),
                platform=platform,
                isolation=isolation,
            ),
        )

    def approve(self, session: Session, version: ModelVersion) -> None:
        """Bring a version to the point where it can be promoted."""
        self.say(session, version, "review", REVIEWER)
        self.verify(session, version)
        self.say(session, version, "go-live", OPERATIONS)

    def release(self, session: Session, version: ModelVersion) -> Reign:
        """Approve, verify and promote a version."""
        self.approve(session, version)
        name = model_of(session, version).name
        return promote(session, name, version.number, self.policy, LINUX)

    def tamper(self, session: Session, statement: Executable) -> None:
        """Change facts behind the registry's back.

        The database's own triggers refuse that facts are edited, so they are dropped first, as an
        administrator could. Where a test lets time pass, the same is done to a ``recorded_at``: the
        registry takes no clock from outside.
        """
        connection = session.connection()
        if connection.dialect.name == "sqlite":
            triggers = "SELECT name FROM sqlite_master WHERE type = 'trigger'"
            for name in connection.scalars(text(triggers)).all():
                connection.execute(text(f"DROP TRIGGER {name}"))
        else:
            for table in inspect(connection).get_table_names():
                connection.execute(text(f'ALTER TABLE "{table}" DISABLE TRIGGER USER'))
        session.execute(statement)
        session.expire_all()


def _facts(name: str) -> ModelFacts:
    return ModelFacts(name, "operations", "Will this flight arrive late?", ("example",))


def _training_key(key: str) -> str:
    return hashlib.sha256(f"inputs {key}".encode()).hexdigest()
