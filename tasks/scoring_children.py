"""The child that scores a job's days one after the other, and what each of them uses."""

from contextlib import ExitStack
from typing import Any

from registry import Registry
from registry.ingests import Ingest
from registry.runs import Run
from tasks.commit import commit_partition
from tasks.errors import StepError
from tasks.job import Job
from tasks.metering import Meter
from tasks.process import Room, scoring_child
from tasks.profiles import Profile
from tasks.runner import Child


class ScoringChildren:
    """The child of a job, started when first needed and again after it failed."""

    def __init__(self, registry: Registry, room: Room, job: Job) -> None:
        self._registry, self._room, self._job = registry, room, job
        self._stack = ExitStack()
        self._child: Child | None = None
        self._meter = Meter()

    def __enter__(self) -> "ScoringChildren":
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self._stack.__exit__(kind, error, trace)

    def begin(self) -> None:
        """Begin a day."""
        self._meter.begin()

    def commit(self, run: Run, partition: Ingest) -> tuple[int, Profile]:
        """Stream the day through the child."""
        return commit_partition(
            self._registry, self._room.home, self._job, run, partition, self.child()
        )

    def child(self) -> Child:
        """Return the child, which is started if there is none, and measured."""
        if self._child is None:
            bundle = self._job.bundle
            self._child = self._stack.enter_context(
                scoring_child(self._room, bundle.folder, bundle.artifact)
            )
        self._meter.watch(self._child)
        return self._child

    def measure(self) -> dict[str, Any]:
        """Return what the day has used."""
        return self._meter.read(self._room.environment)

    def drop(self, error: BaseException) -> None:
        """End the child after ``error``; the next day gets a new one."""
        stack, self._stack, self._child = self._stack, ExitStack(), None
        try:
            stack.__exit__(type(error), error, error.__traceback__)
        except StepError:
            return  # how it ended after failing adds nothing to why it failed
