"""What a training child saved, read back by the parent."""

from pathlib import Path

import pytest

from pilotline.tasks.errors import ChildError
from pilotline.tasks.sandbox import launching as process
from pilotline.tasks.sandbox.environments import Environment


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    """Return an environment with an empty folder for what is saved."""
    (tmp_path / "out").mkdir()
    return Environment(tmp_path, tmp_path / "env" / "bin" / "python", "0" * 64, 0.0, "cache")


def test_files_are_collected_with_their_folders(environment: Environment) -> None:
    (environment.folder / "out" / "deep" / "er").mkdir(parents=True)
    (environment.folder / "out" / "deep" / "er" / "weights").write_bytes(b"\0\1")
    (environment.folder / "out" / "model.joblib").write_bytes(b"2")
    found = process.collect_artifact(environment, "churn")
    assert found == {"deep/er/weights": b"\0\1", "model.joblib": b"2"}


def test_folders_alone_are_nothing(environment: Environment) -> None:
    (environment.folder / "out" / "empty").mkdir()
    with pytest.raises(ChildError, match=r"^Model 'churn': saved nothing; save must write into"):
        process.collect_artifact(environment, "churn")


def test_a_link_to_a_secret_is_refused(environment: Environment, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("password")
    (environment.folder / "out" / "model").symlink_to(tmp_path / "secret")
    with pytest.raises(ChildError, match=r"saved 'model', which is no plain file"):
        process.collect_artifact(environment, "churn")


def test_more_than_the_limit_is_refused(
    environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "MAX_ARTIFACT_BYTES", 1 << 30)
    with (environment.folder / "out" / "model").open("wb") as file:
        file.truncate((1 << 30) + 1)  # sparse
    with pytest.raises(ChildError, match=r"saved more than 1 GiB"):
        process.collect_artifact(environment, "churn")
