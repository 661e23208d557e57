"""References to versions: a number, an alias, a PEP 440 constraint or ``as-of:DATE``."""

import re
from datetime import UTC, date, datetime, time, timedelta

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from sqlalchemy.orm import Session

from pilotline.registry.form import (
    NoChampionError,
    NoDateError,
    UnknownVersionError,
    VersionUnfitError,
)
from pilotline.registry.gates.resolution import OUT_OF_USE, champion, champion_at
from pilotline.registry.record import (
    CHAMPION,
    ModelVersion,
    get_alias,
    get_model,
    get_version,
    list_versions,
    refuse_tampered,
    reign_at,
    standing_of,
)

NUMBER = re.compile(r"\d+\.\d+\.\d+")


def split_reference(text: str) -> tuple[str, str | None]:
    """Return model name and reference of ``MODEL[@REF]``."""
    name, _, reference = text.partition("@")
    return name, reference or None


def resolve(session: Session, name: str, reference: str) -> ModelVersion:
    """Return the version of ``name`` that ``reference`` means, if it may run; reads only.

    Raises:
        UnknownModelError, UnknownVersionError, NoChampionError: nothing fits.
        VersionUnfitError: it fits, but is revoked, or must not be resolved for production.
    """
    if reference == CHAMPION:
        return champion(session, name)
    if reference.startswith("as-of:"):
        return champion_at(session, name, end_of_day(_parse_day(name, reference)))
    version = look_up(session, name, reference)
    if standing_of(session, version) == "revoked":
        raise VersionUnfitError(name, version.number, "is revoked", "Use another version.")
    return version


def look_up(session: Session, name: str, reference: str) -> ModelVersion:
    """Return the version of ``name`` that ``reference`` means, to look at; reads only.

    Raises:
        UnknownModelError, UnknownVersionError, NoChampionError: nothing fits.
    """
    if NUMBER.fullmatch(reference):
        return get_version(session, name, reference)
    model = get_model(session, name)
    if reference.startswith("as-of:"):
        reign = reign_at(session, name, end_of_day(_parse_day(name, reference)))
        return get_version(session, name, reign.number)
    alias = get_alias(session, model.id, reference)
    if alias is not None:
        version = session.get(ModelVersion, alias.version_id)
        if version is None:
            refuse_tampered(name, reference, "names a version that is not there")
        return version
    if reference == CHAMPION:
        raise NoChampionError(name)
    return _newest_fitting(session, model.id, name, reference)


def _newest_fitting(session: Session, model_id: int, name: str, reference: str) -> ModelVersion:
    versions = list_versions(session, model_id)
    unknown = UnknownVersionError(name, reference, [version.number for version in versions])
    try:
        wanted = SpecifierSet(reference)
    except InvalidSpecifier:
        raise unknown from None
    fitting = [
        version
        for version in versions
        if wanted.contains(version.number) and standing_of(session, version) not in OUT_OF_USE
    ]
    if not fitting:
        raise unknown
    return fitting[-1]


def end_of_day(day: date) -> datetime:
    """Return the first moment after ``day``, in UTC: who is champion then scored that day.

    After the calendar's last day it is its last moment.
    """
    if day == date.max:
        return datetime.max.replace(tzinfo=UTC)
    return datetime.combine(day + timedelta(days=1), time(), UTC)


def _parse_day(name: str, reference: str) -> date:
    try:
        return date.fromisoformat(reference.removeprefix("as-of:"))
    except ValueError as err:
        raise NoDateError(name, reference) from err
