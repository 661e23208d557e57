"""What works on this machine, found out by trying it."""

import os
import platform
import shutil
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from pilotline.tasks.home import Home
from pilotline.tasks.lab import factory_policy
from pilotline.tasks.s3_folder import Folder

FREE_GIB = 2.0  # environments of a model and a lake of a few million rows


@dataclass(frozen=True)
class Finding:
    """One thing that was tried."""

    what: str
    works: bool
    needed: bool
    detail: str


def examine(home: Home) -> list[Finding]:
    """Try everything and return what was found, each trouble once."""
    findings = [
        _try(what, needed, probe, home)
        for what, needed, probe in (
            ("Python", True, _python),
            ("home", True, _home),
            ("lab", True, _lab),
            ("registry", True, _registry),
            ("blobs", True, _blobs),
            ("lake", True, _lake),
            ("champions", True, _champions),
            ("policy", True, _policy),
            ("isolation", True, _isolation),
            ("environments", True, _environments),
            ("Prefect server", False, _server),
            ("disk", False, _disk),
        )
    ]
    return tell_once(findings)


def _try(what: str, needed: bool, probe: Callable[[Home], str], home: Home) -> Finding:
    try:
        return Finding(what, True, needed, probe(home))
    except Exception as err:  # a doctor reports whatever ails
        return Finding(what, False, needed, str(err).splitlines()[0])


def tell_once(findings: list[Finding]) -> list[Finding]:
    """Return the findings with each trouble told where it was first found."""
    told: dict[str, str] = {}
    for finding in findings:
        if not finding.works:
            told.setdefault(finding.detail, finding.what)
    return [
        replace(finding, detail=f"not tried: {told[finding.detail]} does not work")
        if told.get(finding.detail, finding.what) != finding.what
        else finding
        for finding in findings
    ]


def _python(home: Home) -> str:
    return f"{platform.python_implementation()} {platform.python_version()}"


def _home(home: Home) -> str:
    home.make()
    return str(home.root)


def _lab(home: Home) -> str:
    from pilotline.tasks.lab import list_datasets, list_model_folders

    home.require_lab()
    models, datasets = list_model_folders(home.lab), list_datasets(home.lab)
    return f"{home.lab}: {len(models)} models, {len(datasets)} datasets"


def _registry(home: Home) -> str:
    with home.open_registry() as registry:
        backend = registry.engine.dialect.name
        version = f" {sqlite3.sqlite_version}" if backend == "sqlite" else ""
        return f"{backend}{version}, schema up to date"


def _blobs(home: Home) -> str:
    with home.open_registry() as registry:
        registry.blobs.check()
        registry.blobs.get(registry.blobs.put(b"pilotline doctor\n"))
    return f"written and read back in {home.blobs}"


def _lake(home: Home) -> str:
    import pyarrow as pa

    from pilotline.tasks import lake

    with _probe_folder(home.lake) as path:
        rows = pa.table({"day": pa.array([0], pa.date32()), "x": [1.0]})
        table = lake.ensure_table(path, rows.schema, ["day"])
        lake.replace_partition(table, rows, "day = '1970-01-01'", {})
        count = lake.read(lake.open_table(path), rows.schema, None).num_rows
    return f"{count} row committed and read back in {home.lake}"


@contextmanager
def _probe_folder(lake: Folder) -> Iterator[Folder]:
    """Give a folder in the lake that is gone afterwards."""
    if isinstance(lake, Path):
        lake.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=lake, prefix=".doctor-") as folder:
            yield Path(folder) / "probe"
        return
    probe = lake / f".doctor-{uuid.uuid4().hex}"
    try:
        yield probe
    finally:
        probe.remove(*probe.list_files())


def _champions(home: Home) -> str:
    from pilotline.registry.record import CHAMPION, first_broken_event, get_alias, list_models
    from pilotline.tasks.lab import load_champion

    with home.open_registry() as registry:
        with registry.read() as session:
            models = list_models(session)
            for model in models:
                broken = first_broken_event(session, model.id)
                if broken is not None:
                    raise ValueError(f"event {broken} of {model.name} does not fit its chain")
            reigning = [m.name for m in models if get_alias(session, m.id, CHAMPION)]
        checked = [f"{name} {load_champion(registry, name).version.number}" for name in reigning]
    return f"every byte hashed again: {', '.join(checked) or 'none yet'}; chains fit"


def _policy(home: Home) -> str:
    policy = factory_policy(home)
    asked = f"identity {policy.identity}, isolation at least {policy.minimum_isolation}"
    return f"{home.policy_path}: {asked}"


def _isolation(home: Home) -> str:
    from pilotline.tasks.sandbox import NO_BOUNDARY, require_isolation

    tier = require_isolation(factory_policy(home).minimum_isolation)
    remark = f"; {NO_BOUNDARY}" if tier.name == "C" else ""
    return f"tier {tier.name}: {tier.why}{remark}"


def _environments(home: Home) -> str:
    from pilotline.tasks.lab import list_model_folders, load_model_folder
    from pilotline.tasks.sandbox import built_environment

    names = list_model_folders(home.lab)
    if not names:
        return "no model in the lab to try"
    lock = load_model_folder(home.lab, names[0]).files["requirements.lock"]
    with built_environment(home.scratch, names[0], lock) as environment:
        warm = "with downloads" if environment.origin == "index" else f"from {environment.origin}"
        return f"{names[0]} built {warm} in {environment.build_s:.2f} s"


def _server(home: Home) -> str:
    from pilotline.flows.server.choice import PrefectServer

    with PrefectServer(home) as server:
        server.wait()
        return "a temporary one starts" if server.temporary else f"{server.url} answers"


def _disk(home: Home) -> str:
    free = shutil.disk_usage(home.root).free / 2**30
    if free < FREE_GIB:
        raise OSError(f"{free:.1f} GiB free, {FREE_GIB:g} GiB wanted")
    return f"{free:.1f} GiB free, {os.cpu_count()} processors"
