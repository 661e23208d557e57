"""Splits: part of production's rows scored by a challenger, under the same evidence as a champion.

A split is no promotion: the champion stays, and the approvals that admitted the challenger are not
used up, so that they count for its promotion afterwards as long as they live.
"""

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from sqlalchemy.orm import Session

from pilotline.registry.consumers import tell_consumers
from pilotline.registry.form import SplitError, VersionUnfitError
from pilotline.registry.gates.approvals import describe_approval
from pilotline.registry.gates.policy import Policy
from pilotline.registry.gates.promotions import check_consumers, check_ready
from pilotline.registry.gates.resolution import champion, check_resolvable
from pilotline.registry.record import (
    Event,
    ModelVersion,
    append_event,
    get_model,
    get_version,
    list_events,
    standing_of,
)

SET, STOPPED = "split set", "split stopped"
# Each of these ends a split: its challenger was weighed against one champion.
ENDS = (STOPPED, "promoted", "rolled back", "imported")
STEP = Decimal("0.0001")  # rows are dealt into ten thousand buckets


@dataclass(frozen=True)
class Split:
    """What of production's rows the challenger scores."""

    champion: str  # number
    challenger: str  # number
    share: Decimal  # of the keys, above 0 and below 1
    event: str  # hash of the event that set it
    reason: str = ""
    by: str = ""


@dataclass(frozen=True)
class Said:
    """Who asks for a change, and why."""

    by: str
    identity: str
    reason: str = ""


def parse_share(text: str) -> Decimal:
    """Return the share that ``text`` names: ``0.1`` or ``10%``.

    Raises:
        SplitError: it is no number between 0 and 1, or finer than 0.01 %.
    """
    try:
        share = Decimal(text.strip().removesuffix("%"))
        share = share / 100 if text.strip().endswith("%") else share
        fits = 0 < share < 1 and share == share.quantize(STEP)
    except InvalidOperation:
        fits = False
    if not fits:
        raise SplitError(
            f"Share {text!r}",
            "expected a number above 0 and below 1 in steps of 0.0001, or as many percent",
            "Write 0.1 or 10%.",
        )
    return share.quantize(STEP).normalize()


def set_split(
    session: Session,
    name: str,
    number: str,
    share: Decimal,
    policy: Policy,
    platform: str,
    said: Said,
) -> Split:
    """Give version ``number`` a share of production's rows; flushes, the caller commits.

    It needs what a promotion needs: status, a verification that passed on ``platform`` and a live
    approval at each gate over exactly its digest. A share may be set again, larger or smaller.

    Raises:
        UnknownModelError, UnknownVersionError, NoChampionError: there is none.
        VersionUnfitError, ApprovalError: it must not score production's rows.
        ConsumerError: it breaks a consumer.
        SplitError: it is the champion itself.
    """
    present = champion(session, name)
    version = get_version(session, name, number)
    if version.id == present.id:
        raise SplitError(
            f"Split of {name!r}",
            f"{number} is the champion, which scores what is left",
            "Name another version.",
        )
    known = split_of(session, name)
    if known is not None and (known.challenger, known.share) == (number, share):
        return known
    approvals = check_ready(session, name, version, policy, platform)
    check_consumers(session, name, version)
    facts = {
        "version": number,
        "digest": version.digest,
        "champion": present.number,
        "share": str(share),
        "policy": policy.digest(),
        "approvals": [describe_approval(approval) for approval in approvals],
        **vars(said),
    }
    event = append_event(session, version.model_id, SET, facts)
    tell_consumers(
        session,
        event,
        f"{name} {number} scores {share:%} of the rows",
        f"{name}: {number} scores {share:%} of the rows by their key, {present.number} the others."
        f"\n{said.reason}\nEvent {event.seq} {event.hash}.",
    )
    return _describe(event)


def check_change(session: Session, name: str, change: str, number: str, share: Decimal) -> str:
    """Return the challenger, if a split may be changed so; call it beside ``set_split``.

    Args:
        session: a session; a writing one, so that nobody changes the split meanwhile.
        name: the model.
        change: ``start``, ``upgrade`` or ``downgrade``.
        number: the version to start with; empty for the challenger of the split there is.
        share: what it is to score.

    Raises:
        UnknownModelError: the model is not registered.
        SplitError: there is a split already, or none, or its share would move the other way.
    """
    if change == "start":
        known = split_of(session, name)
        if known is not None and (known.challenger, known.share) != (number, share):
            raise SplitError(
                f"Split of {name!r}",
                f"{known.challenger} scores {known.share:.2%} already",
                f"Change it with 'pilotline split upgrade {name} --share S', or stop it first.",
            )
        return number
    split = require_split(session, name)
    if share == split.share or (share > split.share) != (change == "upgrade"):
        other = "downgrade" if change == "upgrade" else "upgrade"
        raise SplitError(
            f"Split of {name!r}",
            f"{split.challenger} scores {split.share:.2%}, which this would not {change}",
            f"Give another share, or 'pilotline split {other}'.",
        )
    return split.challenger


def stop_split(session: Session, name: str, said: Said) -> Split:
    """Let the champion score every row again; flushes, the caller commits.

    Raises:
        UnknownModelError: the model is not registered.
        SplitError: there is no split.
    """
    split = require_split(session, name)
    version = get_version(session, name, split.challenger)
    facts = {"version": split.challenger, "champion": split.champion, **vars(said)}
    event = append_event(session, version.model_id, STOPPED, facts)
    tell_consumers(
        session,
        event,
        f"{name} {split.champion} scores every row again",
        f"{name}: {split.challenger} scores none any more: {said.reason}\n"
        f"Event {event.seq} {event.hash}.",
    )
    return split


def split_of(session: Session, name: str) -> Split | None:
    """Return the split of ``name`` that holds now, None where there is none; reads only.

    A challenger that was revoked or archived has none: every row is the champion's.

    Raises:
        UnknownModelError: the model is not registered.
    """
    model = get_model(session, name)
    events = list_events(session, model.id, SET, *ENDS)
    if not events or events[-1].kind != SET:
        return None
    split = _describe(events[-1])
    standing = standing_of(session, get_version(session, name, split.challenger))
    return split if standing in ("approved", "deprecated") else None


def require_split(session: Session, name: str) -> Split:
    """Return the split of ``name``; reads only.

    Raises:
        UnknownModelError: the model is not registered.
        SplitError: there is none.
    """
    split = split_of(session, name)
    if split is None:
        raise SplitError(
            f"Split of {name!r}",
            "there is none: the champion scores every row",
            f"Start one with 'pilotline split start {name} VERSION --share 0.1'.",
        )
    return split


def challenger_of(session: Session, name: str, split: Split) -> ModelVersion:
    """Return the version that ``split`` gives rows to, on the evidence it was set on; reads only.

    Raises:
        VersionUnfitError: it must not run, or the record does not hold together.
    """
    version = get_version(session, name, split.challenger)
    events = list_events(session, version.model_id, SET)
    event = next((event for event in events if event.hash == split.event), None)
    if event is None:
        raise VersionUnfitError(name, version.number, "has no split on record", "Run the audit.")
    check_resolvable(session, name, version, event, [SET])
    return version


def _describe(event: Event) -> Split:
    facts = event.facts()
    return Split(
        champion=facts["champion"],
        challenger=facts["version"],
        share=Decimal(facts["share"]),
        event=event.hash,
        reason=facts["reason"],
        by=facts["by"],
    )
