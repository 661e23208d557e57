"""Score one day of the wide factory, in a process of its own, and print what it took as JSON."""

import json
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

BEGAN = time.perf_counter()


def main() -> None:
    """Run one of the ways on a model and a day."""
    way, root, model, day = sys.argv[1:]
    found = WAYS[way](Path(root), model, date.fromisoformat(day))
    parent = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"total_s": time.perf_counter() - BEGAN, "peak_mib": parent} | found))


def score_whole(root: Path, model: str, day: date) -> dict[str, Any]:
    """Do everything a scoring run does, without Prefect."""
    from benchmarks.wide_factory import find_home
    from pilotline.registry.gates.references import resolve
    from pilotline.tasks.lab.bundle import load_bundle
    from pilotline.tasks.sandbox.walls import probe_isolation
    from pilotline.tasks.score.days import score_days
    from pilotline.tasks.score.job import plan_job

    home = find_home(root)
    with home.open_registry() as registry:
        with registry.read() as session:
            version = resolve(session, model, "1.0.0")
        job = plan_job(load_bundle(registry, version), "bench", "bench")
        (done,) = score_days(registry, home, probe_isolation(), job, [day], lambda text: None)
    if done.state != "succeeded" or done.resources is None:
        raise SystemExit(f"{done.state}: {done.reason}")
    return {
        **done.resources,
        "rows": done.rows,
        "peak_mib": done.resources["parent_peak_mib"] + done.resources["child_peak_mib"],
    }


def stream_children(
    root: Path, model: str, day: date, children: int = 1, profiled: bool = False
) -> dict[str, Any]:
    """Let children predict the day's batches: read, sent, predicted, received, and dropped."""
    from benchmarks.wide_factory import find_files_of, find_home, load_version
    from pilotline.tasks.sandbox.environments import built_environment
    from pilotline.tasks.sandbox.launching import Room, scoring_child
    from pilotline.tasks.sandbox.predictions import BATCH_ROWS, output_schema
    from pilotline.tasks.sandbox.walls import probe_isolation
    from pilotline.tasks.score.shards.cuts import deal
    from pilotline.tasks.stats.profiles import ProfileFold

    home, tier = find_home(root), probe_isolation()
    bundle = load_version(home, model)
    files, schema = find_files_of(home, day, bundle.spec.features)
    shards = deal(files.pieces(files.digest()), children)
    outputs = output_schema(bundle.spec.predictions)
    warm, took = threading.Barrier(children), []
    counted = []

    def stream(room: Room, shard: Any) -> None:
        mine, folds = files.pick(shard), (ProfileFold(), ProfileFold())

        def fold(batches: Any, into: ProfileFold) -> Iterator[Any]:
            for batch in batches:
                if profiled:
                    into.add(batch)
                yield batch

        with scoring_child(room, bundle.folder, bundle.artifact) as child:
            small = next(mine.stream(schema, 10))
            list(child.score([small], schema, outputs))  # imports are no part of the rate
            warm.wait()
            began = time.perf_counter()
            batches = fold(mine.stream(schema, BATCH_ROWS), folds[0])
            answers = fold(child.score(batches, schema, outputs), folds[1])
            counted.append(sum(batch.num_rows for batch in answers))
            took.append(time.perf_counter() - began)

    with ExitStack() as stack:
        threads = []
        for shard in shards:
            environment = stack.enter_context(
                built_environment(home.scratch, model, bundle.lock, walled=tier.walled)
            )
            room = Room(home, environment, tier)
            threads.append(threading.Thread(target=stream, args=(room, shard)))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return {"rows": sum(counted), "seconds": max(took)}


def stream_here(root: Path, model: str, day: date) -> dict[str, Any]:
    """Let this very process predict the same batches with the same model."""
    from io import BytesIO

    import joblib

    from benchmarks.by_hand import load_module
    from benchmarks.wide_factory import find_files_of, find_home, load_version
    from pilotline.tasks.sandbox.predictions import BATCH_ROWS

    home = find_home(root)
    bundle = load_version(home, model)
    files, schema = find_files_of(home, day, bundle.spec.features)
    module = load_module(home.lab / "models" / model / "model.py")
    (artifact,) = bundle.artifact.values()
    trained = joblib.load(
        BytesIO(artifact)
    )  # ours, made a minute ago; never do this to a stranger's
    module.predict(trained, next(files.stream(schema, 10)).to_pandas())
    began = time.perf_counter()
    rows = 0
    for batch in files.stream(schema, BATCH_ROWS):
        rows += len(module.predict(trained, batch.to_pandas()))
    return {"rows": rows, "seconds": time.perf_counter() - began}


def script_by_hand(root: Path, model: str, day: date) -> dict[str, Any]:
    """Do what a bare script would: import, read the table, predict, write Parquet."""
    from io import BytesIO

    import joblib
    import pandas as pd
    import pyarrow as pa
    from deltalake import DeltaTable

    from benchmarks.by_hand import load_module

    table = DeltaTable(str(root / "home" / "lake" / "datasets" / "wide" / "accepted"))
    rows = pa.table(table.scan(predicate=f"day = '{day}'")).to_pandas()
    module = load_module(root / "lab" / "models" / model / "model.py")
    trained = joblib.load(BytesIO((root / f"{model}.joblib").read_bytes()))
    out = pd.concat([rows[["day", "id"]], module.predict(trained, rows)], axis=1)
    out.to_parquet(root / "by-hand.parquet")
    return {"rows": len(out)}


WAYS: dict[str, Callable[[Path, str, date], dict[str, Any]]] = {
    "whole": score_whole,
    "child": stream_children,
    "child, profiled": partial(stream_children, profiled=True),
    "two children": partial(stream_children, children=2),
    "two children, profiled": partial(stream_children, children=2, profiled=True),
    "process": stream_here,
    "script": script_by_hand,
}

if __name__ == "__main__":
    main()
