"""The command diff: what changed between two versions."""

import click

from pilotline.flows.run.place import current_home
from pilotline.flows.screen.console import out, print_json, print_table
from pilotline.flows.screen.options import json_option
from pilotline.flows.screen.text import show
from pilotline.tasks.train import compare_versions

TABLES = (
    ("files", "Files", ["file", "role", "change"]),
    ("packages", "Packages", ["package", "before", "after"]),
    ("params", "Parameters", ["parameter", "before", "after"]),
    ("metrics", "Metrics, each on its own held-out days", ["metric", "before", "after"]),
    ("data", "Data", ["what", "before", "after"]),
)


@click.command()
@click.argument("model")
@click.argument("before", metavar="A")
@click.argument("after", metavar="B")
@json_option
def diff(model: str, before: str, after: str, as_json: bool) -> None:
    """Say what changed from version A of MODEL to version B."""
    with current_home().open_registry() as registry:
        found = compare_versions(registry, model, before, after)
    if as_json:
        print_json(found)
        return
    if found["before"] == found["after"]:
        out.print(f"{model} {found['before']} and {found['after']} are the same version.")
        return
    part, reasons = found["step"], found["reasons"]
    out.print(
        f"{model} {found['before']} -> {found['after']}: {part} ({show('; '.join(reasons))})",
        markup=False,
    )
    for key, title, columns in TABLES:
        if found[key]:
            print_table(title, columns, found[key])
