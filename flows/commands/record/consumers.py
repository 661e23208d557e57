"""The commands consumers and notify: who reads predictions, and what they are told."""

from dataclasses import asdict

import click

from pilotline.flows.run.place import current_home
from pilotline.flows.run.telling import deliver_due
from pilotline.flows.screen.console import err, out, print_json, print_table
from pilotline.flows.screen.options import json_option
from pilotline.flows.screen.text import show
from pilotline.flows.server.at_server import announce
from pilotline.registry.consumers import (
    Consumer,
    NewConsumer,
    add_consumer,
    list_consumers,
    list_messages,
    remove_consumer,
)
from pilotline.registry.record import CHAMPION, ModelVersion, get_alias, get_model, latest_event


@click.group()
def consumers() -> None:
    """Who reads a model's predictions and is told of changes."""


@consumers.command("add")
@click.argument("model")
@click.argument("name")
@click.option("--contact", required=True, help="name@example.org, json://HOST/PATH or env:NAME.")
@click.option("--needs", default="", help="Versions it can take, such as ~=1.2.")
def consumers_add(model: str, name: str, contact: str, needs: str) -> None:
    """Note that NAME reads the predictions of MODEL."""
    home = current_home()
    announce(home)
    with home.open_registry() as registry, registry.write() as session:
        before = latest_event(session, get_model(session, model).id)
        was = _facts_of(session.get(Consumer, (get_model(session, model).id, name)))
        consumer = add_consumer(session, model, NewConsumer(name, contact, needs))
        already = latest_event(session, consumer.model_id) is before
        alias = get_alias(session, consumer.model_id, CHAMPION)
        champion = session.get_one(ModelVersion, alias.version_id).number if alias else None
        fits = champion is None or consumer.takes(champion)
        now = _facts_of(consumer)
    word = "is told already" if already else "is told"
    out.print(f"{show(name)} {word} of changes to {model}.", markup=False)
    if was and was != now:
        out.print(f"It was {show(was)}; is now {show(now)}.", markup=False)
    if not fits:
        err.print(f"The champion {champion} does not fit {show(needs)}.", markup=False)


def _facts_of(consumer: Consumer | None) -> str:
    return f"{consumer.contact}, {consumer.needs or 'any version'}" if consumer else ""


@consumers.command("list")
@click.argument("model")
@json_option
def consumers_list(model: str, as_json: bool) -> None:
    """List the consumers of MODEL."""
    with current_home().open_registry() as registry, registry.read() as session:
        found = list_consumers(session, get_model(session, model).id)
    rows = [{"consumer": c.name, "contact": c.contact, "needs": c.needs} for c in found]
    if as_json:
        print_json(rows)
        return
    if not rows:
        out.print(f"No consumer of {model} is registered.", markup=False)
        return
    listed = [(row["consumer"], row["contact"], row["needs"] or "any version") for row in rows]
    print_table(f"Consumers of {model}", ["consumer", "contact", "needs"], listed)


@consumers.command("remove")
@click.argument("model")
@click.argument("name")
def consumers_remove(model: str, name: str) -> None:
    """Forget that NAME reads the predictions of MODEL."""
    home = current_home()
    announce(home)
    with home.open_registry() as registry, registry.write() as session:
        remove_consumer(session, model, name)
    out.print(f"{show(name)} is no consumer of {model} any more.", markup=False)


@click.command()
@click.option("--now", "every", is_flag=True, help="Try also what was put off until later.")
@json_option
def notify(every: bool, as_json: bool) -> int:
    """Send what consumers are still to be told; what fails is due again later."""
    done = deliver_due(every)
    if as_json:
        print_json([asdict(delivery) for delivery in done])
    elif not done:
        with current_home().open_registry() as registry, registry.read() as session:
            waiting = len(list_messages(session))
        later = f"; {waiting} wait for a later try, --now tries them now" if waiting else ""
        out.print(f"Nothing is due{later}.")
    return 0 if all(delivery.sent for delivery in done) else 1
