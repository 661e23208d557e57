"""Registered models: a name, who owns it and what it is for."""

import json
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import String, Text, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from pilotline.registry.form import UnknownModelError, check_name
from pilotline.registry.store import Base, UtcDateTime, now


@dataclass(frozen=True)
class ModelFacts:
    """What a model folder says of the model itself."""

    name: str
    owner: str
    description: str
    tags: tuple[str, ...] = ()


class RegisteredModel(Base):
    """A model's name and who answers for it."""

    __tablename__ = "model"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(63), unique=True)
    owner: Mapped[str] = mapped_column(String(200))
    description: Mapped[str] = mapped_column(Text)
    tags: Mapped[str] = mapped_column(Text)  # JSON list
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)

    def tag_list(self) -> list[str]:
        """Return the tags."""
        tags: list[str] = json.loads(self.tags)
        return tags


def put_model(session: Session, facts: ModelFacts) -> RegisteredModel:
    """Return the model named in ``facts``, added if new, its description brought up to date.

    Flushes, the caller commits.

    Raises:
        NameRefusedError: the name is outside the allowed form.
    """
    check_name(facts.name)
    model = session.scalars(
        select(RegisteredModel).where(RegisteredModel.name == facts.name)
    ).first()
    if model is None:
        model = RegisteredModel(name=facts.name)
        session.add(model)
    model.owner = facts.owner
    model.description = facts.description
    model.tags = json.dumps(list(facts.tags))
    session.flush()
    return model


def get_model(session: Session, name: str) -> RegisteredModel:
    """Return the model called ``name``; reads only.

    Raises:
        UnknownModelError: there is none.
    """
    model = session.scalars(select(RegisteredModel).where(RegisteredModel.name == name)).first()
    if model is None:
        raise UnknownModelError(name, [known.name for known in list_models(session)])
    return model


def list_models(session: Session) -> list[RegisteredModel]:
    """Return every model by name; reads only."""
    return list(session.scalars(select(RegisteredModel).order_by(RegisteredModel.name)))
