"""The command trace: where one prediction came from."""

from datetime import date
from typing import Any

import click

from pilotline.flows.run.place import current_home
from pilotline.flows.screen.console import out, print_facts, print_json
from pilotline.flows.screen.options import Day, json_option
from pilotline.flows.screen.text import local


@click.command()
@click.argument("model")
@click.option("--date", "day", type=Day(), required=True, help="The prediction's day.")
@click.option("--key", required=True, help="carrier=UA,flight=1018,origin=EWR, or the values.")
@json_option
def trace(model: str, day: date, key: str, as_json: bool) -> None:
    """Say where one prediction of MODEL came from."""
    from pilotline.tasks.explain import trace_prediction

    home = current_home()
    with home.open_registry() as registry:
        found = trace_prediction(registry, home, model, day, key)
    if as_json:
        print_json(found)
        return
    print_facts([("model", found["model"]), *_flat(found["key"])])
    for title in ("prediction", "version", "run", "partition", "environment", "input"):
        out.print()
        print_facts([(title.upper(), ""), *_flat(found[title])])


def _flat(facts: dict[str, Any]) -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = []
    for name, value in facts.items():
        if isinstance(value, list):
            rows += [(f"  {a['gate']}", f"{a['by']} ({a['identity']})") for a in value]
        elif name == "started_at":
            rows.append(("  started", local(value)))
        else:
            # A flight's number is a name, not an amount: no thousands here.
            rows.append((f"  {name}", value if isinstance(value, bool | None) else str(value)))
    return rows
