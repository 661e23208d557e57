"""One partition scored in parts by many, and committed once."""

import os
import socket
from collections.abc import Sequence
from typing import Any, Protocol

from pilotline.registry import Registry
from pilotline.registry.form import reach
from pilotline.registry.runs import Ingest, Run
from pilotline.tasks import lake
from pilotline.tasks.errors import LakeError, ShardError
from pilotline.tasks.home import Home
from pilotline.tasks.lab import ScoringRules
from pilotline.tasks.lake import Table, as_action, remove_part
from pilotline.tasks.sandbox import Meter
from pilotline.tasks.score.commit import commit_run, place_of, refuse_late, refuse_superseded
from pilotline.tasks.score.job import Job
from pilotline.tasks.score.shards.cuts import Part, PartDone, cut
from pilotline.tasks.score.stream import check_complete, files_of
from pilotline.tasks.stats import Profile, decode_profile, merge_profiles

SUMMED = ("child_cpu_s", "child_peak_mib", "predict_s", "bytes_in", "bytes_out")
LONGEST = ("build_s", "start_s")


class Crew(Protocol):
    """Those who score parts at once."""

    rules: ScoringRules

    def score(self, run_id: str, parts: Sequence[Part]) -> list[PartDone | ShardError]:
        """Return what became of each part of the run, in order."""


class ShardWorker:
    """Cuts a partition, has its parts scored at once, and commits their files together."""

    def __init__(self, registry: Registry, home: Home, job: Job, crew: Crew) -> None:
        self._registry, self._home, self._job, self._crew = registry, home, job, crew
        self._meter = Meter()
        self._done: list[PartDone] = []

    @property
    def teardown_s(self) -> float:
        """The longest of the day's teardowns."""
        return max((done.teardown_s for done in self._done), default=0.0)

    @property
    def clean(self) -> bool:
        """Whether nothing of the day's environments is left, of those that failed neither."""
        left = any(self._home.scratch.glob(f"run-{os.getpid()}-*"))
        return not left and all(done.clean for done in self._done)

    def begin(self) -> None:
        """Begin a day."""
        self._meter.begin()
        self._done = []

    def commit(self, run: Run, partition: Ingest) -> tuple[int, Profile]:
        """Score the day's parts and commit their files.

        Raises:
            ShardError: a part failed; nothing is committed and no file is left.
            SupersededError, VersionUnfitError: the run is not wanted any more.
            LakeError: the day is not what was ingested, or cannot be committed.
        """
        job, path = self._job, lake.predictions_path(self._home.lake, self._job.bundle.spec.name)
        if partition.files_digest is None:
            problem = f"{run.date} was ingested before its files were hashed"
            raise LakeError(partition.dataset, problem, "Ingest the day again.")
        refuse_superseded(self._registry, place_of(self._home, job).ensure(), run)
        shards = self._crew.rules.shards(partition.accepted)
        parts = cut(job, files_of(self._home, job, run), partition.files_digest, shards)
        outcomes = self._crew.score(run.id, parts)
        self._done = [done for done in outcomes if isinstance(done, PartDone)]
        try:
            for outcome in outcomes:
                if isinstance(outcome, ShardError):
                    raise outcome
            check_complete(run, partition, sum(done.file.rows for done in self._done))
            refuse_late(self._registry, run)
        except Exception:
            for done in self._done:
                remove_part(path, done.file.path)
            raise
        for done in self._done:
            if not done.file.rows:  # a bucket that no key of the day fell into
                remove_part(path, done.file.path)
        reach("score: predicted")
        version = self._commit(run)
        profiles = [decode_profile(done.profile) for done in self._done if done.profile]
        whole = merge_profiles(profiles)
        assert whole is not None, "a partition has rows"
        return version, whole

    def _commit(self, run: Run) -> int:
        # What cannot be committed is left: whether it was is known only to who looks, and
        # Delta's vacuum removes what no commit names.
        job = self._job
        partition = {"variant": job.variant, job.date_column: run.date.isoformat()}
        files = [as_action(done.file, partition) for done in self._done if done.file.rows]

        def write(table: Table, transaction: tuple[str, int]) -> int:
            return lake.replace_by_files(
                table, files, partition, job.schema, {"run": run.id}, transaction
            )

        return commit_run(self._registry, self._home, job, run, write)

    def measure(self) -> dict[str, Any]:
        """Return what the day has used, its parts together."""
        return add_up(self._meter.read(None), self._done)

    def drop(self, error: BaseException) -> None:
        """Nothing of a part outlives it."""


def add_up(own: dict[str, Any], parts: Sequence[PartDone]) -> dict[str, Any]:
    """Return what a partition used in all.

    Children are added up, their peaks too, as they ran at once; of the steps before the first
    row the longest counts. Processes of a cluster are added to the parent, each once.

    Args:
        own: what the process that commits has used.
        parts: its parts, with theirs.
    """
    if not parts:
        return own
    used = [part.used for part in parts]
    whole = dict(own)
    whole |= {name: round(sum(one[name] for one in used), 4) for name in SUMMED}
    whole |= {name: max(one[name] for one in used) for name in LONGEST}
    whole["packages_from"] = used[0]["packages_from"]
    measured = {one["child_measured_by"] for one in used}
    whole["child_measured_by"] = "kernel" if measured == {"kernel"} else "child"
    here = f"{socket.gethostname()} {os.getpid()}"
    for process in {part.process for part in parts} - {here}:
        theirs = [part.used for part in parts if part.process == process]
        whole["parent_cpu_s"] += sum(one["parent_cpu_s"] for one in theirs)
        whole["parent_peak_mib"] += max(one["parent_peak_mib"] for one in theirs)
    whole["shards"] = len(parts)
    return whole
