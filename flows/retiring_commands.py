"""Commands that take versions out of use or move aliases; no server, no flow."""

import getpass
from dataclasses import asdict

from flows.at_server import announce
from flows.console import out, print_json, print_table, show
from flows.people_commands import deliver_due
from flows.place import current_home
from registry.approvers import Presence
from registry.statuses import Retired
from tasks.gates import retire_version, roll_back


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
    out.print(
        f"Next: pilotline backfill {model} --start D --end D --using champion --plan", markup=False
    )


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
    deliver_due()
    if as_json:
        print_json(asdict(retired))
        return
    word = "is" if retired.new else "was already"
    out.print(f"{model} {version} {word} {status}.", markup=False)
    if status == "revoked":
        _print_consequences(model, retired)


def _print_consequences(model: str, retired: Retired) -> None:
    if retired.was_champion:
        out.print("It is champion: nothing of the model is scored until there is another.")
        out.print(f"Next: pilotline rollback {model} --reason TEXT", markup=False)
    columns = ["variant", "date", "run"]
    title = f"Predictions that came from it: {len(retired.partitions)} partitions"
    print_table(title, columns, retired.partitions)
    told = ", ".join(retired.consumers) or "nobody is registered as a consumer"
    out.print(f"Told: {show(told)}", markup=False)


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
