"""Bad input, through the real command: what it says, how it ends, and that nothing is half-written.

Every message names the thing, what was expected or found, and what to do next.
"""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.flows.conftest import Demo, Run, contents_of, copy_home, predictions_of, query_sqlite
from tests.support.commands import ROOT, Ran, run_process

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


def check_refusal(done: Ran, *needed: str) -> None:
    """Check that a command failed in words, with ``needed`` among them."""
    assert done.status in (1, 2), done.out
    ours, _, _ = done.err.partition("Last lines of its log:")  # the model's own may hold one
    assert "Traceback" not in ours
    for part in needed:
        assert part in done.err
    said = done.err[done.err.index("Error: ") :]
    assert len(said) < 1500
    assert re.search(r"[.?'\n]\s*$", said)
    assert done.out == ""


@pytest.mark.parametrize(
    ("words", "needed"),
    [
        (("show", "nope@champion"), ["'nope'", "known: flight-delay", "pilotline train nope"]),
        (("history", "nope"), ["'nope'", "known: flight-delay", "pilotline models"]),
        (("trace", "nope", *DAY, "--key", "UA,1,EWR"), ["'nope'", "known: flight-delay"]),
        (("score", "nope", *DAY), ["'nope'", "known: flight-delay"]),
        (("monitor", "nope", *DAY), ["'nope'", "known: flight-delay"]),
        (("verify", "nope", "1.0.0"), ["'nope'", "known: flight-delay"]),
        (
            ("backfill", "nope", *RANGE, "--using", "champion"),
            ["'nope'", "known: flight-delay"],
        ),
        (("train", "nope"), ["'nope'", "known: flight-delay", "lab/models/nope/"]),
        (("train", "No Such"), ["'No Such'", "expected 1 to 63", "Rename"]),
        (("ingest", "nope", *DAY), ["'nope'", "arrivals, flights", "lab/datasets/nope/"]),
        (("ingest", "../models", *DAY), ["'../models'", "expected 1 to 63"]),
        (("show", f"{MODEL}@9.9.9"), ["'9.9.9'", "1.0.0, 1.0.1", "pilotline show flight-delay"]),
        (("show", f"{MODEL}@nickname"), ["'nickname'", "1.0.0, 1.0.1"]),
        (("show", f"{MODEL}@as-of:2012-12-31"), ["had no champion on", "its first was 1.0.0"]),
        (("show", f"{MODEL}@as-of:foo"), ["'foo' is no date", "as-of:YYYY-MM-DD"]),
        (("show", "flight delay"), ["'flight delay'", "made of a-z", "pilotline models"]),
        (("history", f"{MODEL}@champion"), ["known: flight-delay", "Give the model alone"]),
        (("release", MODEL, "9.9.9"), ["'9.9.9'", "1.0.0, 1.0.1"]),
        (("verify", MODEL, "9.9.9"), ["'9.9.9'", "1.0.0, 1.0.1"]),
        (("score", MODEL, *DAY, "--shadow", "9.9.9"), ["'9.9.9'", "1.0.0, 1.0.1"]),
        (("backfill", MODEL, *RANGE, "--using", "9.9.9"), ["'9.9.9'", "1.0.0, 1.0.1"]),
        (
            ("backfill", MODEL, *RANGE, "--using", "1.0.1"),
            ["1.0.1", "never champion", "--shadow 1.0.1"],
        ),
        (
            ("score", MODEL, "--date", "2013-12-24"),
            ["2013-12-24", "2013-01-01 to 2013-07-21", "pilotline ingest flights"],
        ),
        (("score", MODEL, "--date", "yesterday"), ["'yesterday'", "expected YYYY-MM-DD"]),
        (("score", MODEL, "--date", "2013-02-30"), ["'2013-02-30'", "expected YYYY-MM-DD"]),
        (
            ("backfill", MODEL, "--start", "2013-02-02", "--end", "2013-02-01", "--using", "as-of"),
            ["2013-02-01 is before 2013-02-02", "Swap"],
        ),
        (
            ("trace", MODEL, *DAY, "--key", "carrier=UA,flight=1"),
            ["'carrier=UA,flight=1'", "carrier, flight, origin", "Write carrier=..."],
        ),
        (
            ("trace", MODEL, *DAY, "--key", "UA,many,EWR"),
            ["'UA,many,EWR'", "'many'", "int64", "Check"],
        ),
        (
            ("trace", MODEL, "--date", "2013-12-24", "--key", "UA,1,EWR"),
            ["2013-12-24", "UA,1,EWR", "pilotline score flight-delay --date 2013-12-24"],
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_an_unknown_thing_is_told_with_what_is_known(
    words: tuple[str, ...], needed: list[str], demo: Demo
) -> None:
    before = contents_of(demo.home)
    done = run_process(demo.home, *words)
    check_refusal(done, *needed)
    assert SERVER not in done.err  # what can be told without a server starts none
    assert contents_of(demo.home) == before


def spoil_script(lab: Path) -> None:
    """Break the syntax of the model's script."""
    script = lab / "models" / MODEL / "model.py"
    script.write_text(script.read_text("utf-8") + "\ndef broken(:\n", "utf-8")


def make_lock_stale(lab: Path) -> None:
    """Let the header ask for a package that the lock does not pin."""
    script = lab / "models" / MODEL / "model.py"
    text = script.read_text("utf-8")
    script.write_text(text.replace('"numpy>=2,<3"', '"numpy>=2,<3",\n#     "polars>=1"'), "utf-8")


def ask_for_newer(lab: Path) -> None:
    """Let the header ask for a version that the lock does not pin."""
    script = lab / "models" / MODEL / "model.py"
    script.write_text(script.read_text("utf-8").replace("numpy>=2,<3", "numpy>=99"), "utf-8")


def removal_of(name: str) -> Callable[[Path], None]:
    """Return a function that removes a file of the model's folder."""
    return lambda lab: (lab / "models" / MODEL / name).unlink()


@pytest.mark.parametrize(
    ("spoil", "needed"),
    [
        (removal_of("requirements.lock"), ["requirements.lock", "missing", "uv pip compile"]),
        (removal_of("model.toml"), ["model.toml", "missing", "lab/models/flight-delay"]),
        (removal_of("model.py"), ["model.py", "missing", "train and predict"]),
        (removal_of("README.md"), ["README.md", "missing", "model card"]),
        (make_lock_stale, ["requirements.lock", "stale", "'polars>=1'", "uv pip compile"]),
        (ask_for_newer, ["requirements.lock", "stale", "'numpy>=99'", "uv pip compile"]),
        (spoil_script, ["model.py", "syntax error in line", "Mend the line"]),
    ],
    ids=["no lock", "no toml", "no script", "no card", "lock pins less", "lock is older", "syntax"],
)
def test_a_model_folder_that_cannot_be_trained_is_told_at_once(
    spoil: Callable[[Path], None], needed: list[str], demo: Demo, lab: Path
) -> None:
    spoil(lab)
    before = contents_of(demo.home)
    done = run_process(demo.home, "train", MODEL, settings={"PILOTLINE_LAB": str(lab)})
    check_refusal(done, f"lab/models/{MODEL}", *needed)
    assert SERVER not in done.err
    assert contents_of(demo.home) == before


def test_production_scores_on_while_the_lab_is_broken(demo: Demo, lab: Path, server: str) -> None:
    spoil_script(lab)
    removal_of("model.toml")(lab)
    settings = {"PILOTLINE_LAB": str(lab), "PREFECT_API_URL": server}
    done = run_process(demo.home, "score", MODEL, *DAY, "--json", settings=settings)
    assert done.status == 0, done.err
    assert done.json["state"] == "unchanged"


@pytest.mark.parametrize("text", ["", "{}", '{"expectations": []}'])
def test_an_empty_expectations_file_checks_nothing_and_is_refused(
    text: str, demo: Demo, lab: Path
) -> None:
    (lab / "datasets" / "flights" / "expectations.json").write_text(text, "utf-8")
    before = contents_of(demo.home)
    words = ("ingest", "flights", "--date", "2013-02-15")
    done = run_process(demo.home, *words, settings={"PILOTLINE_LAB": str(lab)})
    check_refusal(done, "lab/datasets/flights/expectations.json")
    assert SERVER not in done.err
    assert contents_of(demo.home) == before


def test_a_day_without_rows_is_refused(home: Path, pilotline: Run) -> None:
    before = contents_of(home)
    done = pilotline("ingest", "flights", "--date", "2014-01-01")
    check_refusal(done, "2014-01-01", "'flights'", "no rows", "Check the date")
    assert contents_of(home) == before


def test_a_range_of_days_the_wrong_way_round_is_refused(home: Path, pilotline: Run) -> None:
    done = pilotline("ingest", "flights", "--start", "2013-02-16", "--end", "2013-02-15")
    check_refusal(done, "2013-02-15 is before 2013-02-16", "Swap --start and --end")


def test_a_source_that_is_gone_is_named(home: Path, lab: Path, pilotline: Run) -> None:
    dataset = lab / "datasets" / "flights" / "dataset.toml"
    dataset.write_text(dataset.read_text("utf-8").replace("online.db", "gone.db"), "utf-8")
    before = contents_of(home)
    done = pilotline("ingest", "flights", "--date", "2013-02-15", PILOTLINE_LAB=str(lab))
    check_refusal(done, "'flights'", str(home / "gone.db"), "is gone", "dataset.toml")
    assert contents_of(home) == before


def test_a_blocked_day_fails_a_backfill_that_does_the_rest(home: Path, pilotline: Run) -> None:
    before = contents_of(home)
    words = ("--start", "2013-02-14", "--end", "2013-02-15", "--using", "champion")
    done = pilotline("backfill", MODEL, *words)
    assert done.status == 1
    assert "flights 2013-02-15 is not ingested" in done.out
    assert contents_of(home) == before


@pytest.mark.parametrize(
    "place",
    ["/dev/null/home", "/proc/pilotline"],  # a file is no folder; nobody writes there, root neither
)
@pytest.mark.parametrize(
    "words",
    [
        ("models",),
        ("demo",),
        ("ingest", "flights", *DAY),
        ("train", MODEL),
        ("score", MODEL, *DAY),
        ("approve", MODEL, "1.0.0", "--gate", "review", "--by", "x@example.org", "--comment", "y"),
    ],
    ids=lambda words: str(words[0]),
)
def test_a_home_that_cannot_be_written_is_told(words: tuple[str, ...], place: str) -> None:
    done = run_process(Path(place), *words)
    check_refusal(done, place, "PILOTLINE_HOME")
    assert SERVER not in done.err


@pytest.mark.parametrize(
    ("by", "gate", "needed"),
    [
        ("author@example.org", "review", ["'author@example.org'", "author", "somebody else"]),
        ("Author@Example.org", "review", ["'Author@Example.org'", "author", "somebody else"]),
        ("operations@example.org", "review", ["no approver here", "reviewer@example.org"]),
        ("operations@example.org", "go-live", ["the review has not approved it", "release"]),
    ],
)
def test_a_decision_by_the_wrong_person_or_too_early_is_refused(
    by: str, gate: str, needed: list[str], demo: Demo
) -> None:
    before = contents_of(demo.home)
    words = ("approve", MODEL, "1.0.1", "--gate", gate, "--by", by, "--comment", "mine")
    done = run_process(demo.home, *words)
    check_refusal(done, f"'{gate}'", f"'{MODEL}' 1.0.1", *needed)
    assert contents_of(demo.home) == before


def test_a_model_that_cannot_predict_is_never_registered(
    home: Path, lab: Path, pilotline: Run
) -> None:
    script = lab / "models" / MODEL / "model.py"
    text = script.read_text("utf-8").replace("def predict(", "def predict_well(")
    script.write_text(text + "\n\ndef predict(model, data):\n    raise KeyError('dest')\n", "utf-8")
    before = contents_of(home)
    done = pilotline("train", MODEL, PILOTLINE_LAB=str(lab))
    check_refusal(done, f"'{MODEL}'", "KeyError", "Mend the model")
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
        return run_process(home, *words, settings=settings)

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
