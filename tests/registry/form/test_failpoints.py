"""A process killed anywhere within a promotion leaves all of it or nothing."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import select

from pilotline.registry import Registry
from pilotline.registry.consumers.consumers import NewConsumer, add_consumer
from pilotline.registry.consumers.outbox import list_messages
from pilotline.registry.form.failpoints import NAMES, VARIABLE
from pilotline.registry.gates.approvals import ApprovalUse
from pilotline.registry.gates.resolution import champion
from pilotline.registry.record.events import first_broken_event, list_events
from pilotline.registry.record.history import reigns
from pilotline.registry.record.models import get_model
from tests.support.places import ROOT
from tests.support.registry.world import World

PROMOTE = """
import sys
from pilotline.registry import Registry
from pilotline.registry.form.failpoints import reach
from pilotline.registry.gates.policy import Policy
from pilotline.registry.gates.promotions import promote

url, blobs = sys.argv[1:3]
policy = Policy(
    approvers={
        "review": ("reviewer@example.org", "operations@example.org", "author@example.org"),
        "go-live": ("operations@example.org", "reviewer@example.org"),
    },
    identity="claimed",
    distinct_approvers=True,
    expires_days=14,
    minimum_isolation="A",
)
with Registry(url, blobs) as registry:
    with registry.write() as session:
        promote(session, "flight-delay", "2.0.0", policy, "linux x86_64")
    reach("promote: committed")
"""


def run_promotion(database: str, folder: Path, failpoint: str = "") -> int:
    return subprocess.run(
        [sys.executable, "-c", PROMOTE, database, str(folder)],
        cwd=ROOT,
        env=os.environ | {VARIABLE: failpoint},
        timeout=120,
    ).returncode


@pytest.mark.parametrize("name", ["", *(name for name in NAMES if name.startswith("promote: "))])
def test_a_promotion_killed_anywhere_and_run_again_is_as_one_undisturbed(
    registry: Registry, database: str, tmp_path: Path, world: World, name: str
) -> None:
    with registry.write() as session:
        first, second = world.enter(session, "first"), world.enter(session, "second")
        world.release(session, first)
        add_consumer(session, "flight-delay", NewConsumer("crew", "crew@example.org"))
        world.approve(session, second)
    if name:
        assert run_promotion(database, tmp_path, name) == -signal.SIGKILL
        with registry.read() as session:
            done = name == "promote: committed"
            assert champion(session, "flight-delay").number == ("2.0.0" if done else "1.0.0")
            assert len(reigns(session, "flight-delay")) == 1 + done
    assert run_promotion(database, tmp_path) == 0
    with registry.read() as session:  # the same whether it was killed or not
        assert champion(session, "flight-delay").number == "2.0.0"
        history = [(reign.number, reign.previous) for reign in reigns(session, "flight-delay")]
        assert history == [("1.0.0", None), ("2.0.0", "1.0.0")]
        assert len(session.scalars(select(ApprovalUse)).all()) == 4
        assert [m.title for m in list_messages(session)] == ["flight-delay 2.0.0 is champion"]
        model_id = get_model(session, "flight-delay").id
        assert [event.kind for event in list_events(session, model_id)] == [
            "registered",
            "registered",
            "approved",
            "verified",
            "go-live approved",
            "promoted",
            "consumer added",
            "approved",
            "verified",
            "go-live approved",
            "promoted",
        ]
        assert first_broken_event(session, model_id) is None
