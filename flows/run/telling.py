"""Telling consumers what changed."""

import os
from collections.abc import Sequence

from pilotline.flows.run.place import current_home
from pilotline.flows.screen.console import err
from pilotline.flows.screen.text import show
from pilotline.registry.consumers import Delivery


def deliver_due(every: bool = False) -> Sequence[Delivery]:
    """Send what is due and say on standard error what became of it."""
    from pilotline.registry.consumers import deliver, send_message

    with current_home().open_registry() as registry:
        done = deliver(registry, os.environ, send_message, every=every)
    for delivery in done:
        outcome = "told" if delivery.sent else f"not told yet ({delivery.problem})"
        err.print(
            f"{show(delivery.consumer)}: {show(outcome)}: {show(delivery.title)}", markup=False
        )
    return done
