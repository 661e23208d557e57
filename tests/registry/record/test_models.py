"""Registered models."""

import pytest
from sqlalchemy.orm import Session

from pilotline.registry.form.errors import NameRefusedError, UnknownModelError
from pilotline.registry.record.models import ModelFacts, get_model, list_models, put_model
from tests.support.registry.databases import on_sqlite


def test_a_model_is_added_once_and_brought_up_to_date(session: Session) -> None:
    first = put_model(session, ModelFacts("flight-delay", "operations", "Late?", ("example",)))
    again = put_model(session, ModelFacts("flight-delay", "planning", "Very late?", ()))
    assert again.id == first.id
    assert (again.owner, again.description, again.tag_list()) == ("planning", "Very late?", [])


def test_models_are_listed_by_name(session: Session) -> None:
    for name in ("seat-demand", "flight-delay"):
        put_model(session, ModelFacts(name, "operations", "", ("example",)))
    assert [model.name for model in list_models(session)] == ["flight-delay", "seat-demand"]
    assert get_model(session, "seat-demand").tag_list() == ["example"]


@on_sqlite
def test_a_refused_name_adds_nothing(session: Session) -> None:
    with pytest.raises(NameRefusedError):
        put_model(session, ModelFacts("Flight Delay", "operations", ""))
    assert list_models(session) == []


def test_an_unknown_model_is_told_the_known_ones(session: Session) -> None:
    put_model(session, ModelFacts("flight-delay", "operations", ""))
    with pytest.raises(UnknownModelError) as unknown:
        get_model(session, "flight-delays")
    assert str(unknown.value) == (
        "No model 'flight-delays' is registered; known: flight-delay. "
        "Train one with 'pilotline train flight-delays', or list them with 'pilotline models'."
    )


def test_an_unknown_model_of_an_empty_registry_says_so(session: Session) -> None:
    with pytest.raises(UnknownModelError, match="known: none yet"):
        get_model(session, "flight-delay")
