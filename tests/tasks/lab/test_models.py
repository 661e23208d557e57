"""Model folders: what they say, and what is refused without running any of it."""

import ast
import hashlib
import re
import shutil
from pathlib import Path

import pytest

from pilotline.registry.form.errors import NameRefusedError
from pilotline.tasks.errors import LabError, UnknownFolderError
from pilotline.tasks.home import Home
from pilotline.tasks.lab.models import Staleness, list_model_folders, load_model_folder
from pilotline.tasks.lab.scripts import check_script, list_functions

MODEL = "flight-delay"


@pytest.fixture
def lab(blank: Home, tmp_path: Path) -> Path:
    """Return a lab with the example's model, for a test to spoil."""
    shutil.copytree(blank.lab / "models", tmp_path / "lab" / "models")
    return tmp_path / "lab"


def spoil(lab: Path, name: str, old: str, new: str) -> None:
    """Replace a text in a file of the model."""
    path = lab / "models" / MODEL / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_tolerances_are_the_columns_own(lab: Path) -> None:
    assert load_model_folder(lab, MODEL).spec.tolerances == {}
    spoil(lab, "model.toml", "[drift]", "[verification]\ntolerances = { probability = 0 }\n[drift]")
    assert load_model_folder(lab, MODEL).spec.tolerances == {"probability": 0.0}


