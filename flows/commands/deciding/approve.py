"""The commands approve and reject: a decision at a gate."""

from dataclasses import asdict

import click

from pilotline.flows.gate.waking import ended_undecided, try_to_wake
from pilotline.flows.run.place import current_home
from pilotline.flows.screen.console import out, print_json
from pilotline.flows.screen.options import Command, Words, json_option
from pilotline.flows.screen.text import show
from pilotline.flows.server.at_server import announce
from pilotline.registry.form import same_person
from pilotline.registry.gates import Decision, Presence


def decision_options(command: Command) -> Command:
    """Add what approve and reject share."""
    for option in (
        json_option,
        click.option("--comment", type=Words(), required=True, help="Why; it is kept."),
        click.option("--code", help="The one-time code on the approver's device."),
        click.option("--by", "approver", required=True, help="Who decides."),
        click.option("--gate", required=True, type=click.Choice(["review", "go-live"])),
        click.argument("version"),
        click.argument("model"),
    ):
        command = option(command)
    return command


@click.command()
@decision_options
def approve(
    model: str,
    version: str,
    gate: str,
    approver: str,
    code: str | None,
    comment: str,
    as_json: bool,
) -> None:
    """Approve VERSION of MODEL at a gate."""
    _decide(model, version, gate, "approve", approver, code, comment, as_json)


@click.command()
@decision_options
def reject(
    model: str,
    version: str,
    gate: str,
    approver: str,
    code: str | None,
    comment: str,
    as_json: bool,
) -> None:
    """Reject VERSION of MODEL at a gate."""
    _decide(model, version, gate, "reject", approver, code, comment, as_json)


def _decide(
    model: str,
    version: str,
    gate: str,
    decision: str,
    approver: str,
    code: str | None,
    comment: str,
    as_json: bool,
) -> None:
    """Record a decision and say what comes next."""
    from pilotline.flows.gate.late import refuse_stale, say_earlier
    from pilotline.tasks.decide import record_decision

    home = current_home()
    announce(home)
    if decision == "approve":
        refuse_stale(home, model, version, gate)
    said = Decision(gate, decision, approver, comment)
    presence = Presence(approver, code) if code else None
    decided = record_decision(home, model, version, said, presence)
    woken = try_to_wake(home, model, version)
    if as_json:
        print_json(asdict(decided))
        return
    if not decided.new and not same_person(decided.by, approver):
        out.print(f"{model} {version}: {say_earlier(gate, approver, decided.by)}.", markup=False)
        return
    word = {"approve": "approved", "reject": "rejected"}[decision]
    before = "" if decided.new else " already"
    out.print(
        f"{model} {version} {word}{before} at {gate} by {show(approver)} ({decided.identity}).",
        markup=False,
    )
    if not decided.new and decided.comment != comment:
        out.print(
            f"The first decision stays, and its comment: {show(decided.comment)}", markup=False
        )
    if woken:
        out.print("The release that waited for it in the Prefect UI goes on.")
    elif decision == "approve":
        if ended_undecided(home, model, version):
            out.print("The release that waited for it ended at its deadline; it takes a new one.")
        out.print(f"Next: pilotline release {model} {version}")
