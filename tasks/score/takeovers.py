"""Days that another process took over: whether it finished them or left them undone."""

import time
from collections.abc import Sequence
from datetime import date

from pilotline.registry import Registry
from pilotline.tasks.score.plan import TO_DO, plan_backfill

LONGEST_WAIT_S = 20.0  # a commit of many days takes a few seconds
LOOK_S = 0.5


def list_left(
    registry: Registry,
    model: str,
    dataset: str,
    number: str,
    days: Sequence[date],
    reason: str,
    wait_s: float = LONGEST_WAIT_S,
) -> list[date]:
    """Return those of ``days`` that nobody finished with the version, oldest first.

    A claim does not tell whether who made it still lives. So a day that is open is looked at for a
    while; what is open then is left.

    Args:
        registry: the registry.
        model: the model.
        dataset: what it reads.
        number: of the version that was to score the days.
        days: the days; at least one.
        reason: why the version may replace what another one made, where it must say so.
        wait_s: for how long to look.
    """
    until = time.monotonic() + wait_s
    while True:
        plan = plan_backfill(registry, model, dataset, min(days), max(days), number, True, reason)
        left = [day.date for day in plan if day.date in days and day.state in TO_DO]
        if not left or time.monotonic() > until:
            return left
        time.sleep(LOOK_S)