def test_the_example_is_read_as_written(lab: Path) -> None:
    folder = load_model_folder(lab, MODEL)
    spec = folder.spec
    assert (spec.name, spec.input, spec.actuals, spec.target) == (
        MODEL,
        "flights",
        "arrivals",
        "late",
    )
    assert spec.features == ("carrier", "origin", "dest", "hour", "distance", "weekday")
    assert (spec.score_column, spec.budget.deadline_s) == ("probability", 600.0)
    assert spec.metrics["roc_auc"].min == 0.60
    assert spec.metrics["brier_skill"].tolerance is None
    assert spec.drift.watch["dest"] == {"jensen_shannon": 0.1}
    script = (lab / "models" / MODEL / "model.py").read_bytes()
    assert hashlib.sha256(folder.files["model.py"]).digest() == hashlib.sha256(script).digest()
    assert list_model_folders(lab) == [MODEL]


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("model.toml", "It says what the model reads"),
        ("model.py", "It holds train and predict"),
        ("requirements.lock", "Make it: uv pip compile"),
        ("README.md", "Write the model card"),
    ],
)
def test_a_missing_file_is_named_with_its_remedy(lab: Path, name: str, remedy: str) -> None:
    (lab / "models" / MODEL / name).unlink()
    said = rf"^lab/models/flight-delay/{re.escape(name)}: the file is missing\. {remedy}"
    with pytest.raises(LabError, match=said):
        load_model_folder(lab, MODEL)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[budget]", "[budgets]", r"unknown key 'budgets'\. Known: model, data"),
        ('name = "flight-delay"', 'name = "delays"', r"name is 'delays'\. Expected 'flight-delay'"),
        ('inputs = ["flights"]', 'inputs = ["flights", "weather"]', r".*key 'weather' is missing"),
        ('inputs = ["flights"]', "inputs = 5", r"'inputs' is 5, expected list"),
        ('"weekday"]', '"late"]', r"features are empty or hold the target\. Name what is known"),
        ('probability = "float64"', 'probability = "float32"', r"'probability' is 'float32'\."),
        ('probability = "float64"', 'verdict = "bool"', r"the first column is no float64\. The"),
        ('probability = "float64"', "", r"no column is declared\. Write probability"),
        ("max_iter = 5", "max_iter = 2013-01-01", r"not plain values .*No dates or times here"),
        ("holdout_partitions = 3", "holdout_partitions = 0", r"holdout_partitions is 0\. Expected"),
        (
            "roc_auc = {",
            "mae = {",
            r"unknown metric 'mae'\. Known for binary predictions: roc_auc, brier",
        ),
        (
            "holdout_partitions",
            'kind = "count"\nholdout_partitions',
            r"kind is 'count'\. Known: bin",
        ),
        (
            "holdout_partitions",
            'kind = "multiclass"\nholdout_partitions',
            r"kind is 'multiclass' and classes are \[\]\. For kind = \"multiclass\", and",
        ),
        (
            "holdout_partitions",
            'kind = "multiclass"\nclasses = { late = "p" }\nholdout_partitions',
            r"the chances are in \['p'\]\. Expected at least two float64 columns",
        ),
        (
            "[drift]",
            "[staleness]\nno_score_days = -1\n[drift]",
            r"no_score_days is -1\. Expected 0 days or more",
        ),
        ("[drift]", "[staleness]\ndays = 1\n[drift]", r"unknown key 'days'\. Known: no_score_days"),
        ("roc_auc = { min = 0.60", 'roc_auc = { min = "good"', r"'min' is 'good', expected float"),
        ("roc_auc = { min = 0.60", "roc_auc = { max = 0.60", r"unknown key 'max'"),
        ("metrics = {", "metrics = {} #", r"no metric is named\. Write roc_auc"),
        (
            "[drift]",
            "[verification]\ntolerance = 1\n[drift]",
            r"unknown key 'tolerance'\. Known: to",
        ),
        (
            "[drift]",
            "[verification]\ntolerances = { chance = 0.1 }\n[drift]",
            r"'chance' is no float64 prediction\. Other columns .* float64: probability\.",
        ),
        (
            "[drift]",
            "[verification]\ntolerances = { probability = -1 }\n[drift]",
            r"'probability' is -1\. Expected 0 or",
        ),
        (
            "[drift]",
            "[verification]\ntolerances = { probability = inf }\n[drift]",
            r"'probability' is inf\. Expected 0 or",
        ),
        ("memory_mib = 1024", "memory_mib = 1.5", r"'memory_mib' is 1\.5, expected int"),
        (
            "dest = { jensen",
            "tailnum = { jensen",
            r"'tailnum' is no feature and no prediction\. Known: ",
        ),
        (
            "dest = { jensen_shannon = 0.1",
            "dest = { unseen = 0",
            r"'unseen' is 0\. Expected more than 0",
        ),
        ("wasserstein =", "kolmogorov =", r"unknown key 'kolmogorov'\. Known: jensen_shannon"),
        ('fires_when = "any"', 'fires_when = "most"', r"fires_when is 'most'\. Expected 'any'"),
        ("train_partitions = 60", "train_partitions = -1", r"train_partitions is -1\. Expected"),
        ("cooldown_days = 14", "", r"key 'cooldown_days' is missing"),
    ],
)
def test_what_a_model_cannot_mean_is_refused(lab: Path, old: str, new: str, message: str) -> None:
    spoil(lab, "model.toml", old, new)
    with pytest.raises(LabError, match=rf"^lab/models/flight-delay/model\.toml.*{message}"):
        load_model_folder(lab, MODEL)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("def train(", "def train((", r"syntax error in line \d+: .*\. Mend the line\."),
        ("def train(", "def fit(", r"no function 'train'\. Define train and predict at top level"),
        ("def predict(", "def score(", r"no function 'predict'"),
        ("def _clean(", "def save(", r"defines one of save and load\. Define both, or neither\."),
        ("# /// script\n", "# script\n", r"no PEP 723 header\. Open it with '# /// script'"),
        ('# requires-python = ">=3.11"', "# requires-python = ", r"header is not TOML .*Mend it"),
    ],
)
def test_a_script_that_cannot_serve_is_refused(lab: Path, old: str, new: str, message: str) -> None:
    spoil(lab, "model.py", old, new)
    with pytest.raises(LabError, match=rf"^lab/models/flight-delay/model\.py: .*{message}"):
        load_model_folder(lab, MODEL)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (b"x = 1\0", r"syntax error: .*null bytes.*\. Mend the file\."),
        (b"# coding: nope\n", r"syntax error: unknown encoding: nope .*\. Mend the file\."),
        (b"x = " + b"-" * 20_000 + b"1", r"is nested too deeply\. Break its expressions up\."),
        (b"x = a" + b".b" * 20_000, r"is nested too deeply\. Break its expressions up\."),
        (b"x = 1" + b" + 1" * 50_000, r"is nested too deeply\. Break its expressions up\."),
    ],
    ids=["null byte", "encoding", "signs", "attributes", "sum"],
)
def test_a_script_that_no_compiler_takes_is_refused(source: bytes, message: str) -> None:
    with pytest.raises(LabError, match=rf"^model\.py: {message}"):
        check_script(source, "model.py")


def test_only_what_can_be_called_by_its_name_is_a_function_of_the_script() -> None:
    source = b"""
def plain(): return lambda inner: [x for x in inner]
if plain():
    def chosen(): pass
class Thing:
    def method(self): pass
async def awaited(): pass
async def streamed(): yield 1
taken = lambda: 0
"""
    assert list_functions(source) == {"plain", "chosen"}


