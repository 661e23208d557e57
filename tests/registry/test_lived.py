"""A life that is copied leaves the registry where living it would."""

from pathlib import Path

from pilotline.registry import Registry
from pilotline.registry.audit.auditing import audit
from pilotline.registry.record.registration import register
from pilotline.registry.record.versions import get_version, list_versions
from tests.support.registry.lived import relive
from tests.support.registry.world import NAME, World


def register_one(registry: Registry) -> None:
    """Register one version, with bytes."""
    register(registry, World().registration())


def numbers(registry: Registry) -> list[str]:
    with registry.read() as session:
        model_id = get_version(session, NAME, "1.0.0").model_id
        return [version.number for version in list_versions(session, model_id)]


def test_it_goes_on_from_the_end_of_that_life(
    registry: Registry, shared: Path, world: World
) -> None:
    relive(registry, shared, register_one)
    assert numbers(registry) == ["1.0.0"]
    assert register(registry, world.registration("second"))[0].number == "2.0.0"
    assert audit(registry).versions == 2


def test_every_row_of_before_is_replaced(registry: Registry, shared: Path, world: World) -> None:
    register(registry, world.registration("another"))
    relive(registry, shared, register_one)
    with registry.read() as session:
        version = get_version(session, NAME, "1.0.0")
    assert version.training_key == world.registration().training_key
    assert numbers(registry) == ["1.0.0"]
    audit(registry)
