"""A registry in a fresh home, and short ways to put versions into it."""

import hashlib
import shutil
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pytest
from sqlalchemy import Executable, inspect, text
from sqlalchemy.orm import Session

from registry import Registry
from registry.approvals import Approval, Decision, decide
from registry.canonical import canonical_json
from registry.models import ModelFacts
from registry.numbering import Release, Step
from registry.policy import Policy
from registry.promotions import promote
from registry.registration import Judged, Registration
from registry.reigns import Reign
from registry.runs import Claim
from registry.verifications import Verification, record_verification
from registry.versions import Learned, ModelVersion, NewVersion, enter_version, model_of


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a migrated database file; copying it is faster than migrating for every test."""
    folder = tmp_path_factory.mktemp("empty")
    Registry(f"sqlite:///{folder / 'registry.db'}", folder / "blobs").close()
    return folder / "registry.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path, empty_database: Path) -> str:
    """Return the URL of an empty registry: a file in ``tmp_path``, then one on a server."""
    if request.param == "postgresql":
        url: str = request.getfixturevalue("new_registry_database")
        return url
    shutil.copy(empty_database, tmp_path / "registry.db")
    return f"sqlite:///{tmp_path / 'registry.db'}"


@pytest.fixture
def registry(tmp_path: Path, database: str) -> Iterator[Registry]:
    """Return an open, empty registry."""
    with Registry(database, tmp_path / "blobs") as opened:
        yield opened


@pytest.fixture
def session(registry: Registry) -> Iterator[Session]:
    """Return a writing session."""
    with registry.write() as writing:
        yield writing


@pytest.fixture
def tamper() -> Callable[[Session, Executable], None]:
    """Return a function that changes facts behind the registry's back.

    The database's own triggers refuse that facts are edited, so they are dropped first, as an
    administrator could. Where a test lets time pass, the same is done to a ``recorded_at``: the
    registry takes no clock from outside.
    """

    def change(session: Session, statement: Executable) -> None:
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

    return change


@pytest.fixture
def policy() -> Policy:
    """Return a policy with two people at each gate."""
    return Policy(
        approvers={
            "review": ("reviewer@example.org", "operations@example.org", "author@example.org"),
            "go-live": ("operations@example.org", "reviewer@example.org"),
        },
        identity="claimed",
        distinct_approvers=True,
        expires_days=14,
        minimum_isolation="A",
    )


@pytest.fixture
def new_version() -> Callable[..., NewVersion]:
    """Return a maker of versions that differ by a key."""

    def make(
        key: str = "first",
        name: str = "flight-delay",
        parent: ModelVersion | None = None,
        part: str | None = None,
        digest: str | None = None,
    ) -> NewVersion:
        return NewVersion(
            facts=ModelFacts(name, "operations", "Will this flight arrive late?", ("example",)),
            author="author@example.org",
            digest=digest or hashlib.sha256(f"manifest {key}".encode()).hexdigest(),
            training_key=hashlib.sha256(f"inputs {key}".encode()).hexdigest(),
            parent=parent,
            step=Step(part, ("code changed",)) if part else None,
            learned=(Learned("flights", date(2013, 1, 1), "train", "d" * 64, 3),),
            metrics={"roc_auc": 0.75},
        )

    return make


@pytest.fixture
def add_version(new_version: Callable[..., NewVersion]) -> Callable[..., ModelVersion]:
    """Return a function that enters a version made from ``key`` and keywords."""

    def add(session: Session, key: str = "first", **changes: object) -> ModelVersion:
        return enter_version(session, new_version(key, **changes))[0]

    return add


@pytest.fixture
def say(policy: Policy) -> Callable[..., tuple[Approval, bool]]:
    """Return a function that decides at a gate, by default to approve."""

    def decided(
        session: Session,
        version: ModelVersion,
        gate: str,
        approver: str,
        decision: str = "approve",
        under: Policy = policy,
    ) -> tuple[Approval, bool]:
        said = Decision(gate, decision, approver, "read the evidence")
        return decide(session, model_of(session, version).name, version.number, said, under)

    return decided


@pytest.fixture
def verify() -> Callable[..., Verification]:
    """Return a function that records a verification, by default one that passed."""

    def verified(
        session: Session,
        version: ModelVersion,
        passed: bool = True,
        platform: str = "linux x86_64",
        isolation: str = "A",
    ) -> Verification:
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

    return verified


@pytest.fixture
def approve(
    say: Callable[..., tuple[Approval, bool]], verify: Callable[..., Verification]
) -> Callable[..., None]:
    """Return a function that brings a version to the point where it can be promoted."""

    def approved(session: Session, version: ModelVersion) -> None:
        say(session, version, "review", "reviewer@example.org")
        verify(session, version)
        say(session, version, "go-live", "operations@example.org")

    return approved


@pytest.fixture
def release(policy: Policy, approve: Callable[..., None]) -> Callable[..., Reign]:
    """Return a function that approves, verifies and promotes a version."""

    def released(session: Session, version: ModelVersion) -> Reign:
        approve(session, version)
        name = model_of(session, version).name
        return promote(session, name, version.number, policy, "linux x86_64")

    return released


@pytest.fixture
def claim() -> Claim:
    """Return what a run over 1 January 2013 is about to do."""
    return Claim(
        variant="production",
        dataset="flights",
        date=date(2013, 1, 1),
        partition_digest="d" * 64,
        table_version=3,
        lock_digest="c" * 64,
        isolation="A",
        trigger="score",
    )


@pytest.fixture
def registration() -> Callable[..., Registration]:
    """Return a maker of versions with bytes, which differ by a key."""

    def make(
        key: str = "first",
        name: str = "flight-delay",
        notes: str = "First version.",
        parent: tuple[ModelVersion, Release] | None = None,
    ) -> Registration:
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
            facts=ModelFacts(name, "operations", "Will this flight arrive late?", ("example",)),
            author="author@example.org",
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
            platform="linux x86_64",
            training_key=hashlib.sha256(f"inputs {key}".encode()).hexdigest(),
            learned=(Learned("flights", date(2013, 1, 1), "train", "d" * 64, 3),),
            judged=Judged({"roc_auc": 0.75}, date(2013, 1, 2), date(2013, 1, 3), 842),
            notes=notes,
            parent=parent,
        )

    return make
