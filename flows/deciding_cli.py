"""The command line of those who decide: rollback, retiring versions, splits, aliases."""

import click

from flows.screen.options import Command, Words, json_option


def deciding_options(command: Command) -> Command:
    """Add what every decision takes: why, by whom, with which code."""
    for option in (
        json_option,
        click.option("--code", help="The one-time code on the device of --by."),
        click.option("--by", help="Who says so; by default the user of this machine."),
        click.option("--reason", type=Words(), required=True, help="Why; it is kept."),
    ):
        command = option(command)
    return command


@click.command()
@click.argument("model")
@deciding_options
def rollback(model: str, reason: str, by: str | None, code: str | None, as_json: bool) -> None:
    """Make the champion before the present one champion again."""
    from flows.retiring_commands import run_rollback

    run_rollback(model, reason, by, code, as_json)


@click.command()
@click.argument("model")
@click.argument("version")
@deciding_options
def deprecate(
    model: str, version: str, reason: str, by: str | None, code: str | None, as_json: bool
) -> None:
    """Mark VERSION of MODEL as one to move off."""
    from flows.retiring_commands import run_retire

    run_retire(model, version, "deprecated", reason, by, code, as_json)


@click.command()
@click.argument("model")
@click.argument("version")
@deciding_options
def revoke(
    model: str, version: str, reason: str, by: str | None, code: str | None, as_json: bool
) -> None:
    """Forbid VERSION of MODEL for good, and say what came from it."""
    from flows.retiring_commands import run_retire

    run_retire(model, version, "revoked", reason, by, code, as_json)


@click.command()
@click.argument("model")
@click.argument("version")
@deciding_options
def archive(
    model: str, version: str, reason: str, by: str | None, code: str | None, as_json: bool
) -> None:
    """Put VERSION of MODEL away; a model whose versions all are is hidden from search."""
    from flows.retiring_commands import run_retire

    run_retire(model, version, "archived", reason, by, code, as_json)


@click.command()
@click.argument("model")
@click.argument("name")
@click.argument("version", required=False)
@click.option("--remove", is_flag=True, help="Remove the alias instead.")
def alias(model: str, name: str, version: str | None, remove: bool) -> None:
    """Point alias NAME of MODEL at VERSION; champion is protected."""
    if remove == (version is not None):
        raise click.UsageError("Give VERSION, or --remove.")
    from flows.retiring_commands import run_alias

    run_alias(model, name, version)


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
    from flows.split_commands import run_split

    run_split(model, version, share, "start", reason, by, code, as_json)


@split.command("upgrade")
@click.argument("model")
@share_option
@deciding_options
def split_upgrade(
    model: str, share: str, reason: str, by: str | None, code: str | None, as_json: bool
) -> None:
    """Give the challenger of MODEL a larger share; the keys it has stay its own."""
    from flows.split_commands import run_split

    run_split(model, "", share, "upgrade", reason, by, code, as_json)


@split.command("downgrade")
@click.argument("model")
@share_option
@deciding_options
def split_downgrade(
    model: str, share: str, reason: str, by: str | None, code: str | None, as_json: bool
) -> None:
    """Give the challenger of MODEL a smaller share."""
    from flows.split_commands import run_split

    run_split(model, "", share, "downgrade", reason, by, code, as_json)


@split.command("stop")
@click.argument("model")
@deciding_options
def split_stop(model: str, reason: str, by: str | None, code: str | None, as_json: bool) -> None:
    """Let the champion of MODEL score every row again."""
    from flows.split_commands import run_stop

    run_stop(model, reason, by, code, as_json)


@split.command("show")
@click.argument("model")
@json_option
def split_show(model: str, as_json: bool) -> None:
    """Show who scores which share of MODEL's rows."""
    from flows.split_commands import show_split

    show_split(model, as_json)


DECIDING = (rollback, deprecate, revoke, archive, alias, split)
