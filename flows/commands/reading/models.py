"""The command models: which models there are."""

from typing import Any

import click

from pilotline.flows.run.place import current_home
from pilotline.flows.screen.console import out, print_json, print_table
from pilotline.flows.screen.options import json_option
from pilotline.tasks.explain import describe_models


@click.command()
@json_option
def models(as_json: bool) -> None:
    """List the registered models."""
    with current_home().open_registry() as registry:
        found = describe_models(registry)
    if as_json:
        print_json(found)
        return
    if not found:
        out.print("No model is registered. Train one with 'pilotline train MODEL'.")
        return
    rows = [
        (
            model["model"],
            say_champion(model),
            len(model["versions"]),
            model["last_scored"],
            model["owner"],
            model["description"],
        )
        for model in found
    ]
    columns = ["model", "champion", "versions", "last scored", "owner", "what it is for"]
    print_table("Models", columns, rows)


def say_champion(model: dict[str, Any]) -> str | None:
    """Return the champion's number, and what keeps it from running."""
    if model["champion_status"] in (None, "approved"):
        number: str | None = model["champion"]
        return number
    return f"{model['champion']} ({model['champion_status']})"
