"""Whether a registry is what its account says, by every invariant of the design it can break."""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from datetime import date

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from pilotline.registry import Registry
from pilotline.registry.form.errors import NoChampionError, VersionUnfitError
from pilotline.registry.gates.approvals import ApprovalUse
from pilotline.registry.gates.approvers import list_approvers
from pilotline.registry.gates.policy import GATES
from pilotline.registry.gates.resolution import champion
from pilotline.registry.gates.statuses import FROM
from pilotline.registry.record.aliases import get_alias
from pilotline.registry.record.events import Event, first_misfit, list_events
from pilotline.registry.record.history import describe_reign
from pilotline.registry.record.models import list_models
from pilotline.registry.record.versions import ModelVersion, VersionStatus, list_versions
from pilotline.registry.runs.runs import unsettled_runs
from pilotline.registry.runs.shown import visible_runs
from tests.support.registry.account import AUTHOR, OUT_OF_USE, Account

DAYS = (date(2013, 1, 1), date(2013, 1, 2))


def compare(registry: Registry, account: Account) -> list[str]:
    """Raise AssertionError at the first difference; return the hashes of the model's events."""
    with registry.read() as session:
        assert {person.name for person, _ in list_approvers(session)} == account.enrolled
        models = list_models(session)
        assert len(models) == (1 if account.makings else 0)
        if not models:
            return []
        events = list_events(session, models[0].id)
        versions = {version.number: version for version in list_versions(session, models[0].id)}
        _compare_versions(session, account, versions)
        _compare_champion(session, account, versions, events)
        _compare_runs(session, account, models[0].id)
        _compare_fold(session, account, models[0].id, events)
    for digest in (*account.digests.values(), *account.blobs):  # 4. It exists and re-hashes.
        assert hashlib.sha256(registry.blobs.get(digest)).hexdigest() == digest
    return [event.hash for event in events]


def _compare_versions(
    session: Session, account: Account, versions: dict[str, ModelVersion]
) -> None:
    """4. Versions are immutable; numbers are never reused."""
    assert {number: version.digest for number, version in versions.items()} == account.digests
    rows = {row.version_id: row.status for row in session.scalars(select(VersionStatus))}
    assert {number: rows[version.id] for number, version in versions.items()} == account.status


def _compare_champion(
    session: Session,
    account: Account,
    versions: dict[str, ModelVersion],
    events: Sequence[Event],
) -> None:
    """3 and 5. One champion, of linear history, each with two approvals over its digest."""
    history = [describe_reign(e) for e in events if e.kind in ("promoted", "rolled back")]
    assert [reign.number for reign in history] == account.champions
    assert [reign.previous for reign in history] == [None, *account.champions][: len(history)]
    for reign in history:
        assert {entry["gate"] for entry in reign.approvals} == set(GATES)
        assert len({entry["by"] for entry in reign.approvals} - {AUTHOR}) == 2
        assert {entry["digest"] for entry in reign.approvals} == {account.digests[reign.number]}
    assert session.scalar(select(func.count(ApprovalUse.id))) == 2 * account.promotions
    found = None
    with suppress(NoChampionError, VersionUnfitError):
        found = champion(session, next(iter(events)).chain)
    number = account.champion
    fit = number is not None and account.status[number] not in OUT_OF_USE
    assert found is (versions[number] if number and fit else None)


def _compare_runs(session: Session, account: Account, model_id: int) -> None:
    """1 and 8. One run is visible a day; one that nobody heard of again stays to be settled."""
    shown = visible_runs(session, model_id, "production", DAYS[0], DAYS[-1])
    assert {day: run.id for day, run in shown.items()} == account.visible
    for day in DAYS:
        left = [run.id for run in unsettled_runs(session, model_id, "production", day)]
        assert left == [run for run, on in account.open_runs.items() if on == day]


def _compare_fold(
    session: Session, account: Account, model_id: int, events: Sequence[Event]
) -> None:
    """6. Present state is the fold of an unbroken chain."""
    assert first_misfit(events) is None
    status: dict[str, str] = {}
    ended: dict[str, str] = {}
    reigning = None
    for event in events:
        facts = event.facts()
        if event.kind in ("registered", "approved", "rejected", *FROM):
            status[facts["version"]] = event.kind
        elif event.kind in ("promoted", "rolled back"):
            reigning = facts["version"]
        elif event.kind.startswith("run "):
            ended[facts["run"]] = event.kind.removeprefix("run ")
    assert status == account.status
    assert ended == account.ended
    alias = get_alias(session, model_id, "champion")
    pointed = session.get_one(ModelVersion, alias.version_id).number if alias else None
    assert pointed == reigning
