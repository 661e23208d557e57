"""The command train: a version out of the lab."""

from dataclasses import asdict
from datetime import date

import click

from pilotline.flows.run.place import current_home
from pilotline.flows.screen.console import out, print_facts, print_json, print_table
from pilotline.flows.screen.options import Day, json_option
from pilotline.flows.server.at_server import flow_run
from pilotline.tasks.lab import load_model_folder


@click.command()
@click.argument("model")
@click.option("--until", type=Day(), help="Last day it may learn from.")
@click.option("--from", "parent", help="The version it descends from.")
@click.option("--notes", default="", help="Release notes; else the list of differences.")
@json_option
def train(model: str, until: date | None, parent: str | None, notes: str, as_json: bool) -> None:
    """Train MODEL from the lab and register the version."""
    load_model_folder(current_home().lab, model)
    with flow_run(f"training {model}"):
        from pilotline.flows.train import train

        trained = train(model, until, parent, notes)
    if as_json:
        print_json(asdict(trained))
        return
    print_facts(
        [
            ("version", f"{model} {trained.number}"),
            ("state", "registered" if trained.new else "registered before, from the same inputs"),
            ("number because", trained.reason),
            ("digest", trained.digest),
            ("learned from", "{} to {}, {} days".format(*trained.train_days)),
            ("judged on", "{} to {}, {} days".format(*trained.holdout_days)),
        ]
    )
    rows = [(c["name"], "passed" if c["passed"] else "FAILED", c["detail"]) for c in trained.checks]
    print_table("Evaluation", ["check", "verdict", "found"], rows)
    out.print(f"Next: pilotline release {model} {trained.number}")
