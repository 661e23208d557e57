"""Bad input, through the real command: what it says, how it ends, and that nothing is half-written.

Every message names the thing, what was expected or found, and what to do next.
"""

import shutil
from pathlib import Path

import pytest

from tests.flows.conftest import Demo, Run, contents_of, copy_home, predictions_of, query_sqlite
from tests.support.commands import Ran, run_flow, run_here, run_process
from tests.support.flows.refusals import check_refusal
from tests.support.places import ROOT

MODEL = "flight-delay"
DAY = ("--date", "2013-02-01")
RANGE = ("--start", "2013-02-01", "--end", "2013-02-02")
SERVER = "temporary one serves"

# Misbehaves on a whole day of one weekday only, so that training, which sees all weekdays at
# once, and verification, which sees few rows, pass. 15 February 2013 is a Friday, weekday 5.
MISBEHAVE = """
def predict(model: Pipeline, data: pd.DataFrame) -> pd.DataFrame:
    weekday = int(data["weekday"].iloc[0]) if len(data) else -1
    whole_day = len(data) > 500 and data["weekday"].nunique() == 1
    given = predict_well(model, data)
    if whole_day and weekday == 5:
        raise ValueError("Fridays confuse me")
    if whole_day and weekday == 6:
        return given.iloc[:-1]
    if whole_day and weekday == 0:
        given.iloc[3, 0] = float("nan")
    if whole_day and weekday == 1:
        print("hello from predict")
    return given
"""


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """Return a copy of the lab that a test may spoil."""
    return Path(shutil.copytree(ROOT / "lab", tmp_path / "lab"))


def spoil_script(lab: Path) -> None:
    """Break the syntax of the model's script."""
    script = lab / "models" / MODEL / "model.py"
    script.write_text(script.read_text("utf-8") + "\ndef broken(:\n", "utf-8")


def test_production_scores_on_while_the_lab_is_broken(demo: Demo, lab: Path, server: str) -> None:
    spoil_script(lab)
    (lab / "models" / MODEL / "model.toml").unlink()
    settings = {"PILOTLINE_LAB": str(lab), "PREFECT_API_URL": server}
    done = run_process(demo.home, "score", MODEL, *DAY, "--json", settings=settings)
    assert done.status == 0, done.err
    assert done.json["state"] == "unchanged"


def test_a_day_without_rows_is_refused(home: Path, pilotline: Run) -> None:
    before = contents_of(home)
    done = pilotline("ingest", "flights", "--date", "2014-01-01")
    check_refusal(done, 1, "2014-01-01", "'flights'", "no rows", "Check the date")
    assert contents_of(home) == before


def test_a_source_that_is_gone_is_named(home: Path, lab: Path, pilotline: Run) -> None:
    dataset = lab / "datasets" / "flights" / "dataset.toml"
    dataset.write_text(dataset.read_text("utf-8").replace("online.db", "gone.db"), "utf-8")
    before = contents_of(home)
    done = pilotline("ingest", "flights", "--date", "2013-02-15", PILOTLINE_LAB=str(lab))
    check_refusal(done, 1, "'flights'", str(home / "gone.db"), "is gone", "dataset.toml")
    assert contents_of(home) == before


def test_a_blocked_day_fails_a_backfill_that_does_the_rest(home: Path) -> None:
    before = contents_of(home)
    words = ("--start", "2013-02-14", "--end", "2013-02-15", "--using", "champion")
    done = run_here(home, "backfill", MODEL, *words)
    assert done.status == 1
    assert "flights 2013-02-15 is not ingested" in done.out
    assert contents_of(home) == before


def test_a_model_that_cannot_predict_is_never_registered(
    home: Path, lab: Path, pilotline: Run
) -> None:
    script = lab / "models" / MODEL / "model.py"
    text = script.read_text("utf-8").replace("def predict(", "def predict_well(")
    script.write_text(text + "\n\ndef predict(model, data):\n    raise KeyError('dest')\n", "utf-8")
    before = contents_of(home)
    done = pilotline("train", MODEL, PILOTLINE_LAB=str(lab))
    check_refusal(done, 1, f"'{MODEL}'", "KeyError", "Mend the model")
    assert contents_of(home) == before


def test_a_predict_that_misbehaves_commits_nothing(
    demo: Demo, lab: Path, tmp_path: Path, server: str
) -> None:
    home = copy_home(demo.home, tmp_path / "home")
    script = lab / "models" / MODEL / "model.py"
    text = script.read_text("utf-8").replace("def predict(", "def predict_well(")
    script.write_text(text + "\n" + MISBEHAVE, "utf-8")
    settings = {"PILOTLINE_LAB": str(lab), "PREFECT_API_URL": server}

    def run(*words: str) -> Ran:
        return run_flow(home, *words, settings=settings)

    trained = run("train", MODEL, "--until", "2013-01-31", "--json")
    assert trained.status == 0, trained.err
    number = trained.json["number"]
    days = ("--start", "2013-02-15", "--end", "2013-02-18")
    assert run("ingest", "flights", *days).status == 0
    production = predictions_of(home)
    for day, needed in (
        ("2013-02-15", ["ValueError: Fridays confuse me"]),
        ("2013-02-16", ["737", "738"]),  # as many as the source has, and one less
        ("2013-02-17", ["1 predictions in 'probability'", "not finite"]),
    ):
        before = contents_of(home)
        done = run("score", MODEL, "--date", day, "--shadow", number)
        assert done.status == 1
        assert "Traceback" not in done.err
        for part in [f"'{MODEL}'", "failed", "Mend the model", *needed]:
            assert part in done.out
        after = contents_of(home)
        assert (after["commits"], after["scratch"]) == (before["commits"], [])
        ended = query_sqlite(
            home / "registry.db",
            "select state from run_outcome join run on run_id = run.id where date = ?",
            day,
        )
        assert ended == [("failed",)]
    printing = run("score", MODEL, "--date", "2013-02-18", "--shadow", number, "--json")
    assert (printing.status, printing.json["state"]) == (0, "succeeded"), printing.out
    assert "hello from predict" not in printing.out
    assert predictions_of(home) == production
