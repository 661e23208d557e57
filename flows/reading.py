"""Commands that only read: models, show, history, trace; no server, no flow."""

from datetime import datetime
from typing import Any

from flows.run.place import current_home
from flows.screen.console import out, print_facts, print_json, print_table
from flows.screen.evidence import print_verification
from flows.screen.text import local, show

SHOWN_RUNS = 7  # on a screen; --json gives all


def list_models(as_json: bool) -> None:
    """Print a line for each registered model."""
    from tasks.catalogue import describe_models

    with current_home().open_registry() as registry:
        found = describe_models(registry)
    if as_json:
        print_json(found)
        return
    if not found:
        out.print("No model is registered. Train one with 'pilotline train MODEL'.")
        return
    rows = [
        (
            model["model"],
            _champion(model),
            len(model["versions"]),
            model["last_scored"],
            model["owner"],
            model["description"],
        )
        for model in found
    ]
    columns = ["model", "champion", "versions", "last scored", "owner", "what it is for"]
    print_table("Models", columns, rows)


def _champion(model: dict[str, Any]) -> str | None:
    """Return the champion's number, and what keeps it from running."""
    if model["champion_status"] in (None, "approved"):
        number: str | None = model["champion"]
        return number
    return f"{model['champion']} ({model['champion_status']})"


def show_reference(text: str, as_json: bool) -> None:
    """Print a model, or one of its versions."""
    from registry.references import split_reference
    from tasks.catalogue import show_model, show_version

    name, reference = split_reference(text)
    with current_home().open_registry() as registry:
        found = (
            show_model(registry, name)
            if reference is None
            else show_version(registry, name, reference)
        )
    if as_json:
        print_json(found)
    elif reference is None:
        _print_model(found)
    else:
        _print_version(found)


def _print_model(found: dict[str, Any]) -> None:
    print_facts(
        [
            *((name, found[name]) for name in ("model", "description", "owner")),
            ("champion", _champion(found)),
        ]
    )
    rows = [
        (
            version["version"],
            version["status"],
            ", ".join(version["aliases"]) or "-",
            version["metrics"].get("roc_auc"),
            version["runs"],
            local(version["recorded_at"]),
            version["reason"],
        )
        for version in found["versions"]
    ]
    columns = ["version", "status", "aliases", "roc_auc", "runs", "registered", "number because"]
    print_table("Versions", columns, rows)


def _print_version(found: dict[str, Any]) -> None:
    verification = found["verification"]
    print_facts(
        [
            ("version", f"{found['model']} {found['version']}"),
            ("status", _say_status(found["status"], found["status_change"])),
            ("aliases", ", ".join(found["aliases"]) or "-"),
            ("digest", found["digest"]),
            ("number because", found["reason"]),
            ("author", found["author"]),
            ("registered", local(found["recorded_at"])),
            ("interpreter", f"{found['interpreter']} on {found['platform']}"),
            ("verification", _verdict(verification)),
        ]
    )
    out.print()
    out.print(show(found["notes"].strip()), markup=False)
    approvals = [
        (a["gate"], a["decision"], a["by"], a["identity"], local(a["recorded_at"]), a["comment"])
        for a in found["approvals"]
    ]
    columns = ["gate", "decision", "by", "identity", "when", "comment"]
    print_table("Decisions", columns, approvals)
    if verification:
        place = f"{verification['platform']}, isolation {verification['isolation']}"
        print_verification(f"Verification on {place}", verification)
    print_table("Metrics on the held-out days", ["metric", "value"], found["metrics"].items())
    learned = []
    for dataset, table in found["learned_from"].items():
        for use in ("train", "holdout", "joined"):
            days = sorted(day for day, p in table["partitions"].items() if p["use"] == use)
            if days:
                span = f"{days[0]} to {days[-1]}"
                learned.append((dataset, str(table["table_version"]), use, span, len(days)))
    print_table("Learned from", ["dataset", "table version", "use", "days", "count"], learned)
    latest = sorted(found["runs"], key=lambda run: run["date"])[-SHOWN_RUNS:]
    runs = [
        (run["id"], run["date"], run["variant"], run["state"], run["rows"], run["isolation"])
        for run in latest
    ]
    title = f"Runs: {len(found['runs'])}" + (f", the last {SHOWN_RUNS} days" if runs else "")
    print_table(title, ["run", "date", "variant", "state", "rows", "isolation"], runs)


def _verdict(verification: dict[str, Any] | None) -> str:
    if verification is None:
        return "not done yet"
    return "passed" if verification["passed"] else "FAILED"


def _say_status(status: str, change: dict[str, Any] | None) -> str:
    """Return a status with who gave it, when and why; approvals have a table of their own."""
    if change is None or status == "approved":
        return status
    by = f"{change['by']} ({change['identity']})"
    return f"{status} since {local(change['recorded_at'])} by {by}: {change['reason']}"


def show_champions(
    model: str, at: datetime | None, known_at: datetime | None, as_json: bool, typed: str = ""
) -> None:
    """Print who was champion when; ``typed`` is ``at`` in the user's words."""
    from registry.errors import NoChampionError
    from tasks.catalogue import show_history

    with current_home().open_registry() as registry:
        try:
            found = show_history(registry, model, at, known_at)
        except NoChampionError as err:
            known = show_history(registry, model, None, known_at)
            first = min(known, key=lambda reign: str(reign["effective_from"]), default=None)
            began = f"{first['version']}, from {local(first['effective_from'])}" if first else ""
            raise NoChampionError(model, typed, began) from err
    if as_json:
        print_json(found)
        return
    if not found:
        then = f" that was known at {show(known_at)}" if known_at else ""
        out.print(f"No promotion of {model} is on record{then}.", markup=False)
        return
    rows = [
        (
            reign["version"] + _since(reign["revoked_since"]),
            local(reign["effective_from"]) + (" (backdated)" if reign["backdated"] else ""),
            reign["previous"],
            reign["kind"] + (f": {reign['reason']}" if reign["reason"] else ""),
            ", ".join(f"{a['gate']}: {a['by']} ({a['identity']})" for a in reign["approvals"]),
            reign["digest"][:12],
        )
        for reign in found
    ]
    columns = ["champion", "from", "before", "how", "approved by", "digest"]
    print_table(f"Champions of {model}", columns, rows)


def _since(revoked: str | None) -> str:
    return f" (revoked since {local(revoked)})" if revoked else ""


def trace_key(model: str, day: Any, key: str, as_json: bool) -> None:
    """Print where one prediction came from."""
    from tasks.tracing import trace_prediction

    home = current_home()
    with home.open_registry() as registry:
        found = trace_prediction(registry, home, model, day, key)
    if as_json:
        print_json(found)
        return
    print_facts([("model", found["model"]), *_flat(found["key"])])
    for title in ("prediction", "version", "run", "partition", "environment", "input"):
        out.print()
        print_facts([(title.upper(), ""), *_flat(found[title])])


def _flat(facts: dict[str, Any]) -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = []
    for name, value in facts.items():
        if isinstance(value, list):
            rows += [(f"  {a['gate']}", f"{a['by']} ({a['identity']})") for a in value]
        elif name == "started_at":
            rows.append(("  started", local(value)))
        else:
            # A flight's number is a name, not an amount: no thousands here.
            rows.append((f"  {name}", value if isinstance(value, bool | None) else str(value)))
    return rows
