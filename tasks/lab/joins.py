"""What model.toml says of further inputs: joined by which columns, and from which days."""

from collections.abc import Sequence
from dataclasses import dataclass

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from pilotline.registry.consumers import is_contact
from pilotline.registry.form import NameRefusedError, check_name
from pilotline.tasks.errors import LabError
from pilotline.tasks.lab.toml_table import Table

PREDICTIONS = "predictions/"  # before a model's name: what readers of its production see
LONGEST = 63  # characters that the record's columns hold
LAG_DAYS = 1  # the same day is read only where somebody says so
LONGEST_DAYS = 3_660  # ten years; all of a window is held in memory
ANY_VERSION = ">=0"


@dataclass(frozen=True)
class Join:
    """One further input."""

    input: str  # a dataset, or predictions/MODEL
    on: tuple[str, ...]  # columns of both
    lag_days: int  # a row of day D may read days up to D - lag_days
    max_age_days: int  # and so many days before that
    columns: tuple[str, ...]  # of the input, that are features
    needs: str = ""  # of predictions: which versions they may be by
    contact: str = ""  # of predictions: who is told when they are taken back

    @property
    def model(self) -> str:
        """The model whose predictions they are; empty for a dataset."""
        return model_of(self.input)


def model_of(name: str) -> str:
    """Return the model whose predictions the input ``name`` is, nothing for a dataset."""
    return name.removeprefix(PREDICTIONS) if name.startswith(PREDICTIONS) else ""


def short_name(name: str) -> str:
    """Return what stands before the dot in names of features of the input ``name``."""
    return model_of(name) or name


def read_joins(data: Table, features: Sequence[str], model: str, owner: str) -> tuple[Join, ...]:
    """Return how the inputs after the first are joined.

    Args:
        data: the table ``[data]``.
        features: of the model.
        model: its name.
        owner: whom to tell of predictions it reads, where no contact is given.

    Raises:
        LabError: an input is no dataset and no predictions, or its rule says something impossible.
    """
    inputs = data.names("inputs")
    if not inputs:
        raise LabError(
            data.where, "inputs are empty", 'Name the main dataset: inputs = ["flights"].'
        )
    if inputs[0].startswith(PREDICTIONS):
        raise LabError(
            data.where,
            f"the first input is {inputs[0]!r}",
            "The first defines rows, key and date: name a dataset.",
        )
    rules = data.table("join", needed=False)
    rules.only(*inputs[1:])
    _check_names(data.where, inputs, model)
    joins = tuple(
        _read_join(rules.table(name), name, _columns_of(data.where, name, features), owner)
        for name in inputs[1:]
    )
    for join in joins:
        if join.input == data.get("actuals", str) and join.lag_days == 0:
            raise LabError(
                f"{rules.where} [{join.input}]",
                "lag_days is 0 for the dataset that brings the truth",
                "A row would know its own outcome: expected at least 1.",
            )
    return joins


def _check_names(where: str, inputs: Sequence[str], model: str) -> None:
    short = [short_name(name) for name in inputs]
    for name in inputs:
        try:
            check_name(short_name(name))
        except NameRefusedError as err:
            raise LabError(
                where, f"input {name!r} is no name", "Name datasets, or predictions/MODEL."
            ) from err
        if len(name) > LONGEST:
            raise LabError(where, f"input {name!r} is too long", f"At most {LONGEST} characters.")
    if len(set(short)) < len(short):
        raise LabError(
            where, f"inputs are {list(inputs)}", "Each once, and none called like another."
        )
    if PREDICTIONS + model in inputs:
        raise LabError(where, f"{model!r} reads itself", "Read another model's predictions.")


def _columns_of(where: str, name: str, features: Sequence[str]) -> tuple[str, ...]:
    prefix = f"{short_name(name)}."
    columns = tuple(one.removeprefix(prefix) for one in features if one.startswith(prefix))
    if not columns:
        raise LabError(
            where, f"no feature is of {name!r}", f"Name one, {prefix}COLUMN, or drop the input."
        )
    return columns


def _read_join(table: Table, name: str, columns: tuple[str, ...], owner: str) -> Join:
    of_model = ("needs", "contact") if model_of(name) else ()
    table.only("on", "lag_days", "max_age_days", *of_model)
    on = table.names("on")
    if not on or len(set(on)) < len(on):
        raise LabError(table.where, f"on is {list(on)}", "Name columns that both have, each once.")
    lag_days, max_age_days = table.get("lag_days", int, LAG_DAYS), table.get("max_age_days", int)
    for key, value in (("lag_days", lag_days), ("max_age_days", max_age_days)):
        if not 0 <= value <= LONGEST_DAYS:
            expected = f"Expected 0 to {LONGEST_DAYS}; no row reads days to come."
            raise LabError(table.where, f"{key} is {value}", expected)
    needs, contact = _consumer(table, owner) if of_model else ("", "")
    return Join(name, on, lag_days, max_age_days, columns, needs, contact)


def _consumer(table: Table, owner: str) -> tuple[str, str]:
    needs, contact = table.get("needs", str, ANY_VERSION), table.get("contact", str, owner)
    try:
        SpecifierSet(needs)
    except InvalidSpecifier as err:
        raise LabError(
            table.where, f"needs is {needs!r}", "Write such as '~=1.2' or '>=1,<3'."
        ) from err
    if not is_contact(contact):
        raise LabError(
            table.where,
            f"nobody can be told at {contact!r} when these predictions are taken back",
            'Write contact = "name@example.org", "json://HOST/PATH" or "env:NAME".',
        )
    return needs, contact
