"""What tests of several folders share."""

import os

import pytest

from tasks.sandbox import Tier, probe_isolation


@pytest.fixture(scope="session")
def bubblewrap() -> Tier:
    """Return tier A; skip where bubblewrap does not work, fail where CI promised it."""
    tier = probe_isolation()
    if tier.name != "A":
        if os.environ.get("PILOTLINE_CI"):
            pytest.fail(f"PILOTLINE_CI is set, but {tier.why}.")
        pytest.skip(tier.why)
    return tier
