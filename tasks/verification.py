"""Deployment verification: golden set parity, robustness suite and budgets, in the real place."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from registry import Registry
from registry.canonical import canonical_json
from registry.verifications import Verification, record_verification
from registry.versions import ModelVersion, status_of
from tasks.bundle import Bundle, load_bundle
from tasks.datasets import Column, arrow_schema
from tasks.environments import built_environment, interpreter, machine
from tasks.errors import ChildError, LabError
from tasks.evaluation import Check
from tasks.home import Home
from tasks.predictions import BATCH_ROWS, output_schema, refuse_not_finite
from tasks.process import Room, scoring_child
from tasks.runner import Child
from tasks.sandbox import Tier
from tasks.wheelhouse import Wheelhouse

TOLERANCE = 1e-9  # between golden and fresh predictions; the same build gives the same bits
BUDGET_BATCHES = 4  # full batches timed after a first one that warms up
HUGE_TEXT = "x" * 100_000
EXTREMES = {
    "int64": (0, -1, 2**31, -(2**31), 2**53, -(2**53)),
    "float64": (0.0, -0.0, 1e-300, -1e300, 1e300, -1.0),
    "string": ("", " ", HUGE_TEXT, "\u0000", "naïve ☃ \U0001f600", "'; drop table x --"),
    "bool": (True, False),
}


@dataclass(frozen=True)
class Verified:
    """What verification found."""

    number: str
    passed: bool
    summary: str
    checks: list[Check]
    isolation: str
    platform: str


def verify_version(
    registry: Registry, home: Home, tier: Tier, version: ModelVersion, say: Callable[[str], None]
) -> Verified:
    """Verify ``version`` in its own environment and record the outcome.

    Raises:
        EnvironmentBuildError: its environment cannot be built any more.
    """
    bundle = load_bundle(registry, version)
    _check_platform(registry, bundle)
    checks: list[Check] = []
    wheelhouse = Wheelhouse(registry, home.scratch)
    with built_environment(
        home.scratch, bundle.spec.name, bundle.lock, walled=tier.walled, wheelhouse=wheelhouse
    ) as environment:
        room = Room(home, environment, tier)
        for title, step in (
            ("golden set", _check_golden),
            ("robustness", _check_robustness),
            ("budgets", _check_budgets),
        ):
            say(f"verifying {bundle.spec.name} {version.number}: {title}")
            try:
                with scoring_child(room, bundle.folder, bundle.artifact) as child:
                    checks += step(bundle, child)
            except ChildError as err:
                checks.append(Check(title, False, err.problem))
    failed = [check.name for check in checks if not check.passed]
    summary = f"{len(checks)} checks passed" if not failed else f"failed: {', '.join(failed)}"
    report = {
        "version": version.number,
        "digest": version.digest,
        "interpreter": interpreter(),
        "checks": [asdict(check) for check in checks],
    }
    with registry.write() as session:
        record_verification(
            session,
            version,
            Verification(
                passed=not failed,
                summary=summary,
                report_digest=registry.blobs.put(canonical_json(report)),
                platform=platform(),
                isolation=tier.name,
            ),
        )
    return Verified(version.number, not failed, summary, checks, tier.name, platform())


def platform() -> str:
    """Return what a verification holds for: interpreter, system and processor."""
    return f"{interpreter()} {machine()}"


def _check_platform(registry: Registry, bundle: Bundle) -> None:
    with registry.read() as session:
        status = status_of(session, bundle.version)
    where = f"Version {bundle.version.number} of {bundle.spec.name!r}"
    if status in ("revoked", "archived"):
        raise LabError(where, f"it is {status}", "Verify another version.")
    if bundle.manifest.interpreter != interpreter():
        raise LabError(
            where,
            f"it needs {bundle.manifest.interpreter}, this is {interpreter()}",
            "Run pilotline with that Python.",
        )


def _check_golden(bundle: Bundle, child: Child) -> list[Check]:
    with pa.ipc.open_stream(bundle.files["golden.arrow"]) as reader:
        golden = reader.read_all()
    outputs = output_schema(bundle.spec.predictions)
    features = golden.select(list(bundle.spec.features))
    first = _score(child, features, outputs)
    again = _score(child, features, outputs)
    checks = [
        Check("determinism", first.equals(again), "the golden set twice, bit by bit"),
    ]
    for name in outputs.names:
        expected, found = golden[f"predicted:{name}"], first[name]
        if pa.types.is_floating(expected.type):
            gap = float(np.max(np.abs(expected.to_numpy() - found.to_numpy())))
            detail = f"{golden.num_rows} rows, largest difference {gap:.1e}, at most {TOLERANCE:g}"
            checks.append(Check(f"golden set {name}", gap <= TOLERANCE, detail))
        else:
            same = bool(expected.equals(found))
            checks.append(Check(f"golden set {name}", same, f"{golden.num_rows} rows, equal"))
    return checks


def _check_robustness(bundle: Bundle, child: Child) -> list[Check]:
    """Feed what the contract allows and training did not show; every row wants an answer."""
    contract = bundle.json("contract.json")["inputs"]
    columns = {name: Column(**facts) for name, facts in contract.items()}
    with pa.ipc.open_stream(bundle.files["golden.arrow"]) as reader:
        golden = reader.read_all().select(list(columns))
    outputs = output_schema(bundle.spec.predictions)
    checks = []
    for name, rows in _robustness_cases(golden, columns).items():
        try:
            out = _score(child, rows, outputs)
            refuse_not_finite(bundle.spec.name, out)
            detail = f"{rows.num_rows} rows answered"
            checks.append(Check(f"robustness: {name}", True, detail))
        except ChildError as err:
            checks.append(Check(f"robustness: {name}", False, err.problem))
    return checks


def _robustness_cases(golden: pa.Table, columns: dict[str, Column]) -> dict[str, pa.Table]:
    schema = arrow_schema(columns)
    golden = golden.cast(schema)
    cases = {
        "no rows": golden.slice(0, 0),
        "one row": golden.slice(0, 1),
        "columns in another order": golden.select(list(reversed(golden.column_names))),
    }
    for name, column in columns.items():
        extremes = EXTREMES.get(column.type)
        if extremes:
            rows = golden.take(pa.array([0] * len(extremes)))
            cases[f"extremes of {name}"] = _with(rows, name, pa.array(extremes, _type(rows, name)))
        if column.nullable:
            cases[f"missing {name}"] = _with(
                golden, name, pa.nulls(golden.num_rows, _type(golden, name))
            )
    return cases


def _check_budgets(bundle: Bundle, child: Child) -> list[Check]:
    with pa.ipc.open_stream(bundle.files["golden.arrow"]) as reader:
        golden = reader.read_all().select(list(bundle.spec.features))
    repeats = pa.array(np.arange(BATCH_ROWS) % golden.num_rows)
    batch = golden.take(repeats)
    outputs = output_schema(bundle.spec.predictions)
    _score(child, batch, outputs)
    seconds = []
    for _ in range(BUDGET_BATCHES):
        started = time.perf_counter()
        _score(child, batch, outputs)
        seconds.append(time.perf_counter() - started)
    budget = bundle.spec.budget
    rate = BATCH_ROWS * len(seconds) / sum(seconds)
    p50, p95 = np.quantile(seconds, [0.5, 0.95])
    latency = f"p50 {p50 * 1000:.0f} ms, p95 {p95 * 1000:.0f} ms for {BATCH_ROWS:,} rows"
    peak = child.usage.peak_mib
    return [
        Check(
            "throughput",
            rate >= budget.rows_per_s,
            f"{rate:,.0f} rows/s, at least {budget.rows_per_s:,.0f}; {latency}",
        ),
        Check(
            "peak memory",
            0 < peak <= budget.memory_mib,
            f"{peak:.0f} MiB, at most {budget.memory_mib} MiB",
        ),
    ]


def _score(child: Child, rows: pa.Table, outputs: pa.Schema) -> pa.Table:
    batches = rows.combine_chunks().to_batches(max_chunksize=BATCH_ROWS)
    predicted = list(child.score(batches, rows.schema, outputs))
    return pa.Table.from_batches(predicted, outputs)


def _with(rows: pa.Table, name: str, values: Any) -> pa.Table:
    return rows.set_column(rows.column_names.index(name), rows.schema.field(name), values)


def _type(rows: pa.Table, name: str) -> pa.DataType:
    return rows.schema.field(name).type
