"""The step that scores a part of a partition, and who does many at once: threads or Dask."""

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.context import TaskRunContext
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from pilotline.tasks.errors import SettingsError, ShardError
from pilotline.tasks.home import Home, find_home
from pilotline.tasks.lab import ScoringRules
from pilotline.tasks.score.shards.cuts import Part, PartDone
from pilotline.tasks.score.shards.part import score_part


class PrefectCrew:
    """Scores parts at once as Prefect tasks; each in an environment and a child of its own."""

    def __init__(self, home: Home, rules: ScoringRules) -> None:
        self.rules = rules
        self._home = home

    def score(self, run_id: str, parts: Sequence[Part]) -> list[PartDone | ShardError]:
        """Return what became of each part; one that fails does not stop the others.

        Raises:
            SettingsError: there is no such cluster, or the packages for it are not installed.
        """
        # Workers elsewhere find a home by their own settings: an address of the registry may hold
        # a password, and does not travel.
        home = self._home if self.rules.task_runner == "threads" else None
        with _open_runner(self.rules, len(parts)) as runner, _no_parameters():
            futures = [
                runner.submit(
                    score_shard, {"home": home, "run_id": run_id, "index": index, "part": part}
                )
                for index, part in enumerate(parts)
            ]
            return [_outcome(future) for future in futures]


@task(name="score-shard", task_run_name="score-shard-{index}", cache_policy=NO_CACHE)
def score_shard(home: Home | None, run_id: str, index: int, part: Part) -> PartDone:
    """Score one part of the partition that a run claimed.

    Args:
        home: the home; None where this is another process, which has settings of its own.
        run_id: the claim.
        index: of the part.
        part: what to score.

    Raises:
        ShardError: it failed.
    """
    home = home or find_home(os.environ, Path.cwd())
    with home.open_registry() as registry:
        return score_part(registry, home, run_id, index, part)


def _no_parameters() -> AbstractContextManager[object]:
    """Return a context in which nothing is sent along with a task.

    Otherwise Prefect sends to a cluster, with each task, the parameters of the one that submits it
    (Prefect 3.9.1): here the home, with the registry's password and the approvals' key.
    """
    asking = TaskRunContext.get()
    return asking.model_copy(update={"parameters": {}}) if asking else nullcontext()


def _outcome(future: Any) -> PartDone | ShardError:
    try:
        done: PartDone = future.result()
    except ShardError as err:
        return err
    except Exception as err:  # a worker that died, a cluster that went away
        return ShardError(f"{type(err).__name__}: {err}")
    return done


def _open_runner(rules: ScoringRules, parts: int) -> TaskRunner[Any]:
    if rules.task_runner == "threads":
        return ThreadPoolTaskRunner(max_workers=rules.workers)
    try:
        from prefect_dask.task_runners import DaskTaskRunner
    except ImportError as err:
        raise SettingsError(
            'task_runner = "dask"',
            "the packages for it are not installed",
            "Install pilotline[dask], or let the policy name threads.",
        ) from err
    if rules.address:
        return DaskTaskRunner(address=rules.address)
    size = {"n_workers": min(rules.workers, parts), "threads_per_worker": 1, "processes": True}
    return DaskTaskRunner(cluster_kwargs={**size, "dashboard_address": ":0"})