def test_no_syntax_tree_is_made_of_a_script(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # In CPython 3.11 two threads that make syntax trees spoil each other's, now and then.
    monkeypatch.setattr(ast, "parse", lambda *_: pytest.fail("a syntax tree was made"))
    source = (lab / "models" / MODEL / "model.py").read_bytes()
    assert check_script(source, "model.py")["requires-python"] == ">=3.11"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"numpy>=2,<3"', '"numpy>=99"', r"stale: the header asks for 'numpy>=99', it pins \d"),
        (
            '"numpy>=2,<3"',
            '"no-such"',
            r"stale: the header asks for 'no-such', it pins none\. Make",
        ),
        ('"numpy>=2,<3"', '"numpy >> 2"', r"the header names 'numpy >> 2' .*Mend model\.py\."),
        ('">=3.11"', '">=4"', r"the header asks for Python >=4, this is 3\.\d+\.\d+\. Run"),
        ('">=3.11"', '"snake"', r"the header asks for Python 'snake' .*Mend model\.py\."),
        ('">=3.11"', "3.11", r"the header asks for Python 3\.11 .*Mend model\.py\."),
    ],
)
def test_a_lock_that_does_not_give_what_the_header_asks_for_is_refused(
    lab: Path, old: str, new: str, message: str
) -> None:
    spoil(lab, "model.py", old, new)
    with pytest.raises(
        LabError, match=rf"^lab/models/flight-delay/requirements\.lock: (?s:{message})"
    ):
        load_model_folder(lab, MODEL)


@pytest.mark.parametrize("lock", ["", "numpy==2.3.0\npandas==3.0.0\npyarrow==26.0.0\n"])
def test_a_lock_without_packages_or_without_hashes_is_refused(lab: Path, lock: str) -> None:
    (lab / "models" / MODEL / "requirements.lock").write_text(lock)
    with pytest.raises(
        LabError, match=r"requirements\.lock: pins no package with a hash\. Make it"
    ):
        load_model_folder(lab, MODEL)


def test_a_lock_without_pandas_or_pyarrow_is_refused(lab: Path) -> None:
    folder = lab / "models" / MODEL
    (folder / "model.py").write_text(
        '# /// script\n# dependencies = ["numpy"]\n# ///\n'
        "def train(data, params): ...\ndef predict(model, data): ...\n"
    )
    (folder / "requirements.lock").write_text(f"numpy==2.3.0 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(LabError, match=r"pins no pandas or pyarrow\. Add both to model\.py"):
        load_model_folder(lab, MODEL)


def test_a_model_is_not_run_while_it_is_read(lab: Path) -> None:
    script = lab / "models" / MODEL / "model.py"
    script.write_text(script.read_text() + "\nraise SystemExit('ran')\n")
    assert load_model_folder(lab, MODEL).spec.name == MODEL


def test_an_unknown_model_is_named_beside_the_known_ones(lab: Path) -> None:
    with pytest.raises(
        UnknownFolderError, match=r"^No model 'churn' in the lab; known: flight-del"
    ):
        load_model_folder(lab, "churn")


def test_a_model_s_name_cannot_lead_out_of_the_lab(lab: Path) -> None:
    with pytest.raises(NameRefusedError):
        load_model_folder(lab, "../flight-delay")


def test_staleness_has_limits_where_nothing_is_said(lab: Path) -> None:
    spoil(lab, "model.toml", "[drift]", "[staleness]\nno_actuals_days = 30\n[drift]")
    found = load_model_folder(lab, MODEL).spec.staleness
    assert found == Staleness(
        no_score_days=2, no_actuals_days=30, data_late_days=2, version_old_days=365
    )


def test_classes_name_the_columns_of_their_chances(lab: Path) -> None:
    chances = 'p_late = "float64"\np_early = "float64"'
    spoil(lab, "model.toml", 'probability = "float64"', chances)
    said = 'kind = "multiclass"\nclasses = { late = "p_late", early = "p_early" }\n'
    spoil(lab, "model.toml", "holdout_partitions", f"{said}holdout_partitions")
    spoil(lab, "model.toml", "brier_skill = { min = 0.0 }", "macro_f1 = { min = 0.2 }")
    spec = load_model_folder(lab, MODEL).spec
    assert (spec.kind, spec.classes) == ("multiclass", {"late": "p_late", "early": "p_early"})
    assert list(spec.metrics) == ["roc_auc", "macro_f1"]
