"""Deployment verifications: the last one counts."""

from sqlalchemy.orm import Session

from pilotline.registry.record.events import list_events
from pilotline.registry.record.verifications import last_verification, passed_verification
from tests.support.registry.world import World


def test_a_version_that_was_never_verified_has_not_passed(session: Session, world: World) -> None:
    assert passed_verification(session, world.enter(session)) is None


def test_a_verification_is_kept_beside_its_event(session: Session, world: World) -> None:
    version = world.enter(session)
    assert passed_verification(session, version) is None
    assert world.verify(session, version) is passed_verification(session, version)
    (event,) = list_events(session, version.model_id, "verified")
    assert event.facts() == {
        "version": "1.0.0",
        "digest": version.digest,
        "passed": True,
        "summary": "golden set parity",
        "report": "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
        "platform": "linux x86_64",
        "isolation": "A",
    }


def test_a_later_failure_takes_the_pass_back(session: Session, world: World) -> None:
    version = world.enter(session)
    world.verify(session, version)
    failed = world.verify(session, version, passed=False)
    assert passed_verification(session, version) is None
    assert last_verification(session, version) is failed
    assert world.verify(session, version) is passed_verification(session, version)


def test_each_platform_is_verified_for_itself(session: Session, world: World) -> None:
    version = world.enter(session)
    world.verify(session, version, platform="linux x86_64")
    world.verify(session, version, passed=False, platform="linux aarch64")
    assert passed_verification(session, version, "linux x86_64") is not None
    assert passed_verification(session, version, "linux aarch64") is None
    assert passed_verification(session, version, "macos arm64") is None
