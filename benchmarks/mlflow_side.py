"""MLflow's half of the registry's benchmark; runs in an environment that has MLflow.

It fills a SQLite store in the folder it is given, then answers each line on standard input, such
as ``resolve 50``, with a JSON list of the seconds each of that many calls took.
"""

import json
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from sqlalchemy import MetaData, create_engine

AT_MS = 1_750_000_000_000  # any moment; MLflow counts in milliseconds


def main() -> None:
    """Fill the store, tell MLflow's version, then measure what is asked for."""
    folder, models, versions = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    words = sys.argv[4].split(",")
    url = f"sqlite:///{folder / 'mlflow.db'}"
    client = MlflowClient(tracking_uri=url, registry_uri=url)
    experiment = client.create_experiment("bench", artifact_location=str(folder / "artifacts"))
    client.search_registered_models()  # makes the tables
    names = [f"{words[n % len(words)]}-{n:05}" for n in range(models)]
    fill(url, names, versions)
    calls = {
        "resolve": resolving(client, names),
        "search": searching(client, words),
        "register": registering(client, names, experiment, folder),
    }
    print(json.dumps(mlflow.__version__), flush=True)
    for line in sys.stdin:
        what, times = line.split()
        seconds = [next(calls[what]) for _ in range(int(times))]
        print(json.dumps(seconds), flush=True)


def fill(url: str, names: list[str], versions: int) -> None:
    """Insert models, versions and a champion of each into MLflow's own tables."""
    engine, tables = create_engine(url), MetaData()
    tables.reflect(engine)
    model = {"creation_time": AT_MS, "last_updated_time": AT_MS, "workspace": "default"}
    version = {**model, "current_stage": "None", "status": "READY"}
    version |= {"source": "file:///nowhere", "storage_location": "file:///nowhere"}
    alias = {"alias": "champion", "version": versions, "workspace": "default"}
    numbers = range(1, versions + 1)
    rows = {
        "registered_models": [{**model, "name": n, "description": "A model."} for n in names],
        "model_versions": [{**version, "name": n, "version": v} for n in names for v in numbers],
        "registered_model_aliases": [{**alias, "name": n} for n in names],
    }
    with engine.begin() as connection:
        for table, of_table in rows.items():
            connection.execute(tables.tables[table].insert(), of_table)
    engine.dispose()


def resolving(client: MlflowClient, names: list[str]) -> Iterator[float]:
    """Give the seconds of one resolution after the other."""
    pick = random.Random(0)
    while True:
        name = pick.choice(names)
        yield timed(partial(client.get_model_version_by_alias, name, "champion"))


def searching(client: MlflowClient, words: list[str]) -> Iterator[float]:
    """Give the seconds of one search after the other, for a part of the name."""
    for n in count():
        wish = f"name LIKE '%{words[n % len(words)]}%'"
        search = client.search_registered_models
        yield timed(partial(search, filter_string=wish, max_results=20))


def registering(
    client: MlflowClient, names: list[str], experiment: str, folder: Path
) -> Iterator[float]:
    """Give the seconds of logging 20 files and making a version of them, again and again."""
    files = folder / "files"
    files.mkdir()
    for n in count():
        for number in range(20):
            (files / f"file-{number}").write_bytes(os.urandom(2000))

        def register(name: str = names[n % len(names)]) -> None:
            run = client.create_run(experiment)
            client.log_artifacts(run.info.run_id, str(files))
            client.create_model_version(name, run.info.artifact_uri, run.info.run_id)

        yield timed(register)


def timed(call: Callable[[], object]) -> float:
    """Return the seconds a call takes."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
