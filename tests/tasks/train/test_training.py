"""Training: a version with everything in it, the same inputs giving the same one."""

import io
from datetime import date

import pyarrow as pa
import pytest

from pilotline.registry import Registry
from pilotline.registry.record.versions import learned_from
from pilotline.tasks.errors import ChildError
from pilotline.tasks.home import Home
from pilotline.tasks.lab.bundle import load_bundle
from pilotline.tasks.lab.models import load_model_folder
from pilotline.tasks.sandbox.predictions import refuse_not_finite
from pilotline.tasks.sandbox.walls import Tier
from pilotline.tasks.score.job import Job
from pilotline.tasks.train.contents import Request
from pilotline.tasks.train.training import train_version

UNTIL = date(2013, 1, 13)


def test_a_version_holds_everything_it_was_made_of(registry: Registry, job: Job) -> None:
    bundle = job.bundle
    assert set(bundle.files) == {
        "README.md",
        "artifact/model.joblib",
        "contract.json",
        "data.json",
        "evaluation.json",
        "golden.arrow",
        "model.py",
        "model.toml",
        "notes.md",
        "profile.json",
        "requirements.lock",
    }
    data, evaluation = bundle.json("data.json"), bundle.json("evaluation.json")
    assert (data["train"]["rows"], data["holdout"]["rows"]) == (950, 285)
    assert evaluation["passed"]
    assert bundle.json("contract.json")["outputs"] == {
        "probability": {"type": "float64", "nullable": False}
    }
    golden = pa.ipc.open_stream(io.BytesIO(bundle.files["golden.arrow"])).read_all()
    assert golden.num_rows == 256
    assert golden.column_names[-1] == "predicted:probability"
    assert bundle.files["notes.md"].startswith(
        b"First version.\nTrained on 2013-01-01 to 2013-01-10"
    )
    with registry.read() as session:
        learned = learned_from(session, bundle.version)
    assert [item.use for item in learned].count("train") == 20


def test_the_same_inputs_again_give_the_version_there_is(
    home: Home, registry: Registry, job: Job, tier: Tier
) -> None:
    said: list[str] = []
    request = Request(load_model_folder(home.lab, "flight-delay"), UNTIL, "", None, None)
    again = train_version(registry, home, tier, request, said.append)
    assert (again.number, again.new) == ("1.0.0", False)
    assert again.digest == job.bundle.version.digest
    assert said == ["flight-delay 1.0.0 was trained from exactly this before"]


def test_changed_code_is_a_minor_version_judged_beside_the_champion(
    home: Home, registry: Registry, job: Job, tier: Tier
) -> None:
    script = home.lab / "models" / "flight-delay" / "model.py"
    script.write_text(script.read_text() + "\n# changed\n")
    folder = load_model_folder(home.lab, "flight-delay")
    request = Request(folder, UNTIL, "", job.bundle, job.bundle)
    trained = train_version(registry, home, tier, request, print)
    assert (trained.number, trained.new) == ("1.1.0", True)
    assert trained.reason == "minor over 1.0.0: code changed"
    assert trained.champion is not None
    assert trained.champion["metrics"] == pytest.approx(trained.metrics)  # the same trees
    with registry.read() as session:
        from pilotline.registry.record.versions import get_version

        version = get_version(session, "flight-delay", "1.1.0")
    notes = load_bundle(registry, version).files["notes.md"].decode()
    assert notes.startswith("Since 1.0.0:\n")
    assert "model.py changed." in notes


def test_training_that_fails_registers_nothing_and_leaves_nothing(
    home: Home, registry: Registry, tier: Tier
) -> None:
    script = home.lab / "models" / "flight-delay" / "model.py"
    script.write_text(script.read_text().replace("pipeline.fit(", "pipeline.fits("))
    request = Request(load_model_folder(home.lab, "flight-delay"), UNTIL, "", None, None)
    with pytest.raises(ChildError, match="train raised AttributeError"):
        train_version(registry, home, tier, request, print)
    assert list(home.scratch.iterdir()) == []


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_a_prediction_that_is_no_number_is_refused(value: float | None) -> None:
    predicted = pa.table({"p": pa.array([0.5, value], pa.float64())})
    with pytest.raises(ChildError, match=r"gave 1 predictions in 'p' that are missing or not fin"):
        refuse_not_finite("churn", predicted)
