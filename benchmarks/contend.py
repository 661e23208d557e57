"""One of several processes that register and promote in the same registry at the same time."""

import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from benchmarks.registry_fill import PLATFORM, POLICY
from pilotline.registry import Registry
from pilotline.registry.form.canonical import digest_bytes
from pilotline.registry.gates.approvals import Decision, decide
from pilotline.registry.gates.policy import GATES
from pilotline.registry.gates.promotions import promote
from pilotline.registry.record.models import ModelFacts
from pilotline.registry.record.registration import Judged, Registration, register
from pilotline.registry.record.verifications import Verification, record_verification
from pilotline.registry.record.versions import Learned, get_version

MODELS = ("churn", "delay", "price", "risk")  # fewer than processes: they meet in each


@dataclass(frozen=True)
class Worked:
    """What one process did."""

    registered: int
    promoted: int
    error: str  # empty: none


def contend(url: str, blobs: Path, worker: int, seconds: float) -> Worked:
    """Register and promote versions until the time is over or the first error."""
    registered = promoted = 0
    until = time.monotonic() + seconds
    try:
        with Registry(url, blobs) as registry:
            while time.monotonic() < until:
                name = MODELS[(worker + registered) % len(MODELS)]
                contents = {"model.py": f"# {worker} {registered}".encode()}
                version, new = register(registry, make_registration(name, contents))
                registered += new
                release(registry, name, version.number)
                promoted += 1
    except Exception as err:  # whatever it is, it is what the benchmark asks for
        return Worked(registered, promoted, f"{type(err).__name__}: {err}")
    return Worked(registered, promoted, "")


def make_registration(name: str, contents: dict[str, bytes]) -> Registration:
    """Return a version of ``name`` that consists of the files in ``contents``."""
    column = {"type": "float64", "nullable": False}
    return Registration(
        facts=ModelFacts(name, "operations", "Made by the benchmark.", ("bench",)),
        author="author",
        contents={path: ("data", data) for path, data in contents.items()},
        contract={"dataset": "flights", "inputs": {"hour": column}, "outputs": {"late": column}},
        interpreter="cpython 3.11",
        platform=PLATFORM,
        training_key=digest_bytes(b"".join(contents.values())),
        learned=(Learned("flights", date(2025, 12, 1), "train", "d" * 64, 3),),
        judged=Judged({"roc_auc": 0.75}, date(2025, 12, 2), date(2025, 12, 3), 842),
        notes="Learned another day.",
        parent=None,
    )


def release(registry: Registry, name: str, number: str) -> None:
    """Approve at both gates, verify and promote, in one transaction."""
    report = registry.blobs.put(b"{}")
    with registry.write() as session:
        version = get_version(session, name, number)
        for gate in GATES:
            said = Decision(gate, "approve", POLICY.approvers[gate][0], "read the evidence")
            decide(session, name, number, said, POLICY)
            if gate == "review":
                passed = Verification(
                    passed=True,
                    summary="parity",
                    report_digest=report,
                    platform=PLATFORM,
                    isolation="A",
                )
                record_verification(session, version, passed)
        promote(session, name, number, POLICY, PLATFORM)
