"""References: a number, an alias, a constraint, a day."""

from datetime import UTC, date, datetime

import pytest
from sqlalchemy.orm import Session

from pilotline.registry.form.errors import (
    NoChampionError,
    UnknownModelError,
    UnknownVersionError,
    VersionUnfitError,
)
from pilotline.registry.gates.references import end_of_day, look_up, resolve, split_reference
from pilotline.registry.record.aliases import set_alias, set_challenger
from pilotline.registry.record.versions import ModelVersion, set_status
from tests.support.registry.databases import on_sqlite
from tests.support.registry.world import World


@pytest.fixture
def versions(session: Session, world: World) -> dict[str, ModelVersion]:
    """Return versions 1.0.0, 1.1.0, 1.1.1 and 2.0.0 by number."""
    first = world.enter(session, "first")
    second = world.enter(session, "second", parent=first, part="minor")
    third = world.enter(session, "third", parent=second, part="patch")
    fourth = world.enter(session, "fourth", parent=third, part="major")
    return {version.number: version for version in (first, second, third, fourth)}


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("flight-delay", ("flight-delay", None)),
        ("flight-delay@1.0.0", ("flight-delay", "1.0.0")),
        ("flight-delay@", ("flight-delay", None)),
        ("flight-delay@>=1,<2", ("flight-delay", ">=1,<2")),
    ],
)
def test_a_reference_is_what_follows_the_at_sign(text: str, parts: tuple[str, str | None]) -> None:
    assert split_reference(text) == parts


@on_sqlite
@pytest.mark.parametrize(
    ("reference", "number"),
    [
        ("1.1.0", "1.1.0"),
        ("==1.1.*", "1.1.1"),
        ("~=1.0", "1.1.1"),
        (">=1,<2", "1.1.1"),
        (">=1", "2.0.0"),
        ("!=2.0.0", "1.1.1"),
    ],
)
def test_a_constraint_means_the_highest_version_that_fits(
    session: Session, versions: dict[str, ModelVersion], reference: str, number: str
) -> None:
    # PEP 440: ~=1.0 is >=1.0,==1.*
    assert resolve(session, "flight-delay", reference) is versions[number]


@pytest.mark.parametrize("status", ["rejected", "revoked", "archived"])
def test_a_constraint_passes_over_versions_out_of_use(
    session: Session, versions: dict[str, ModelVersion], status: str
) -> None:
    set_status(session, versions["1.1.1"], status, {})
    assert resolve(session, "flight-delay", "<2").number == "1.1.0"
    assert look_up(session, "flight-delay", "1.1.1").number == "1.1.1"


@pytest.mark.parametrize("reference", ["1.1.1", "canary"])
def test_a_revoked_version_can_be_looked_at_and_not_resolved(
    session: Session, versions: dict[str, ModelVersion], reference: str
) -> None:
    set_alias(session, "canary", versions["1.1.1"])
    set_status(session, versions["1.1.1"], "revoked", {})
    assert look_up(session, "flight-delay", reference) is versions["1.1.1"]
    with pytest.raises(VersionUnfitError, match=r"1\.1\.1 .* is revoked\. Use another version\."):
        resolve(session, "flight-delay", reference)


@pytest.mark.parametrize("reference", ["champion", "as-of"])
def test_a_revoked_champion_can_be_looked_at_and_not_resolved(
    session: Session, versions: dict[str, ModelVersion], world: World, reference: str
) -> None:
    reign = world.release(session, versions["1.0.0"])
    if reference == "as-of":
        reference = f"as-of:{reign.effective_from.date().isoformat()}"
    set_status(session, versions["1.0.0"], "revoked", {})
    assert look_up(session, "flight-delay", reference) is versions["1.0.0"]
    with pytest.raises(VersionUnfitError, match="is revoked"):
        resolve(session, "flight-delay", reference)


def test_an_alias_means_where_it_points(
    session: Session, versions: dict[str, ModelVersion]
) -> None:
    set_challenger(session, versions["1.1.0"], "retrained")
    assert resolve(session, "flight-delay", "challenger") is versions["1.1.0"]


def test_champion_means_the_promoted_version(
    session: Session, versions: dict[str, ModelVersion], world: World
) -> None:
    with pytest.raises(NoChampionError):
        resolve(session, "flight-delay", "champion")
    world.release(session, versions["1.0.0"])
    assert resolve(session, "flight-delay", "champion") is versions["1.0.0"]


def test_as_of_means_the_champion_at_the_end_of_that_day(
    session: Session, versions: dict[str, ModelVersion], world: World
) -> None:
    reign = world.release(session, versions["1.0.0"])
    today = reign.effective_from.date().isoformat()
    assert resolve(session, "flight-delay", f"as-of:{today}") is versions["1.0.0"]
    with pytest.raises(NoChampionError, match="had no champion on 2013-01-02T00:00"):
        resolve(session, "flight-delay", "as-of:2013-01-01")


def test_a_day_ends_at_midnight_utc() -> None:
    assert end_of_day(date(2012, 12, 31)) == datetime(2013, 1, 1, tzinfo=UTC)


def test_the_calendar_s_last_day_ends_with_the_calendar() -> None:
    assert end_of_day(date(9999, 12, 31)) == datetime.max.replace(tzinfo=UTC)


@on_sqlite
@pytest.mark.parametrize("reference", ["9.9.9", ">=3", "canary", "as-of:yesterday", "1.0"])
def test_a_reference_that_fits_nothing_is_named(
    session: Session, versions: dict[str, ModelVersion], reference: str
) -> None:
    with pytest.raises(UnknownVersionError, match=f"No version '{reference}' of model"):
        resolve(session, "flight-delay", reference)


@on_sqlite
@pytest.mark.parametrize("reference", ["1.0.0", "champion", ">=1", "canary", "as-of:2013-01-01"])
def test_a_reference_to_an_unknown_model_names_the_model(session: Session, reference: str) -> None:
    with pytest.raises(UnknownModelError):
        resolve(session, "flight-delay", reference)
