"""Commands that take versions out of use or move aliases; no server, no flow."""

import getpass
from dataclasses import asdict
from datetime import date

from flows.gate.waking import try_to_wake
from flows.run.place import current_home
from flows.run.telling import deliver_due
from flows.screen.console import out, print_json, print_table
from flows.screen.text import show
from flows.server.at_server import announce
from registry.approvers import Presence
from registry.statuses import Retired
from tasks.gates import asks_for_code, retire_version, roll_back
from tasks.home import Home


def run_rollback(model: str, reason: str, by: str | None, code: str | None, as_json: bool) -> None:
    """Roll back, tell the consumers, and say who is champion now."""
    home = current_home()
    announce(home)
    reign = roll_back(home, model, reason, by or getpass.getuser(), _presence(by, code))
    deliver_due()
    if as_json:
        print_json(asdict(reign))
        return
    out.print(f"{model} {reign.number} is champion again, no longer {reign.previous}.")
    days = _days_of(home, model, str(reign.previous))
    if not days:
        out.print(f"Nothing to score again: no production day shows {reign.previous}.")
        return
    span = f"--start {days[0]} --end {days[-1]}"
    out.print(f"Next: pilotline backfill {model} {span} --using champion --plan", markup=False)


def _days_of(home: Home, model: str, number: str) -> list[date]:
    """Return the days of production of which readers see predictions of a version."""
    from registry.runs import PRODUCTION
    from registry.statuses import shown_partitions
    from registry.versions import get_version

    with home.open_registry() as registry, registry.read() as session:
        shown = shown_partitions(session, get_version(session, model, number))
    return [day for variant, day, _ in shown if variant == PRODUCTION]


def run_retire(
    model: str,
    version: str,
    status: str,
    reason: str,
    by: str | None,
    code: str | None,
    as_json: bool,
) -> None:
    """Move a version to a status and say what that touches."""
    home = current_home()
    announce(home)
    who = by or getpass.getuser()
    retired = retire_version(home, model, version, status, reason, who, _presence(by, code))
    ended = try_to_wake(home, model, version)
    deliver_due()
    if as_json:
        print_json(asdict(retired))
        return
    word = "is" if retired.new else "was already"
    out.print(f"{model} {version} {word} {status}.", markup=False)
    if ended:
        out.print("The release that waited for a decision on it ends with that reason.")
    if status == "revoked":
        _print_consequences(home, model, version, retired)
    _print_told(home, model, version, retired)


def _print_consequences(home: Home, model: str, version: str, retired: Retired) -> None:
    if retired.was_champion:
        out.print("It is champion: nothing of the model is scored until there is another.")
        out.print(f"Next: {_say_way_out(home, model, version)}", markup=False)
    count = len(retired.partitions)
    if not count:
        out.print("No predictions that readers see came from it.")
        return
    title = f"Predictions that came from it: {count} partition{'' if count == 1 else 's'}"
    print_table(title, ["variant", "date", "run"], retired.partitions)


def _say_way_out(home: Home, model: str, version: str) -> str:
    """Return the command that gives the model another champion."""
    from registry.promotions import champion_before

    with home.open_registry() as registry, registry.read() as session:
        before = champion_before(session, model)
    if before is None:
        return f"pilotline release {model} VERSION (no champion before it to roll back to)"
    code = " --by NAME --code CODE" if asks_for_code(home, model, version) else ""
    return f"pilotline rollback {model}{code} --reason TEXT"


def _print_told(home: Home, model: str, version: str, retired: Retired) -> None:
    """Say who was told and who is not yet, as the outbox has it after the tries just made."""
    from registry.statuses import told_of
    from registry.versions import get_version

    with home.open_registry() as registry, registry.read() as session:
        messages = told_of(session, get_version(session, model, version))
    if not messages:
        if retired.new and retired.status != "archived":
            out.print("Nobody is to be told: nobody is registered as a consumer.")
        return
    told = [message.consumer for message in messages if message.sent_at]
    waiting = [message.consumer for message in messages if not message.sent_at]
    if told:
        word = "Told" if retired.new else "Told before"
        out.print(f"{word}: {show(', '.join(told))}", markup=False)
    if waiting:
        names = show(", ".join(waiting))
        out.print(f"To be told: {names} (see 'pilotline notify')", markup=False)


def run_alias(model: str, name: str, version: str | None) -> None:
    """Point an alias at a version, or remove it where ``version`` is None."""
    from registry.aliases import remove_alias, set_alias
    from registry.models import get_model
    from registry.references import resolve

    home = current_home()
    announce(home)
    with home.open_registry() as registry, registry.write() as session:
        if version is None:
            remove_alias(session, get_model(session, model).id, name)
            out.print(f"{model}@{name} is removed.", markup=False)
            return
        found = resolve(session, model, version)
        set_alias(session, name, found)
        out.print(f"{model}@{name} is {found.number}.", markup=False)


def _presence(by: str | None, code: str | None) -> Presence | None:
    return Presence(by or getpass.getuser(), code) if code else None
