"""Deployment verification in the real environment."""

import json
from dataclasses import asdict

import pytest

from pilotline.registry import Registry
from pilotline.registry.record.verifications import passed_verification
from pilotline.registry.record.versions import set_status
from pilotline.tasks.errors import LabError
from pilotline.tasks.explain.catalogue import show_version
from pilotline.tasks.home import Home
from pilotline.tasks.sandbox.walls import Tier
from pilotline.tasks.score.job import Job
from pilotline.tasks.stats.metrics import Check
from pilotline.tasks.verify.verification import examine, platform, verify_version
from tests.support.tasks.misbehaving import make_bundle, open_room


def test_a_sound_version_passes_golden_set_robustness_and_budgets(
    home: Home, registry: Registry, job: Job, tier: Tier
) -> None:
    found = verify_version(registry, home, tier, job.bundle.version, print)
    assert found.passed, [check for check in found.checks if not check.passed]
    names = [check.name for check in found.checks]
    assert {"determinism", "golden set probability", "throughput", "peak memory"} <= set(names)
    assert {"robustness: no rows", "robustness: extremes of dest"} <= set(names)
    assert found.figures is not None
    assert found.figures.rows_per_s > 100
    assert {case.outcome for case in found.cases} == {"answered"}
    assert (found.isolation, found.platform) == (tier.name, platform())
    with registry.read() as session:
        kept = passed_verification(session, job.bundle.version, platform())
    assert kept is not None
    assert kept.summary == found.summary
    assert kept.summary.startswith(f"{len(names)} checks passed; 0 of {len(found.cases)} robust")
    assert kept.summary.endswith(str(found.figures))
    assert list(home.scratch.iterdir()) == []
    report = json.loads(registry.blobs.get(kept.report_digest))
    assert report["digest"] == job.bundle.version.digest
    assert report["isolation"] == tier.name
    assert report["checks"] == [asdict(check) for check in found.checks]
    assert report["cases"] == [asdict(case) for case in found.cases]
    assert report["figures"] == asdict(found.figures)
    shown = show_version(registry, "flight-delay", "1.0.0")["verification"]
    assert (shown["summary"], shown["report"]) == (found.summary, kept.report_digest)
    assert shown["figures"] == report["figures"]
    assert shown["checks"] == report["checks"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("os._exit(9)", "ended with status 9"),
        ("raise ValueError('no such gate')", "predict raised ValueError: no such gate"),
    ],
)
def test_a_model_that_cannot_answer_its_golden_set_is_asked_no_further(
    fresh: Home, tier: Tier, body: str, said: str
) -> None:
    with open_room(fresh, tier) as room:
        found = examine(room, make_bundle(fresh, body), print)
    assert found.checks == [Check("golden set", False, said)]
    assert (found.cases, found.figures) == ([], None)
    assert found.summarize() == "failed: golden set"


def test_a_version_out_of_use_is_not_verified(
    home: Home, registry: Registry, job: Job, tier: Tier
) -> None:
    with registry.write() as session:
        set_status(session, job.bundle.version, "revoked", {})
    with pytest.raises(
        LabError, match=r"^Version 1\.0\.0 of 'flight-delay': it is revoked\. Verify another"
    ):
        verify_version(registry, home, tier, job.bundle.version, print)
