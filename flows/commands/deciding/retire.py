"""The commands deprecate, revoke and archive: a version out of use."""

import getpass
from dataclasses import asdict
from typing import Any

import click

from pilotline.flows.gate.waking import try_to_wake
from pilotline.flows.run.place import current_home
from pilotline.flows.run.telling import deliver_due
from pilotline.flows.screen.console import out, print_json, print_table
from pilotline.flows.screen.options import deciding_options
from pilotline.flows.screen.text import show
from pilotline.flows.server.at_server import announce
from pilotline.registry.gates import Presence, Retired, champion_before, told_of
from pilotline.registry.record import get_version
from pilotline.tasks.decide import asks_for_code, retire_version
from pilotline.tasks.home import Home


def _command(name: str, status: str, said: str) -> click.Command:
    """Return the command ``name``, which moves a version to ``status``."""

    @click.command(name, help=said)
    @click.argument("model")
    @click.argument("version")
    @deciding_options
    def retire(**words: Any) -> None:
        _retire(status=status, **words)

    return retire


deprecate = _command("deprecate", "deprecated", "Mark VERSION of MODEL as one to move off.")
revoke = _command(
    "revoke", "revoked", "Forbid VERSION of MODEL for good, and say what came from it."
)
archive = _command(
    "archive",
    "archived",
    "Put VERSION of MODEL away; a model whose versions all are is hidden from search.",
)


def _retire(
    status: str,
    model: str,
    version: str,
    reason: str,
    by: str | None,
    code: str | None,
    as_json: bool,
) -> None:
    """Move a version to a status and say what that touches."""
    home = current_home()
    announce(home)
    who = by or getpass.getuser()
    presence = Presence(who, code) if code else None
    retired = retire_version(home, model, version, status, reason, who, presence)
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
    with home.open_registry() as registry, registry.read() as session:
        before = champion_before(session, model)
    if before is None:
        return f"pilotline release {model} VERSION (no champion before it to roll back to)"
    code = " --by NAME --code CODE" if asks_for_code(home, model, version) else ""
    return f"pilotline rollback {model}{code} --reason TEXT"


def _print_told(home: Home, model: str, version: str, retired: Retired) -> None:
    """Say who was told and who is not yet, as the outbox has it after the tries just made."""
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
