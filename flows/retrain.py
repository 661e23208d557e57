"""Retrain the champion with its own scripts on new data; a person decides what becomes of it."""

from datetime import date

from prefect import flow

from flows.events import emit
from flows.place import current_home
from flows.release import Released, release
from tasks.steps import ask_to_retrain, train_from_champion
from tasks.training import Trained


@flow(flow_run_name="retrain-{model}-{until}")
def retrain(model: str, until: date) -> tuple[Trained, Released]:
    """Return the challenger and where its release waits; it is never promoted here.

    Args:
        model: the model.
        until: the last data date it may learn from or be judged on.
    """
    home = current_home()
    ask_to_retrain(home, model, until)
    trained = train_from_champion(home, model, until)
    if trained.new:
        facts = {"version": trained.number, "digest": trained.digest}
        emit("version.registered", model, {**facts, "metrics": trained.metrics})
    return trained, release(model, trained.number)
