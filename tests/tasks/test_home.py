"""Where a factory keeps its things."""

from pathlib import Path

import pytest

from pilotline.registry.form.errors import PolicyError
from pilotline.tasks.errors import SettingsError
from pilotline.tasks.home import find_home
from pilotline.tasks.lab.policy import factory_policy
from tests.support.places import ROOT


def test_the_home_lies_beside_the_lab_above_the_working_folder(tmp_path: Path) -> None:
    (tmp_path / "lab").mkdir()
    below = tmp_path / "some" / "where"
    below.mkdir(parents=True)
    home = find_home({}, below)
    assert (home.root, home.lab) == (tmp_path / ".pilotline", tmp_path / "lab")
    assert (home.blobs, home.lake) == (home.root / "blobs", home.root / "lake")
    assert home.registry_url == f"sqlite:///{home.root}/registry.db"


def test_settings_move_the_parts_and_are_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    home = find_home(
        {
            "PILOTLINE_HOME": "home",
            "PILOTLINE_LAB": "models",
            "PILOTLINE_LAKE": "lake",
            "PILOTLINE_BLOBS": "objects",
            "PILOTLINE_REGISTRY_URL": "postgresql://server/registry",
        },
        tmp_path,
    )
    assert home.root == tmp_path / "home"
    assert (home.lab, home.lake, home.blobs) == (
        tmp_path / "models",
        tmp_path / "lake",
        tmp_path / "objects",
    )
    assert home.registry_url == "postgresql://server/registry"
    assert "postgresql" not in repr(home)


def test_a_folder_outside_any_project_needs_a_setting(tmp_path: Path) -> None:
    with pytest.raises(
        SettingsError, match=r"^PILOTLINE_HOME: not set, and no folder 'lab' in .*or above\. Run"
    ):
        find_home({}, tmp_path)


def test_the_lake_may_lie_in_a_bucket(tmp_path: Path) -> None:
    settings = {"PILOTLINE_HOME": str(tmp_path), "PILOTLINE_LAKE": "s3://bucket/p/"}
    assert str(find_home(settings, tmp_path).lake) == "s3://bucket/p"


@pytest.mark.parametrize("written", ["s3:///p", "gs://bucket/p", "s3://key:secret@bucket/p"])
def test_a_lake_that_is_nowhere_is_refused_and_not_shown(tmp_path: Path, written: str) -> None:
    with pytest.raises(SettingsError, match=r"^PILOTLINE_LAKE: expected a folder or s3:") as raised:
        find_home({"PILOTLINE_HOME": str(tmp_path), "PILOTLINE_LAKE": written}, tmp_path)
    assert written not in str(raised.value)


def test_blobs_may_lie_in_a_bucket(tmp_path: Path) -> None:
    found = find_home({"PILOTLINE_HOME": str(tmp_path), "PILOTLINE_BLOBS": "s3://b/p"}, tmp_path)
    assert found.blobs == "s3://b/p"


def test_neither_password_nor_key_is_shown(tmp_path: Path) -> None:
    settings = {"PILOTLINE_HOME": str(tmp_path), "PILOTLINE_APPROVAL_KEY": "canary-key"}
    settings["PILOTLINE_REGISTRY_URL"] = "postgresql://me:canary-password@host/name"
    assert "canary" not in repr(find_home(settings, tmp_path))


def test_an_address_is_shown_without_its_password(tmp_path: Path) -> None:
    own = find_home({"PILOTLINE_HOME": str(tmp_path)}, tmp_path)
    assert (own.registry_shown, own.registry_is_elsewhere) == (f"{tmp_path}/registry.db", False)
    settings = {
        "PILOTLINE_HOME": str(tmp_path),
        "PILOTLINE_REGISTRY_URL": "postgresql://me:canary-password@host/name",
    }
    shared = find_home(settings, tmp_path)
    assert shared.registry_shown == "postgresql://me:***@host/name"
    assert shared.registry_is_elsewhere


def test_a_home_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    home = find_home({"PILOTLINE_HOME": str(tmp_path / "file" / "home")}, tmp_path)
    with pytest.raises(SettingsError, match=r"cannot be written \(Not a directory\)\. Fix its"):
        home.make()


def test_a_home_is_made_and_holds_nothing_yet(tmp_path: Path) -> None:
    home = find_home({"PILOTLINE_HOME": str(tmp_path / "new")}, tmp_path)
    home.make()
    assert list(home.root.iterdir()) == []


def test_the_home_s_own_policy_comes_before_the_project_s_and_that_before_the_shipped(
    tmp_path: Path,
) -> None:
    (tmp_path / "lab").mkdir()
    home = find_home({}, tmp_path)
    assert home.policy_path.samefile(ROOT / "deployments" / "policy.toml")
    assert factory_policy(home).minimum_isolation == "A"
    project = tmp_path / "deployments" / "policy.toml"
    project.parent.mkdir()
    project.write_text("[approvals]\n")
    assert home.policy_path == project
    with pytest.raises(PolicyError, match="names no approver"):
        factory_policy(home)
    home.make()
    (home.root / "policy.toml").write_text(
        '[approvals]\nreview = ["reviewer@example.org"]\ngo-live = ["operations@example.org"]\n'
        '[isolation]\nminimum = "C"\n'
    )
    assert factory_policy(home).minimum_isolation == "C"
