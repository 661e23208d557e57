"""The commands split: a challenger scores part of production's rows."""

import getpass
from typing import Any

import click

from pilotline.flows.run.place import current_home
from pilotline.flows.run.telling import deliver_due
from pilotline.flows.screen.console import out, print_json
from pilotline.flows.screen.options import deciding_options, json_option
from pilotline.flows.server.at_server import announce
from pilotline.registry.gates import Presence, Split, parse_share, split_of
from pilotline.tasks.decide import end_split, share_rows
from pilotline.tasks.home import Home


@click.group()
def split() -> None:
    """Let a challenger score part of production's rows: a canary."""


share_option = click.option("--share", required=True, help="Of the keys: 0.1, or 10%.")


@split.command("start")
@click.argument("model")
@click.argument("version")
@share_option
@deciding_options
def split_start(
    model: str,
    version: str,
    share: str,
    reason: str,
    by: str | None,
    code: str | None,
    as_json: bool,
) -> None:
    """Give VERSION of MODEL a share of production's rows, by a fixed hash of their key.

    It needs what a champion needs: both approvals and a passed verification.
    """
    _change_share(model, version, share, "start", reason, by, code, as_json)


@split.command("upgrade")
@click.argument("model")
@share_option
@deciding_options
def split_upgrade(
    model: str, share: str, reason: str, by: str | None, code: str | None, as_json: bool
) -> None:
    """Give the challenger of MODEL a larger share; the keys it has stay its own."""
    _change_share(model, "", share, "upgrade", reason, by, code, as_json)


@split.command("downgrade")
@click.argument("model")
@share_option
@deciding_options
def split_downgrade(
    model: str, share: str, reason: str, by: str | None, code: str | None, as_json: bool
) -> None:
    """Give the challenger of MODEL a smaller share."""
    _change_share(model, "", share, "downgrade", reason, by, code, as_json)


def _change_share(
    model: str,
    version: str,
    share: str,
    change: str,
    reason: str,
    by: str | None,
    code: str | None,
    as_json: bool,
) -> None:
    """Give a challenger a share, and say who scores what from the next run on.

    Args:
        model: the model.
        version: the challenger; empty for the one of the split that there is.
        share: as typed.
        change: ``start``, ``upgrade`` or ``downgrade``.
        reason: why.
        by: who says so; None for the user of this machine.
        code: a one-time code.
        as_json: whether to print JSON.
    """
    home, wanted = current_home(), parse_share(share)
    announce(home)
    who = by or getpass.getuser()
    presence = Presence(who, code) if code else None
    split = share_rows(home, model, version, wanted, change, who, reason, presence)
    deliver_due()
    if as_json:
        print_json(_describe(split))
        return
    _say(model, split)
    out.print(f"Next: pilotline score {model} --date D", markup=False)


@split.command("stop")
@click.argument("model")
@deciding_options
def split_stop(model: str, reason: str, by: str | None, code: str | None, as_json: bool) -> None:
    """Let the champion of MODEL score every row again."""
    home, who = current_home(), by or getpass.getuser()
    announce(home)
    split = end_split(home, model, who, reason, Presence(who, code) if code else None)
    deliver_due()
    if as_json:
        print_json(_describe(split) | {"stopped": True})
        return
    out.print(f"{model}: {split.champion} scores every row again.", markup=False)
    out.print(
        f"Days that {split.challenger} has a part in stay as they are; to score them again:\n"
        f"pilotline backfill {model} --start D --end D --using champion --plan",
        markup=False,
    )


@split.command("show")
@click.argument("model")
@json_option
def split_show(model: str, as_json: bool) -> None:
    """Show who scores which share of MODEL's rows."""
    home = current_home()
    known = _known(home, model)
    if as_json:
        print_json(_describe(known) if known else None)
    elif known is None:
        out.print(f"{model} has no split: the champion scores every row.", markup=False)
    else:
        _say(model, known)
        out.print(f"Set by {known.by}: {known.reason}", markup=False)


def _describe(split: Split) -> dict[str, Any]:
    """Return ``split`` as JSON values; the share is exact, so it is a text."""
    return {**vars(split), "share": str(split.share)}


def _say(model: str, split: Split) -> None:
    rest = 1 - split.share
    out.print(
        f"{model}: {split.challenger} scores {split.share:.2%} of the keys, "
        f"{split.champion} (champion) {rest:.2%}.",
        markup=False,
    )


def _known(home: Home, model: str) -> Split | None:
    with home.open_registry() as registry, registry.read() as session:
        return split_of(session, model)
