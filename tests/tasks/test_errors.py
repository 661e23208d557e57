"""What the steps refuse: one base, and a fitting builtin each."""

import pytest

from pilotline.tasks import errors


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (errors.SettingsError("S", "p", "r"), ValueError),
        (errors.LabError("w", "p", "r"), ValueError),
        (errors.UnknownFolderError("model", "n", []), LookupError),
        (errors.SourceError("d", "p", "r"), RuntimeError),
        (errors.PartitionRefusedError("d", "2013-01-01", "p", "r"), ValueError),
        (errors.LakeError("t", "p", "r"), OSError),
        (errors.EnvironmentBuildError("m", "p", "r"), RuntimeError),
        (errors.IsolationError("C", "A", "w"), RuntimeError),
        (errors.ChildError("m", "p"), RuntimeError),
        (errors.SupersededError("r", "w"), RuntimeError),
        (errors.NothingToDoError("w", "p", "r"), LookupError),
        (errors.RetrainingRefusedError("m", "p", "r"), RuntimeError),
    ],
)
def test_every_refusal_is_a_step_error_and_a_builtin(
    error: Exception, builtin: type[Exception]
) -> None:
    assert isinstance(error, errors.StepError)
    assert isinstance(error, builtin)


def test_a_child_s_error_ends_with_its_log() -> None:
    said = str(errors.ChildError("churn", "ended with status 7", "one\ntwo"))
    assert said == (
        "Model 'churn': ended with status 7. Mend the model in the lab and train again."
        "\nLast lines of its log:\none\ntwo"
    )


def test_an_empty_lab_is_said_to_be_empty() -> None:
    assert "known: none." in str(errors.UnknownFolderError("model", "churn", []))
