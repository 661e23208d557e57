"""A small factory: an invented source in the example's form, and a home that went through it once.

The source has 22 days of 100 flights. Departures after 17 are late three times in four, others one
time in five, so a model has something to learn; from day 17 on the flights go elsewhere.
"""

import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from pilotline.registry import Registry
from pilotline.registry.gates.approvals import Decision
from pilotline.registry.gates.promotions import promote
from pilotline.registry.record.versions import get_version
from pilotline.tasks.decide.decisions import record_decision
from pilotline.tasks.example.flights import TABLES
from pilotline.tasks.home import Home
from pilotline.tasks.ingest.days import ingest_day
from pilotline.tasks.ingest.validation import Validator
from pilotline.tasks.lab.bundle import load_bundle, load_champion
from pilotline.tasks.lab.datasets import Dataset, load_dataset
from pilotline.tasks.lab.models import load_model_folder
from pilotline.tasks.lab.policy import factory_policy
from pilotline.tasks.sandbox.environments import built_environment
from pilotline.tasks.sandbox.launching import Room, scoring_child
from pilotline.tasks.sandbox.walls import Tier, probe_isolation
from pilotline.tasks.score.days import DayScored, score_days
from pilotline.tasks.score.job import Job, plan_job
from pilotline.tasks.sources.opening import open_source
from pilotline.tasks.train.contents import Request
from pilotline.tasks.train.training import Trained, train_version
from pilotline.tasks.verify.verification import platform, verify_version
from tests.support.places import ROOT
from tests.support.servers.once import made_once
from tests.support.tasks.calls import Score
from tests.support.tasks.stage import DAY, Stage
from tests.support.waiting import stretched

FIRST = date(2013, 1, 1)
DAYS = [FIRST + timedelta(days=n) for n in range(22)]
TRAINED_UNTIL = DAYS[12]  # ten days to learn from, three held out
MOVED = DAYS[16]  # from here on the flights go elsewhere
ROWS = 100
DISTANCES = {"ATL": 760, "BOS": 190, "ORD": 730, "LAX": 2470, "MIA": 1090, "SFO": 2570}
MODEL = "flight-delay"
# The example's own settings, made to fit three weeks.
SETTINGS = {
    "holdout_partitions = 7": "holdout_partitions = 3",
    "window_days = 7": "window_days = 3",
    "max_iter = 30": "max_iter = 5",
    "rows_per_s = 20000": "rows_per_s = 100",
}


def write_source(path: Path) -> None:
    """Write the invented flights and arrivals as a SQLite file."""
    chance = random.Random(2013)
    with closing(sqlite3.connect(path)) as database, database:
        database.executescript(TABLES)
        for day in DAYS:
            add_day(database, day, chance)


def add_day(database: sqlite3.Connection, day: date, chance: random.Random) -> None:
    """Add one day's flights; every 20th was cancelled and so has no arrival."""
    before = day < MOVED
    weights = (4, 3, 2, 1, 0, 0) if before else (0, 0, 1, 1, 4, 4)
    for number in range(1, ROWS + 1):
        carrier, origin = chance.choice(("AA", "UA")), chance.choice(("EWR", "JFK", "LGA"))
        (dest,) = chance.choices(list(DISTANCES), weights)
        hour = chance.randint(6, 22)
        late = chance.random() < (0.75 if hour >= 17 else 0.2)
        cancelled = number % 20 == 0
        key = (day.isoformat(), carrier, number, origin)
        flight = (dest, "N1", hour, 0, DISTANCES[dest], None if cancelled else 2.0)
        database.execute(f"insert into flights values ({', '.join('?' * 10)})", key + flight)
        if not cancelled:
            arrival = (*key, 40.0 if late else -5.0)
            database.execute("insert into arrivals values (?, ?, ?, ?, ?)", arrival)


def ingest(home: Home, name: str, days: Sequence[date]) -> None:
    """Bring days of a dataset in."""
    dataset = load_dataset(home.lab, name)
    source, validator = open_source(dataset, home.root), Validator(dataset)
    with home.open_registry() as registry:
        for day in days:
            ingest_day(dataset, source, validator, day, registry, home.lake)


def train(home: Home, tier: Tier, until: date) -> Trained:
    """Train what the lab says on the days until ``until``."""
    request = Request(load_model_folder(home.lab, MODEL), until, "", None, None)
    with home.open_registry() as registry:
        return train_version(registry, home, tier, request, print)


def release(home: Home, tier: Tier, number: str) -> None:
    """Take a version of the example through both gates and promote it."""
    release_model(home, tier, MODEL, number)


