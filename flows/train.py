"""Train a model of the lab, judge it on held-out days, register it."""

from datetime import date

from prefect import flow

from pilotline.flows.run.events import emit
from pilotline.flows.run.place import current_home
from pilotline.tasks.train import Trained
from pilotline.tasks.train.steps import train_from_lab


@flow(flow_run_name="train-{model}")
def train(
    model: str, until: date | None = None, parent: str | None = None, notes: str = ""
) -> Trained:
    """Return the registered version.

    Args:
        model: a folder of the lab.
        until: the last day it may learn from; by default the last ingested one.
        parent: the version it descends from; by default the latest approved one.
        notes: release notes; by default the plain list of differences.
    """
    trained = train_from_lab(current_home(), model, until, parent, notes)
    if trained.new:
        facts = {"version": trained.number, "digest": trained.digest}
        emit("version.registered", model, {**facts, "metrics": trained.metrics})
    return trained
