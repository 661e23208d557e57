"""Judge a model in production: realized performance and drift."""

from datetime import date

from prefect import flow

from flows.events import emit
from flows.place import current_home
from tasks.monitoring import Watch
from tasks.steps import monitor_days


@flow(flow_run_name="monitor-{model}-{day}")
def monitor(model: str, day: date) -> Watch:
    """Return what was found up to ``day``; drift that persists is announced once."""
    watch = monitor_days(current_home(), model, day)
    if watch.new:
        strongest = max(watch.windows[-1].judgements, key=lambda j: j.value / j.threshold)
        emit(
            "drift.detected",
            model,
            {
                "version": watch.number,
                "until": day.isoformat(),
                "column": strongest.column,
                "distance": strongest.distance,
                "value": strongest.value,
                "threshold": strongest.threshold,
            },
        )
    return watch
