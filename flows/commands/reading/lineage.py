"""The command lineage: what something came from and led to."""

from datetime import date

import click

from pilotline.flows.commands.reading.lineage_tree import draw_lineage
from pilotline.flows.run.place import current_home
from pilotline.flows.screen.console import out, print_json
from pilotline.flows.screen.options import Day, json_option
from pilotline.tasks.explain import Question, describe_events, trace_lineage


@click.command()
@click.argument("reference", metavar="REF")
@click.option("--date", "day", type=Day(), help="The day of a data version or prediction.")
@click.option("--key", help="One prediction: carrier=UA,flight=1018,origin=EWR, or the values.")
@click.option("--digest", metavar="PREFIX", help="An earlier data version of the day.")
@json_option
def lineage(
    reference: str, day: date | None, key: str | None, digest: str | None, as_json: bool
) -> None:
    """Show what REF came from and led to.

    REF is MODEL, MODEL@REF, a run's id or a DATASET with --date; MODEL with --date is the
    predictions of that day, with --key one of them. --json prints OpenLineage events.
    """
    if day is None and (key is not None or digest is not None):
        raise click.UsageError("Give --date too: --key and --digest are of one day.")
    home = current_home()
    with home.open_registry() as registry:
        traced = trace_lineage(registry, home, Question(reference, day, key, digest))
    if as_json:
        print_json(describe_events(traced))
        return
    for tree in draw_lineage(traced):
        out.print(tree, soft_wrap=False)
