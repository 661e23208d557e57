"""A group of commands that imports the one which is asked for, and puts errors in words."""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from importlib import import_module
from typing import Any

import click

from pilotline.tasks.logs import note


@dataclass(frozen=True)
class Line:
    """A command in the group's help: its module in this room, and the first sentence of its own."""

    module: str
    help: str


class LazyGroup(click.Group):
    """Commands in the order of a table; each returns nothing or an exit status."""

    def __init__(self, *args: Any, table: Mapping[str, Line], **given: Any) -> None:
        super().__init__(*args, **given)
        self.commands = {name: click.Command(name, help=line.help) for name, line in table.items()}
        self._modules = {name: line.module for name, line in table.items()}  # still to import

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the table's order."""
        return list(self.commands)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, imported from the module that the table has for it.

        It is called as in that module, with an underscore where Python has that name already.
        """
        module = self._modules.pop(cmd_name, None)
        if module is not None:
            declared = vars(import_module(f"{__package__}.{module}"))
            found = declared.get(f"{cmd_name}_") or declared[cmd_name]
            self.add_command(found, cmd_name)
        return super().get_command(ctx, cmd_name)

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Add a command, or a group of them, whose log lines are about what it is given."""
        for one in (cmd, *(cmd.commands.values() if isinstance(cmd, click.Group) else ())):
            if one.callback is not None:
                one.callback = _noting(one.callback)
        super().add_command(cmd, name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table, without importing what it names."""
        limit = formatter.width - 6 - max(map(len, self.commands))
        rows = [(name, line.get_short_help_str(limit)) for name, line in self.commands.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Return what is left for the command; bytes that are no text are wrong use."""
        for word in args:
            if any("\udc80" <= character <= "\udcff" for character in word):
                raise click.UsageError(f"{word!r} is no text in UTF-8. Type it again.", ctx)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command and exit with its status; a refusal is one message and exit status 1."""
        try:
            _keep_lines()
            status = super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt:
            click.echo("Interrupted; what was committed stays, run it again to go on.", err=True)
            sys.exit(130)
        except Exception as err:
            if not is_refusal(err):
                raise
            _complain(str(err))
            sys.exit(1)
        if status:
            sys.exit(status)


def _noting(act: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(act)
    def noted(*args: Any, **given: Any) -> Any:
        note(model=given.get("model"), version=given.get("version"), date=given.get("day"))
        return act(*args, **given)

    return noted


def _keep_lines() -> None:
    """Let what is logged be written as lines where PILOTLINE_LOG asks for it."""
    if os.environ.get("PILOTLINE_LOG"):  # first: it costs nothing where nobody asks
        from pilotline.flows.screen.logs import log_lines, way_of

        log_lines(way_of(os.environ))


def _complain(text: str) -> None:
    from pilotline.flows.screen.console import log  # names in it may come from outside
    from pilotline.flows.screen.logs import lines_are_kept
    from pilotline.flows.screen.text import show

    if lines_are_kept():
        log.error(text)
    else:
        click.echo(f"Error: {show(text)}", err=True)


def is_refusal(error: Exception) -> bool:
    """Tell whether ``error`` is one of ours, whose message says what to do."""
    from pilotline.registry.form import RegistryError
    from pilotline.tasks.errors import StepError

    return isinstance(error, RegistryError | StepError)
