"""What a person decides on at a gate: the evidence as one markdown page, and its fingerprint."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pilotline.flows.screen.text import local, show
from pilotline.registry import Registry
from pilotline.registry.consumers import broken_by, list_consumers
from pilotline.registry.form import UnknownModelError, digest_json
from pilotline.registry.gates import serving_champion
from pilotline.registry.record import get_model, get_version, latest_event
from pilotline.tasks.explain import show_version
from pilotline.tasks.home import Home
from pilotline.tasks.train import compare_versions, present_evaluation

MARKED = re.compile(r"([\\`*_\[\]<>#|~$!])")  # what Markdown reads as more than text
FINGERPRINT = 12  # hexadecimal digits: it tells a change, it proves nothing


@dataclass(frozen=True)
class Page:
    """The evidence at one moment."""

    markdown: str
    fingerprint: str  # changes with what a decision rests on, not with the hour
    status: str  # of the version
    champion: str  # its number, nothing where there is none


def make_page(home: Home, model: str, version: str, gate: str, policy: str) -> Page:
    """Return what is known of the version now; reads only.

    Args:
        home: the home.
        model: the model.
        version: the version.
        gate: the gate it waits at.
        policy: digest of the policy that holds for it.

    Raises:
        UnknownModelError, UnknownVersionError: no such version.
    """
    with home.open_registry() as registry:
        facts = show_version(registry, model, version)
        with registry.read() as session:
            evaluation = present_evaluation(registry, session, get_version(session, model, version))
        champion = _champion(registry, model)
        changed = compare_versions(registry, model, champion, version) if champion else None
        consumers, broken, head = _around(registry, model, version)
    seen = {
        "gate": gate,
        "digest": facts["digest"],
        "champion": champion,
        "verification": (facts["verification"] or {}).get("report"),
        "consumers": [list(consumer) for consumer in consumers],
        "policy": policy,
    }
    parts = [
        f"## {model} {version} at {gate}",
        *_metrics(evaluation, facts["evaluation"]),
        *_verification(facts["verification"]),
        "### What it is",
        _table(["what", "found"], _identity(facts, champion, gate)),
        *_changes(changed),
        *_earlier(facts["approvals"]),
        "### Release notes, by the author",
        _quote(facts["notes"]),
        "### Who uses it",
        _consumers(consumers, broken),
        "### Head of the audit chain",
        f"`{head}`",
    ]
    fingerprint = digest_json(seen)[:FINGERPRINT]
    return Page("\n\n".join(parts), fingerprint, facts["status"], champion)


def escape_markdown(value: object) -> str:
    """Return ``value`` so that Markdown shows it and reads nothing into it."""
    return MARKED.sub(r"\\\1", " ".join(show(value).split()))


def _champion(registry: Registry, model: str) -> str:
    with registry.read() as session:
        current = serving_champion(session, model)
        return current.number if current else ""


def _around(
    registry: Registry, model: str, version: str
) -> tuple[list[tuple[str, str]], set[str], str]:
    """Return the consumers with their needs, who of them would be broken, and the chain's head.

    Their addresses may hold secrets and stay where they are.
    """
    with registry.read() as session:
        model_id = get_model(session, model).id
        consumers = [(c.name, c.needs) for c in list_consumers(session, model_id)]
        broken = {c.name for c in broken_by(session, model_id, version)}
        event = latest_event(session, model_id)
        if event is None:
            raise UnknownModelError(model, [])
        return consumers, broken, f"{event.chain} {event.seq} {event.hash}"


def _identity(facts: Mapping[str, Any], champion: str, gate: str) -> list[tuple[str, object]]:
    return [
        ("decides on", "deployment work" if gate == "review" else "promotion to champion"),
        ("champion now", champion or "none yet"),
        ("number because", facts["reason"]),
        ("status", facts["status"]),
        ("author, who cannot decide", facts["author"]),
        ("registered", local(facts["recorded_at"])),
        ("digest", facts["digest"]),
    ]


def _metrics(evaluation: Mapping[str, Any], trained: Mapping[str, Any]) -> list[str]:
    """Return the metrics beside those of the champion of now on the same held-out rows.

    Args:
        evaluation: as it stands beside the champion of now.
        trained: as it was when the version was trained.
    """
    theirs = (evaluation.get("champion") or {}).get("metrics", {})
    rows = [(name, value, theirs.get(name, "-")) for name, value in evaluation["metrics"].items()]
    checks = [
        (check["name"], "passed" if check["passed"] else "FAILED", check["detail"])
        for check in evaluation["checks"]
    ]
    against = (evaluation.get("champion") or {}).get("version")
    columns = ["metric", "this version", f"champion {against}" if against else "champion"]
    return [
        f"### Metrics on {show(evaluation['rows'])} held-out rows",
        *_comparison(evaluation, trained),
        _table(columns, rows),
        _table(["check", "verdict", "found"], checks),
    ]


def _comparison(evaluation: Mapping[str, Any], trained: Mapping[str, Any]) -> list[str]:
    """Return in words what is to be known of the comparison, nothing where training made it."""
    if evaluation["outdated"]:
        said = f"Not to be decided on: it was {evaluation['outdated']}."
        return [f"**{escape_markdown(said)}**"]
    against, before = evaluation["champion"], (trained["champion"] or {}).get("version")
    if before == (against or {}).get("version"):
        return []
    past = f"It was trained against {before}, which is not champion now" if before else ""
    if against is None:
        return [escape_markdown(f"{past}; there is no champion to compare with.")]
    past = past or "It was trained when there was no champion"
    said = f"{past}; the champion {against['version']} has predicted the same rows since."
    learned = against["learned"]
    if learned:
        said += f" It learned from {learned} of their days itself, which favours it."
    return [escape_markdown(said)]


def _verification(found: Mapping[str, Any] | None) -> list[str]:
    if found is None:
        return ["### Verification", "Not done yet: it comes after the review."]
    rows = [
        (check["name"], "passed" if check["passed"] else "FAILED", check["detail"])
        for check in found["checks"]
    ]
    where = f"{found['platform']}, isolation {found['isolation']}"
    return [
        f"### Verification on {escape_markdown(where)}",
        escape_markdown(found["summary"]),
        *([_table(["check", "verdict", "found"], rows)] if rows else []),
    ]


def _changes(changed: Mapping[str, Any] | None) -> list[str]:
    if changed is None:
        return ["### What changed", "Everything: there is no champion to compare with."]
    rows = [
        (kind, row[0], *(row[1:] if len(row) == 3 else ("", row[-1])))
        for kind in ("files", "packages", "params", "data")
        for row in changed[kind]
    ]
    reasons = escape_markdown("; ".join(changed["reasons"]))
    return [
        f"### What changed since the champion {changed['before']}",
        f"{changed['step']}: {reasons}",
        *([_table(["kind", "what", "before", "now"], rows)] if rows else []),
    ]


def _earlier(approvals: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = [(a["gate"], a["decision"], a["by"], a["identity"], a["comment"]) for a in approvals]
    columns = ["gate", "decision", "by", "identity", "comment"]
    return ["### Decisions so far", _table(columns, rows)] if rows else []


def _consumers(consumers: Sequence[tuple[str, str]], broken: set[str]) -> str:
    if not consumers:
        return "Nobody is on record."
    rows = [
        (name, needs or "any", "BROKEN by this version" if name in broken else "yes")
        for name, needs in consumers
    ]
    return _table(["consumer", "needs", "takes it"], rows)


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(
        "| " + " | ".join(cell if cell == "---" else escape_markdown(cell) for cell in line) + " |"
        for line in lines
    )


def _quote(text: str) -> str:
    """Return ``text`` as a block of code, which no line in it can end."""
    return "\n".join(f"    {line}" for line in show(text.strip()).splitlines()) or "None."
