"""Commands about people: approvers, consumers, and what consumers are told."""

from dataclasses import asdict
from typing import TYPE_CHECKING

from flows.run.place import current_home
from flows.run.telling import deliver_due
from flows.screen.console import err, out, print_json, print_table
from flows.screen.text import show
from flows.server.at_server import announce
from registry.approvers import Presence
from registry.vault import Vault

if TYPE_CHECKING:
    from registry.consumers import Consumer


def add_approver(name: str, by: str | None, code: str | None) -> None:
    """Enrol an approver and show the secret once, as text and to scan."""
    from registry.approvers import enrol

    home = current_home()
    announce(home)
    vouching = Presence(by, code) if by and code else None
    with home.open_registry() as registry:
        uri = enrol(registry, Vault(home.approval_key), name, vouching)
    out.print(f"{show(name)} is enrolled. Scan this with an authenticator now:", markup=False)
    _print_qr(uri)
    out.print(uri, markup=False)
    out.print("It is shown only now; the registry keeps it encrypted. Clear the screen afterwards.")
    if not any(name in names for names in home.load_policy().approvers.values()):
        err.print(f"The policy opens no gate to {show(name)} yet: {home.policy_path}", markup=False)


def _print_qr(text: str) -> None:
    import io

    import segno

    drawn = io.StringIO()
    segno.make(text).terminal(drawn, compact=True)
    out.file.write(drawn.getvalue())


def show_approvers(as_json: bool) -> None:
    """Print who is enrolled and where they may decide."""
    from registry.approvers import list_approvers

    home = current_home()
    policy = home.load_policy()
    with home.open_registry() as registry, registry.read() as session:
        enrolled = {approver.name: since for approver, since in list_approvers(session)}
    named = {name for names in policy.approvers.values() for name in names}
    open_to = {
        name: [gate for gate, names in policy.approvers.items() if name in names]
        for name in sorted(named | set(enrolled))
    }
    if as_json:
        print_json(
            [
                {"approver": name, "gates": gates, "enrolled_since": enrolled.get(name)}
                for name, gates in open_to.items()
            ]
        )
        return
    columns = ["approver", "gates", "enrolled since"]
    listed = [
        (name, ", ".join(gates) or "-", enrolled.get(name)) for name, gates in open_to.items()
    ]
    print_table(f"Approvers; the policy asks for identity {policy.identity}", columns, listed)


def drop_approver(name: str, by: str, code: str) -> None:
    """Remove an approver."""
    from registry.approvers import remove_approver

    home = current_home()
    announce(home)
    with home.open_registry() as registry:
        remove_approver(registry, Vault(home.approval_key), name, Presence(by, code))
    out.print(f"{show(name)} is no approver any more.", markup=False)


def put_consumer(model: str, name: str, contact: str, needs: str) -> None:
    """Add a consumer and say whether it can take the champion."""
    from registry.aliases import CHAMPION, get_alias
    from registry.consumers import Consumer, NewConsumer, add_consumer
    from registry.events import latest_event
    from registry.models import get_model
    from registry.versions import ModelVersion

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


def _facts_of(consumer: "Consumer | None") -> str:
    return f"{consumer.contact}, {consumer.needs or 'any version'}" if consumer else ""


def show_consumers(model: str, as_json: bool) -> None:
    """Print a model's consumers."""
    from registry.consumers import list_consumers
    from registry.models import get_model

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


def drop_consumer(model: str, name: str) -> None:
    """Remove a consumer."""
    from registry.consumers import remove_consumer

    home = current_home()
    announce(home)
    with home.open_registry() as registry, registry.write() as session:
        remove_consumer(session, model, name)
    out.print(f"{show(name)} is no consumer of {model} any more.", markup=False)


def send_due(every: bool, as_json: bool) -> int:
    """Send what is due; return 1 if something could not be sent."""
    from registry.outbox import list_messages

    done = deliver_due(every)
    if as_json:
        print_json([asdict(delivery) for delivery in done])
    elif not done:
        with current_home().open_registry() as registry, registry.read() as session:
            waiting = len(list_messages(session))
        later = f"; {waiting} wait for a later try, --now tries them now" if waiting else ""
        out.print(f"Nothing is due{later}.")
    return 0 if all(delivery.sent for delivery in done) else 1
