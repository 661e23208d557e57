"""Deployment verification in the real environment."""

import pytest

from registry import Registry
from registry.verifications import passed_verification
from registry.versions import set_status
from tasks.errors import LabError
from tasks.home import Home
from tasks.job import Job
from tasks.sandbox import Tier
from tasks.verification import platform, verify_version


def test_a_sound_version_passes_golden_set_robustness_and_budgets(
    home: Home, registry: Registry, job: Job, tier: Tier
) -> None:
    found = verify_version(registry, home, tier, job.bundle.version, print)
    assert found.passed, [check for check in found.checks if not check.passed]
    names = [check.name for check in found.checks]
    assert {"determinism", "golden set probability", "throughput", "peak memory"} <= set(names)
    assert {"robustness: no rows", "robustness: extremes of dest"} <= set(names)
    assert (found.isolation, found.platform) == (tier.name, platform())
    with registry.read() as session:
        kept = passed_verification(session, job.bundle.version, platform())
    assert kept is not None
    assert kept.summary == f"{len(names)} checks passed"
    assert list(home.scratch.iterdir()) == []


def test_a_version_out_of_use_is_not_verified(
    home: Home, registry: Registry, job: Job, tier: Tier
) -> None:
    with registry.write() as session:
        set_status(session, job.bundle.version, "revoked", {})
    with pytest.raises(
        LabError, match=r"^Version 1\.0\.0 of 'flight-delay': it is revoked\. Verify another"
    ):
        verify_version(registry, home, tier, job.bundle.version, print)
