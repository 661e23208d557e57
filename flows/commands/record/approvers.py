"""The commands approvers: who can decide with a one-time code."""

import io

import click

from pilotline.flows.run.place import current_home
from pilotline.flows.screen.console import err, out, print_json, print_table
from pilotline.flows.screen.options import json_option
from pilotline.flows.screen.text import show
from pilotline.flows.server.at_server import announce
from pilotline.registry.gates import (
    Presence,
    Vault,
    enrol,
    list_approvers,
    make_key,
    remove_approver,
)
from pilotline.tasks.lab import factory_policy


@click.group()
def approvers() -> None:
    """Who can decide with a one-time code."""


@approvers.command("key")
def approvers_key() -> None:
    """Print a new key for PILOTLINE_APPROVAL_KEY, under which secrets are stored."""
    click.echo(make_key())


@approvers.command("add")
@click.argument("name")
@click.option("--by", help="An enrolled approver who vouches; the first needs none.")
@click.option("--code", help="The one-time code on that approver's device.")
def approvers_add(name: str, by: str | None, code: str | None) -> None:
    """Enrol NAME and show, once, what to scan with an authenticator."""
    if (by is None) != (code is None):
        raise click.UsageError("Give --by and --code together.")
    home = current_home()
    announce(home)
    vouching = Presence(by, code) if by and code else None
    with home.open_registry() as registry:
        uri = enrol(registry, Vault(home.approval_key), name, vouching)
    out.print(f"{show(name)} is enrolled. Scan this with an authenticator now:", markup=False)
    _print_qr(uri)
    out.print(uri, markup=False)
    out.print("It is shown only now; the registry keeps it encrypted. Clear the screen afterwards.")
    if not any(name in names for names in factory_policy(home).approvers.values()):
        err.print(f"The policy opens no gate to {show(name)} yet: {home.policy_path}", markup=False)


def _print_qr(text: str) -> None:
    import segno

    drawn = io.StringIO()
    segno.make(text).terminal(drawn, compact=True)
    out.file.write(drawn.getvalue())


@approvers.command("list")
@json_option
def approvers_list(as_json: bool) -> None:
    """List who is enrolled, and which gates the policy opens to them."""
    home = current_home()
    policy = factory_policy(home)
    with home.open_registry() as registry, registry.read() as session:
        enrolled = {approver.name: since for approver, since in list_approvers(session)}
    named = {name for names in policy.approvers.values() for name in names}
    open_to = {
        name: [gate for gate, names in policy.approvers.items() if name in names]
        for name in sorted(named | set(enrolled))
    }
    if as_json:
        print_json(
            [
                {"approver": name, "gates": gates, "enrolled_since": enrolled.get(name)}
                for name, gates in open_to.items()
            ]
        )
        return
    columns = ["approver", "gates", "enrolled since"]
    listed = [
        (name, ", ".join(gates) or "-", enrolled.get(name)) for name, gates in open_to.items()
    ]
    print_table(f"Approvers; the policy asks for identity {policy.identity}", columns, listed)


@approvers.command("remove")
@click.argument("name")
@click.option("--by", required=True, help="An enrolled approver; NAME itself may be.")
@click.option("--code", required=True, help="The one-time code on that approver's device.")
def approvers_remove(name: str, by: str, code: str) -> None:
    """Remove NAME; what it approved and nothing used yet counts no more."""
    home = current_home()
    announce(home)
    with home.open_registry() as registry:
        remove_approver(registry, Vault(home.approval_key), name, Presence(by, code))
    out.print(f"{show(name)} is no approver any more.", markup=False)
