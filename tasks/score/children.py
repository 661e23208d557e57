"""The children that score a job's days, one or several at once, and what each day uses."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from contextvars import copy_context
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from pilotline.tasks.errors import ChildError, StepError
from pilotline.tasks.sandbox import Child, Meter, Room, scoring_child
from pilotline.tasks.score.job import Job

Given = TypeVar("Given")
Made = TypeVar("Made")


class ScoringChild:
    """A child of a job, started when first needed and again after it failed."""

    def __init__(self, room: Room, job: Job, place: str = "") -> None:
        """Start nothing yet.

        Args:
            room: where the child runs.
            job: what it predicts.
            place: a folder of the room's, for one that runs beside others.
        """
        self._room, self._job, self._place = room, job, place
        self._stack = ExitStack()
        self._child: Child | None = None
        self._meter = Meter()
        self._lock = threading.Lock()  # a child that is being started is ended as well
        self._interrupted = False

    def __enter__(self) -> "ScoringChild":
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self._stack.__exit__(kind, error, trace)

    def begin(self) -> None:
        """Begin a day."""
        self._meter.begin()

    def process(self) -> Child:
        """Return the model's process, which is started if there is none, and measured.

        Raises:
            ChildError: it was interrupted.
        """
        bundle = self._job.bundle
        with self._lock:
            if self._interrupted:
                raise ChildError(bundle.spec.name, "was interrupted")
            if self._child is None:
                self._child = self._stack.enter_context(
                    scoring_child(self._room, bundle.folder, bundle.artifact, self._place)
                )
            child = self._child
        self._meter.watch(child)
        return child

    def measure(self) -> dict[str, Any]:
        """Return what the day has used."""
        return self._meter.read(self._room.environment)

    def drop(self, error: BaseException) -> None:
        """End the child after ``error``; the next day gets a new one."""
        with self._lock:
            stack, self._stack, self._child = self._stack, ExitStack(), None
        try:
            stack.__exit__(type(error), error, error.__traceback__)
        except StepError:
            return  # how it ended after failing adds nothing to why it failed

    def interrupt(self, error: BaseException) -> None:
        """End the child whatever it does, and start none any more."""
        self._interrupted = True
        self.drop(error)


class ScoringChildren:
    """The child of a job, or several that score days at once.

    Of several each has a thread of its own, which lives as long as it does: the sandbox ends a
    child with the thread that opened it.
    """

    def __init__(self, room: Room, job: Job, count: int = 1) -> None:
        places = [f"child-{n}" for n in range(count)] if count > 1 else [""]
        self._children = [ScoringChild(room, job, place) for place in places]
        self._threads = [ThreadPoolExecutor(1, "scoring") for _ in places if count > 1]

    def __enter__(self) -> "ScoringChildren":
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        left = (kind, error, trace)
        if not self._threads:
            self._children[0].__exit__(*left)
        with ExitStack() as stack:  # one after the other, and each though another one fails
            for child, thread in zip(self._children, self._threads, strict=False):
                stack.callback(_close, child, thread, left)

    def each(self, act: Callable[[Given, ScoringChild], Made], days: Sequence[Given]) -> list[Made]:
        """Return what ``act`` makes of each of the days, in order; a free child takes the next."""
        if not self._threads:
            return [act(day, self._children[0]) for day in days]
        left: SimpleQueue[tuple[int, Given]] = SimpleQueue()
        for numbered in enumerate(days):
            left.put(numbered)
        stop = threading.Event()

        def work(child: ScoringChild) -> dict[int, Made]:
            made: dict[int, Made] = {}
            while not stop.is_set():
                try:
                    place, day = left.get_nowait()
                except Empty:
                    break
                made[place] = act(day, child)
            return made

        futures = [
            thread.submit(copy_context().run, work, child)
            for child, thread in zip(self._children, self._threads, strict=True)
        ]
        try:
            made = _gather(futures)
        except BaseException as err:  # Ctrl-C: no day more, and what is under way ends now
            stop.set()
            for child in self._children:
                child.interrupt(err)
            wait(futures)  # what they write to is taken away then
            raise
        return [made[place] for place in range(len(days))]


def _gather(futures: Sequence[Future[dict[int, Made]]]) -> dict[int, Made]:
    return {place: made for future in futures for place, made in future.result().items()}


def _close(child: ScoringChild, thread: ThreadPoolExecutor, left: tuple[Any, Any, Any]) -> None:
    """End the child in its own thread, and the thread."""
    with thread:
        thread.submit(child.__exit__, *left).result()