def release_model(home: Home, tier: Tier, name: str, number: str) -> None:
    """Take a version of any model through both gates and promote it."""
    for gate, person in (("review", "reviewer"), ("go-live", "operations")):
        said = Decision(gate, "approve", f"{person}@example.org", "read the evidence")
        if gate == "go-live":
            with home.open_registry() as registry:
                with registry.read() as session:
                    version = get_version(session, name, number)
                verified = verify_version(registry, home, tier, version, print)
                assert verified.passed, verified
        record_decision(home, name, number, said)
    with home.open_registry() as registry, registry.write() as session:
        promote(session, name, number, factory_policy(home), platform())


def unguard(session: Session) -> None:
    """Drop the database's own guards, as an administrator could, so that a fact can be changed."""
    names = text("select name from sqlite_master where type = 'trigger'")
    for name in session.scalars(names).all():
        session.execute(text(f'drop trigger "{name}"'))


@pytest.fixture(scope="session")
def tier() -> Tier:
    """Return the tier this machine gives."""
    return probe_isolation()


@pytest.fixture(scope="session")
def blank(shared: Path) -> Home:
    """Return a project with a lab and a source, and nothing ingested; tests copy it."""
    return home_in(made_once(shared, "blank", lay_out))


def lay_out(project: Path) -> Home:
    """Return the home of a new project in ``project``, with the invented source in it."""
    # Without the notebook, which costs seconds: test_notebook.py brings its own.
    without = shutil.ignore_patterns("notebook.ipynb")
    shutil.copytree(ROOT / "lab", project / "lab", ignore=without)
    config = project / "lab" / "models" / MODEL / "model.toml"
    text = config.read_text()
    for example, own in SETTINGS.items():
        assert example in text
        text = text.replace(example, own)
    # Fetching 125 MB takes seconds: test_wheelhouse.py keeps a small one.
    config.write_text(text + "\n[environment]\nkeep_wheels = false\n")
    home = home_in(project)
    home.make()
    shutil.copy(ROOT / "deployments" / "policy-demo.toml", home.root / "policy.toml")
    write_source(home.root / "online.db")
    return home


def home_in(project: Path) -> Home:
    """Return the home beside the lab of ``project``."""
    root = project / ".pilotline"
    url = f"sqlite:///{root / 'registry.db'}"
    return Home(root, project / "lab", root / "blobs", root / "lake", url)


@pytest.fixture(scope="session")
def workshop(shared: Path, blank: Home, tier: Tier) -> Home:
    """Return a blank home after a first child ran, so that later ones start in a second."""
    return home_in(made_once(shared, "workshop", lambda folder: warm(blank, folder, tier)))


def warm(blank: Home, project: Path, tier: Tier) -> None:
    """Copy ``blank`` and run a child there; the copy keeps the bytecode that it compiled."""
    home = copy_home(blank, project)
    (home.root / "cache").unlink()
    script = b"import joblib, sklearn.compose, sklearn.ensemble, sklearn.pipeline\n"
    script += b"def load(folder):\n    return None\n"
    folder = load_model_folder(home.lab, MODEL)
    folder = replace(folder, files={**folder.files, "model.py": script})
    lock = folder.files["requirements.lock"]
    with (
        built_environment(home.scratch, MODEL, lock, walled=tier.walled) as environment,
        scoring_child(Room(home, environment, tier), folder, {}),
    ):
        pass


@pytest.fixture(scope="session")
def factory(shared: Path, workshop: Home, tier: Tier) -> Home:
    """Return a home with every day ingested and one version trained, verified and champion."""

    def make(project: Path) -> None:
        made = copy_home(workshop, project)
        for name in ("flights", "arrivals"):
            ingest(made, name, DAYS)
        release(made, tier, train(made, tier, TRAINED_UNTIL).number)

    return home_in(made_once(shared, "factory", make))


@pytest.fixture(scope="session")
def scored(shared: Path, factory: Home, tier: Tier) -> Home:
    """Return the factory after 14 to 22 January were scored, the 14th also as a shadow."""

    def make(project: Path) -> None:
        made = copy_home(factory, project)
        with made.open_registry() as registry:
            bundle = load_champion(registry, MODEL)
            for variant, days in (("production", DAYS[13:]), ("shadow/1.0.0", [DAY])):
                score_days(registry, made, tier, plan_job(bundle, variant, "score"), days, print)

    return home_in(made_once(shared, "scored", make))


