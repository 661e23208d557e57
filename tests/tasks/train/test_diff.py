"""What changed between two versions."""

from datetime import timedelta

from pilotline.registry import Registry
from pilotline.registry.record.versions import get_version
from pilotline.tasks.home import Home
from pilotline.tasks.lab.bundle import load_bundle
from pilotline.tasks.lab.models import load_model_folder
from pilotline.tasks.sandbox.walls import Tier
from pilotline.tasks.train.contents import Request
from pilotline.tasks.train.diff import compare_versions
from pilotline.tasks.train.training import train_version
from tests.tasks.conftest import MODEL, TRAINED_UNTIL


def test_a_version_beside_itself_differs_in_nothing(registry: Registry) -> None:
    found = compare_versions(registry, MODEL, "champion", "1.0.0")
    assert (found["before"], found["after"]) == ("1.0.0", "1.0.0")
    for what in ("files", "packages", "params", "metrics", "data"):
        assert found[what] == []


def test_another_parameter_and_other_days_are_named(
    home: Home, registry: Registry, tier: Tier
) -> None:
    path = home.lab / "models" / MODEL / "model.toml"
    path.write_text(path.read_text("utf-8").replace("max_iter = 5", "max_iter = 7"), "utf-8")
    with registry.read() as session:
        parent = load_bundle(registry, get_version(session, MODEL, "1.0.0"))
    folder = load_model_folder(home.lab, MODEL)
    request = Request(folder, TRAINED_UNTIL + timedelta(days=1), "more", parent, None)
    trained = train_version(registry, home, tier, request, lambda _: None)
    found = compare_versions(registry, MODEL, "1.0.0", trained.number)
    assert (found["step"], found["reasons"]) == ("minor", ["configuration changed"])
    assert found["params"] == [["max_iter", 5, 7]]
    assert found["packages"] == []
    # 100 flights a day, every 20th cancelled
    assert ["train rows", 950, 1045] in found["data"]
    changed = {path: change for path, _, change in found["files"]}
    assert "model.toml" in changed
    assert "model.py" not in changed
