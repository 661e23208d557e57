"""Reading TOML strictly."""

from pathlib import Path

import pytest

from pilotline.tasks.errors import LabError
from pilotline.tasks.lab.toml_table import Table, read_toml


def test_values_come_back_in_their_types(tmp_path: Path) -> None:
    path = tmp_path / "model.toml"
    path.write_text('[model]\nname = "churn"\ndays = 7\nshare = 1\ntags = ["a", "b"]\n')
    table = read_toml(path, "model.toml").only("model").table("model")
    assert table.get("name", str) == "churn"
    assert table.get("days", int) == 7
    assert table.get("share", float) == 1.0
    assert table.names("tags") == ("a", "b")
    assert table.where == "model.toml [model]"


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"^model\.toml: the file is missing\. Add it"):
        read_toml(tmp_path / "model.toml", "model.toml")


@pytest.mark.parametrize("data", [b"name = ", b"name = '\xff'"])
def test_a_file_that_is_not_toml_says_so(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "model.toml"
    path.write_bytes(data)
    with pytest.raises(LabError, match=r"^model\.toml: not TOML: .*\. Mend the line\.$"):
        read_toml(path, "model.toml")


def test_an_unknown_key_is_named_beside_the_known_ones() -> None:
    with pytest.raises(LabError, match=r"^t: unknown key 'nmae'\. Known: name, owner\.$"):
        Table("t", {"nmae": "churn"}).only("name", "owner")


def test_a_missing_key_is_named() -> None:
    with pytest.raises(LabError, match=r"^t: key 'name' is missing\. Add it\.$"):
        Table("t", {}).get("name", str)


@pytest.mark.parametrize(
    ("value", "kind"), [("7", int), (True, int), (True, float), (1.5, int), (7, str), ([], dict)]
)
def test_a_value_of_another_type_is_shown(value: object, kind: type) -> None:
    said = rf"^t: 'x' is {value!r}, expected {kind.__name__}\. Write".replace("[]", r"\[\]")
    with pytest.raises(LabError, match=said):
        Table("t", {"x": value}).get("x", kind)


def test_a_default_stands_in_for_a_missing_key() -> None:
    assert Table("t", {}).get("deadline_s", float, 600.0) == 600.0
    assert Table("t", {}).names("tags", []) == ()


def test_a_table_that_is_not_needed_is_empty_where_it_is_absent() -> None:
    assert Table("t", {}).table("params", needed=False).values == {}
    with pytest.raises(LabError, match=r"^t: key 'params' is missing"):
        Table("t", {}).table("params")


def test_a_list_of_other_things_than_texts_is_shown() -> None:
    with pytest.raises(LabError, match=r"^t: 'tags' is \['a', 1\]\. Expected a list of texts\.$"):
        Table("t", {"tags": ["a", 1]}).names("tags")
