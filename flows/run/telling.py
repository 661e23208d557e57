"""Telling consumers what changed."""

import os
from collections.abc import Sequence

from flows.run.place import current_home
from flows.screen.console import err
from flows.screen.text import show
from registry.outbox import Delivery


def deliver_due(every: bool = False) -> Sequence[Delivery]:
    """Send what is due and say on standard error what became of it."""
    from registry.notify import send_message
    from registry.outbox import deliver

    with current_home().open_registry() as registry:
        done = deliver(registry, os.environ, send_message, every=every)
    for delivery in done:
        outcome = "told" if delivery.sent else f"not told yet ({delivery.problem})"
        err.print(
            f"{show(delivery.consumer)}: {show(outcome)}: {show(delivery.title)}", markup=False
        )
    return done