@pytest.fixture
def scored_home(scored: Home, tmp_path: Path) -> Home:
    """Return a copy of the scored home that a test may change."""
    return copy_home(scored, tmp_path / "copy")


@pytest.fixture
def home(factory: Home, tmp_path: Path) -> Home:
    """Return a copy of the factory that a test may change."""
    return copy_home(factory, tmp_path / "copy")


@pytest.fixture
def fresh(blank: Home, tmp_path: Path) -> Home:
    """Return a copy of the project with nothing ingested."""
    return copy_home(blank, tmp_path / "copy")


def copy_home(home: Home, project: Path) -> Home:
    """Return a copy of ``home``'s project; compiled bytecode is shared, not copied.

    Several processes may compile at once: what is compiled appears whole or not at all.
    """
    own = home_in(project)
    # What others have in the scratch folder of a home that all share comes and goes.
    left_out = shutil.ignore_patterns("cache", "scratch")
    shutil.copytree(home.lab.parent, project, dirs_exist_ok=True, ignore=left_out)
    own.scratch.mkdir()
    (own.root / "cache").symlink_to(home.root / "cache")
    (home.root / "cache").mkdir(exist_ok=True)
    return own


@pytest.fixture
def registry(home: Home) -> Iterator[Registry]:
    """Return the open registry of ``home``."""
    with home.open_registry() as opened:
        yield opened


@pytest.fixture(scope="session")
def flights(blank: Home) -> Dataset:
    """Return the flights dataset of the lab."""
    return load_dataset(blank.lab, "flights")


@pytest.fixture(scope="session")
def validator(flights: Dataset) -> Validator:
    """Return the checks of the flights, set up once."""
    return Validator(flights)


@pytest.fixture
def job(registry: Registry) -> Job:
    """Return the job of scoring with the champion for production."""
    return plan_job(load_champion(registry, MODEL), "production", "score")


@pytest.fixture
def shadow_job(registry: Registry) -> Job:
    """Return the job of scoring with version 1.0.0 beside production."""
    with registry.read() as session:
        version = get_version(session, MODEL, "1.0.0")
    return plan_job(load_bundle(registry, version), "shadow/1.0.0", "score")


@pytest.fixture
def score(home: Home, registry: Registry, job: Job, tier: Tier) -> Score:
    """Return a function that scores days with the champion, or by the given job."""

    def scored(*days: date, job: Job = job) -> list[DayScored]:
        return score_days(registry, home, tier, job, days, print)

    return scored


@pytest.fixture
def change_model(job: Job) -> Callable[[str], Job]:
    """Return a function that gives the job with another ``model.py``, unknown to the registry."""
    return lambda script: with_script(job, script)


def with_script(job: Job, script: str) -> Job:
    """Return the job with another ``model.py``, which the registry does not know."""
    files = {**job.bundle.folder.files, "model.py": script.encode()}
    budget = replace(job.bundle.spec.budget, deadline_s=stretched(20.0))
    folder = replace(job.bundle.folder, files=files, spec=replace(job.bundle.spec, budget=budget))
    return replace(job, bundle=replace(job.bundle, folder=folder))


@pytest.fixture(scope="session")
def once_scored(shared: Path, factory: Home, tier: Tier) -> Home:
    """Return the factory after the 14th was scored, and nothing else."""

    def make(project: Path) -> None:
        with open_stage(copy_home(factory, project), tier) as stage:
            assert stage.score().state == "succeeded"

    return home_in(made_once(shared, "once-scored", make))


@pytest.fixture(scope="session")
def grown(shared: Path, once_scored: Home, tier: Tier) -> Home:
    """Return the same after the day that was scored grew by more than buffers hold."""

    def make(project: Path) -> None:
        home = copy_home(once_scored, project)
        with open_stage(home, tier) as stage:
            stage.add_rows()
        ingest(home, "flights", [DAY])

    return home_in(made_once(shared, "grown", make))


@pytest.fixture(scope="module")
def stage(grown: Home, tmp_path_factory: pytest.TempPathFactory, tier: Tier) -> Iterator[Stage]:
    """Return a home whose day was scored, and grew since; the tests of a file share it."""
    with open_stage(copy_home(grown, tmp_path_factory.mktemp("stage") / "copy"), tier) as stage:
        yield stage


@contextmanager
def open_stage(home: Home, tier: Tier) -> Iterator[Stage]:
    """Give the stage in a home with a champion."""
    with home.open_registry() as registry:
        job = plan_job(load_champion(registry, MODEL), "production", "score")
        yield Stage(home, registry, job, tier)
