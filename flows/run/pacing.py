"""A run of a backfill between two commits: what its page shows, and whether it is to go on."""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import date
from uuid import UUID

import httpx
from prefect.artifacts import (
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.context import FlowRunContext
from prefect.utilities.urls import url_for

from pilotline.flows.screen.logs import FACT
from pilotline.registry.store import now
from pilotline.tasks.errors import StepError
from pilotline.tasks.home import Home
from pilotline.tasks.score import TO_DO, DayScored, PlannedDay, find_ended

SHOWN = 20  # how often the progress is written anew; a request takes 10 ms or more
MOST_ROWS = 1000  # of the table, which the page holds whole
LOOK_S = 1.0  # while it is paused

log = logging.getLogger("pilotline")


class Pace:
    """What a run shows while it goes on, and what stopped it."""

    def __init__(
        self, client: SyncPrefectClient, run: FlowRun, model: str, plan: Sequence[PlannedDay]
    ) -> None:
        """Put the progress on the run's page; see ``kept_pace``."""
        self._client, self._run, self._model, self._plan = client, run, model, plan
        self._link = url_for("flow-run", run.id) or ""
        self.days = sum(day.state in TO_DO for day in plan)
        self.done: dict[date, DayScored] = {}
        self.stopped: State | None = None  # the run's state, where it is not to go on
        self._since = now()
        self._starts: int | None = None
        self._shown = 0
        self._progress: UUID | None = None

    def go_on(self, done: Sequence[DayScored]) -> bool:
        """Take note of days that were committed; return whether there are to be more.

        While the run is paused this waits. A server that does not answer stops nothing: what it
        shows is no more than shown, and what the registry holds is right without it.
        """
        self.done |= {day.date: day for day in done}
        try:
            self._show_progress()
            self.stopped = self._find_stop()
        except httpx.HTTPError as err:
            log.warning("the Prefect server does not answer (%s): going on", err)
        return self.stopped is None

    def begin(self) -> None:
        """Put the progress on the run's page."""
        with _unhindered():
            self._starts = self._count_starts()
            made = create_progress_artifact(
                0.0, key=f"backfill-{self._model}", description=self._describe()
            )
            self._progress = made if isinstance(made, UUID) else None  # typed as async too

    def look_up(self, home: Home) -> None:
        """Take note of days that ended and of which nobody told, since the process was stopped."""
        untold = [d.date for d in self._plan if d.state in TO_DO and d.date not in self.done]
        with _unhindered():
            self.done |= {
                day.date: day for day in find_ended(home, self._model, untold, self._since)
            }

    def finish(self) -> None:
        """Leave the table of days on the run's page."""
        with _unhindered():
            self._look()  # Prefect may have ended the block, because the run is suspended
            self._show_progress(last=True)
            left = [day for day in self._plan if day.state != "done"]
            create_table_artifact(
                key=f"backfill-{self._model}-days",
                table=[self._row(day) for day in left[:MOST_ROWS]],
                description=self._describe(),
            )

    def _row(self, planned: PlannedDay) -> dict[str, object]:
        done = self.done.get(planned.date)
        run = done.run_id if done else ""
        return {
            "day": planned.date.isoformat(),
            "was": planned.state,
            "is": done.state if done else "blocked" if planned.state == "blocked" else "not begun",
            "version": done.number if done else planned.number,
            "rows": done.rows if done else 0,
            "run": f"[{run}]({self._link})" if run and self._link else run,
            "reason": (done.reason if done else planned.reason)[:300],
        }

    def _describe(self) -> str:
        states = [day.state for day in self.done.values()]
        counts = "".join(f", {states.count(s)} {s}" for s in dict.fromkeys(states))
        blocked = sum(day.state == "blocked" for day in self._plan)
        ready = sum(day.state == "done" for day in self._plan)
        before = f"; {ready} done before, {blocked} blocked" if ready or blocked else ""
        return f"{self._model}: {len(self.done)} of {self.days} days{counts}{before}"

    def _show_progress(self, *, last: bool = False) -> None:
        share = len(self.done) / self.days if self.days else 1.0
        if self._progress is None or not (last or share * SHOWN >= self._shown + 1):
            return
        self._shown = int(share * SHOWN)
        update_progress_artifact(self._progress, 100 * share, self._describe())

    def _find_stop(self) -> State | None:
        """Return the state in which somebody else put the run, None if it is to go on."""
        state, own = self._look()
        if own and _waits_here(state):
            after = f"paused after {len(self.done)} of {self.days} days"
            log.log(FACT, f"{after}; 'pilotline resume {self._model}' goes on")
            while own and _waits_here(state):
                time.sleep(LOOK_S)
                with suppress(httpx.HTTPError):  # who was paused stays so while a server restarts
                    state, own = self._look()
        return None if own and state is not None and state.is_running() else state

    def _look(self) -> tuple[State | None, bool]:
        """Return the run's state, and whether no other process took the run over."""
        state, starts = self._client.read_flow_run(self._run.id).state, self._count_starts()
        if self._starts is None:
            self._starts = starts
        own = starts == self._starts
        if own and state is not None and state.is_paused():
            self._keep_paused(state)
        return state, own

    def _keep_paused(self, state: State) -> None:
        """Let a pause last until it is resumed; Prefect's UI has the run fail after 5 minutes."""
        if state.state_details.pause_timeout is not None:
            details = state.state_details.model_copy(update={"pause_timeout": None})
            lasting = state.model_copy(update={"state_details": details})
            self._client.set_flow_run_state(self._run.id, lasting, force=True)

    def _count_starts(self) -> int:
        """Return how often the run waited for a process; ``run_count`` counts resuming, too."""
        states = self._client.read_flow_run_states(self._run.id)
        return sum(state.is_scheduled() or state.is_pending() for state in states)


@contextmanager
def kept_pace(home: Home, model: str, plan: Sequence[PlannedDay]) -> Iterator[Pace]:
    """Give the pace of the run around this; its table is left however the block ends.

    Args:
        home: the home.
        model: the model.
        plan: what is to be done.
    """
    context = FlowRunContext.get()
    assert context is not None, "a flow is run in a context"
    assert context.flow_run is not None, "a flow is run in a run"
    with get_client(sync_client=True) as client:
        pace = Pace(client, context.flow_run, model, plan)
        pace.begin()
        try:
            yield pace
        except BaseException:
            pace.look_up(home)
            raise
        finally:
            pace.finish()


def _waits_here(state: State | None) -> bool:
    """Tell whether a run is paused whose process stays."""
    return state is not None and state.is_paused() and not state.state_details.pause_reschedule


@contextmanager
def _unhindered() -> Iterator[None]:
    """Let no trouble of what is shown stop what does not need it."""
    try:
        yield
    except (httpx.HTTPError, StepError) as err:
        log.warning("the run's page does not show all (%s)", err)
