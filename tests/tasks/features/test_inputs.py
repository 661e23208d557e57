"""A model of several inputs, from training to replay, with real children."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from pilotline.registry import Registry
from pilotline.registry.audit.auditing import audit
from pilotline.registry.form.errors import VersionUnfitError
from pilotline.registry.record.versions import get_version, learned_from
from pilotline.registry.runs.runs import inputs_of
from pilotline.tasks.errors import InputRefusedError, ShardError
from pilotline.tasks.explain.lineage import Question, trace_lineage
from pilotline.tasks.explain.replaying import replay_run
from pilotline.tasks.explain.tracing import trace_prediction
from pilotline.tasks.features.inputs import choose_inputs, list_empty, read_joined
from pilotline.tasks.home import Home
from pilotline.tasks.lab.bundle import load_bundle, load_champion
from pilotline.tasks.lab.models import load_model_folder
from pilotline.tasks.lab.policy import ScoringRules
from pilotline.tasks.lake import tables as lake
from pilotline.tasks.monitor.actuals import read_predictions
from pilotline.tasks.sandbox.walls import Tier
from pilotline.tasks.score.days import DayScored, score_days
from pilotline.tasks.score.job import Job, plan_job, plan_split
from pilotline.tasks.score.plan import plan_backfill
from pilotline.tasks.score.shards.cuts import Part, PartDone
from pilotline.tasks.score.shards.part import score_part
from pilotline.tasks.train.contents import Request
from pilotline.tasks.train.training import train_version
from tests.conftest import local
from tests.support.tasks.further import WET, add_model, add_weather, degrees, expect
from tests.tasks.conftest import DAYS, TRAINED_UNTIL, copy_home, ingest, release_model

DAY = date(2013, 1, 14)
BEFORE = DAY - timedelta(days=1)


@pytest.fixture(scope="module")
def wet(workshop: Home, tmp_path_factory: pytest.TempPathFactory, tier: Tier) -> Home:
    """Return a home whose champion of two inputs scored a day."""
    home = copy_home(workshop, tmp_path_factory.mktemp("wet") / "copy")
    add_weather(home)
    add_model(home)
    ingest(home, "flights", DAYS[:15])
    ingest(home, "arrivals", DAYS[:13])
    ingest(home, "weather", DAYS)
    with home.open_registry() as registry:
        request = Request(load_model_folder(home.lab, WET), TRAINED_UNTIL, "", None, None)
        trained = train_version(registry, home, tier, request, print)
    release_model(home, tier, WET, trained.number)
    with home.open_registry() as registry:
        (done,) = score(home, registry, tier)
        assert done.state == "succeeded", done.reason
    return home


@pytest.fixture
def home(wet: Home, tmp_path: Path) -> Home:
    """Return a copy that a test may change."""
    return copy_home(wet, tmp_path / "copy")


@pytest.fixture
def job(registry: Registry) -> Job:
    """Return the job of scoring with the champion."""
    return plan_job(load_champion(registry, WET), "production", "score")


def score(home: Home, registry: Registry, tier: Tier, day: date = DAY) -> list[DayScored]:
    """Score a day with the champion."""
    job = plan_job(load_champion(registry, WET), "production", "score")
    return score_days(registry, home, tier, job, [day], print)


def shown(home: Home, job: Job, day: date = DAY) -> list[tuple[float, float]]:
    """Return predicted and expected chances of a day, flight by flight."""
    said = {
        (row["carrier"], row["flight"], row["origin"]): row["probability"]
        for row in read_predictions(home, job, "production", day).to_pylist()
    }
    with closing(sqlite3.connect(home.root / "online.db")) as database:
        flights = database.execute(
            "select carrier, flight, origin, hour from flights where flight_date = ?",
            (day.isoformat(),),
        ).fetchall()
    return [(said[row[:3]], expect(day, row[2], row[3])) for row in flights]


def warm(home: Home, day: date) -> None:
    """Let the source say another temperature for Newark, and ingest it."""
    with closing(sqlite3.connect(home.root / "online.db")) as database, database:
        database.execute(
            "update weather set temp = 900 where weather_date = ? and origin = 'EWR'",
            (day.isoformat(),),
        )
    ingest(home, "weather", [day])


def test_each_flight_is_scored_with_the_newest_weather_of_the_days_before(
    home: Home, job: Job
) -> None:
    pairs = shown(home, job)
    assert len(pairs) == 100
    assert all(abs(said - wanted) < 1e-12 for said, wanted in pairs)
    assert (
        len({round(wanted, 6) for _, wanted in pairs}) == 6
    )  # three airports, two halves of a day


def test_a_run_and_a_version_say_which_days_they_joined(
    home: Home, registry: Registry, job: Job
) -> None:
    (run_id,) = set(read_predictions(home, job, "production", DAY)["run_id"].to_pylist())
    with registry.read() as session:
        read = inputs_of(session, [run_id])
        assert [(one.dataset, one.date) for one in read] == [
            ("weather", DAY - timedelta(days=back)) for back in (3, 2, 1)
        ]
        learned = [i for i in learned_from(session, job.bundle.version) if i.use == "joined"]
    assert [item.date for item in learned] == DAYS[:12]  # never the 13th, the last day held out
    said = job.bundle.json("data.json")["joined"]["weather"]
    assert {day: facts["digest"] for day, facts in said.items()} == {
        item.date.isoformat(): item.partition_digest for item in learned
    }
    assert audit(registry).versions == 1


def test_the_contract_holds_joined_features_as_ones_that_may_be_missing(job: Job) -> None:
    contract = job.bundle.json("contract.json")
    assert contract["inputs"]["weather.temp"] == {"type": "float64", "nullable": True}
    assert contract["joins"]["weather"] == {
        "on": {"origin": "string"},
        "date": "weather_date",
        "key": ["weather_date", "origin"],
        "lag_days": 1,
        "max_age_days": 2,
    }


def test_a_day_is_replayed_from_the_weather_that_it_read(
    home: Home, registry: Registry, job: Job, tier: Tier
) -> None:
    (run_id,) = set(read_predictions(home, job, "production", DAY)["run_id"].to_pylist())
    warm(home, BEFORE)
    again = replay_run(registry, home, tier, run_id, print)
    assert (again.equal, again.figures.recorded) == (True, 100)


def test_weather_that_came_later_or_was_corrected_makes_a_day_stale(
    home: Home, registry: Registry, job: Job, tier: Tier
) -> None:
    def states() -> list[tuple[str, str]]:
        plan = plan_backfill(registry, WET, "flights", DAY, DAY, "champion")
        return [(one.state, one.reason) for one in plan]

    assert states() == [("done", "")]
    warm(home, DAY)  # the flight's own day, which it must not see
    assert states() == [("done", "")]
    assert score(home, registry, tier)[0].state == "unchanged"
    warm(home, BEFORE)
    assert states() == [("stale", "weather changed since")]
    assert score(home, registry, tier)[0].state == "succeeded"
    newark = {said for said, wanted in shown(home, job) if abs(said - wanted) > 1e-9}
    assert {round(said % 0.6, 9) for said in newark} == {0.19}  # 0.1 and 900 degrees
    assert states() == [("done", "")]


def test_a_trace_shows_what_was_joined(home: Home, registry: Registry) -> None:
    row = trace_prediction(registry, home, WET, DAY, _key(home))
    assert row["input"]["weather.temp"] == degrees(BEFORE, "EWR")
    assert [one["date"] for one in row["joined"]] == ["2013-01-11", "2013-01-12", "2013-01-13"]
    assert {one["dataset"] for one in row["joined"]} == {"weather"}


def _key(home: Home) -> str:
    with closing(sqlite3.connect(home.root / "online.db")) as database:
        found = database.execute(
            "select carrier, flight from flights where flight_date = ? and origin = 'EWR'",
            (DAY.isoformat(),),
        ).fetchone()
    return f"carrier={found[0]},flight={found[1]},origin=EWR"


def test_a_lineage_of_the_weather_leads_to_the_run_that_joined_it(
    home: Home, registry: Registry, job: Job
) -> None:
    traced = trace_lineage(registry, home, Question("weather", BEFORE))
    (known,) = traced.lineage.runs
    assert (known.row.dataset, known.row.date) == ("flights", DAY)
    assert [read.date for read in known.inputs] == DAYS[10:13]
    learned = trace_lineage(registry, home, Question("weather", DAYS[0])).lineage
    assert [version.row.number for version in learned.versions.values()] == ["1.0.0"]


def test_weather_whose_files_are_damaged_is_not_joined(
    home: Home, registry: Registry, tier: Tier
) -> None:
    ingest(home, "flights", [DAY])
    for file in local(lake.accepted_path(home.lake, "weather")).glob("weather_date=2013-01-13/*"):
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
    warm(home, DAY - timedelta(days=3))
    (done,) = score(home, registry, tier)
    assert done.state == "failed"
    assert "the data files of 2013-01-13 are not what was ingested" in done.reason


def test_a_window_without_any_weather_is_said_in_words(registry: Registry, job: Job) -> None:
    with registry.read() as session:
        assert list_empty(session, job.joins, DAY) == []
        assert list_empty(session, job.joins, date(2013, 3, 1)) == [
            "weather has no day from 2013-02-26 to 2013-02-28 (2013-01-01 to 2013-01-22, 22 days): "
            "its features are empty on 2013-03-01"
        ]


class Alone:
    """Scores the parts of a day one after the other, in this process."""

    def __init__(self, home: Home, registry: Registry) -> None:
        self.rules = ScoringRules(workers=2, shard_rows=1)
        self._home, self._registry = home, registry

    def score(self, run_id: str, parts: Sequence[Part]) -> list[PartDone | ShardError]:
        """Return what became of each part."""
        return [
            score_part(self._registry, self._home, run_id, index, part)
            for index, part in enumerate(parts)
        ]


def test_parts_of_a_day_are_joined_like_the_whole(
    home: Home, registry: Registry, job: Job, tier: Tier
) -> None:
    whole = shown(home, job)
    warm(home, DAY - timedelta(days=3))  # stale, though no flight's answer changes
    crew = Alone(home, registry)
    (done,) = score_days(registry, home, tier, job, [DAY], print, crew)
    assert done.state == "succeeded", done.reason
    assert shown(home, job) == whole


def test_two_rows_of_an_airport_on_one_day_are_refused_by_name(
    home: Home, registry: Registry, job: Job
) -> None:
    config = home.lab / "datasets" / "weather" / "dataset.toml"
    changed = config.read_text().replace('key = ["weather_date", "origin"]', 'key = ["temp"]')
    config.write_text(changed)
    with closing(sqlite3.connect(home.root / "online.db")) as database, database:
        database.execute("insert into weather values ('2013-01-13', 'JFK', 77.0)")
    ingest(home, "weather", [BEFORE])
    reads = choose_inputs(registry, home, job.joins, [DAY])
    said = r"^Input 'weather': 2 rows of 2013-01-13 have origin=JFK\. Which one"
    with pytest.raises(InputRefusedError, match=said):
        read_joined(registry, home, job.joins, reads, "flight_date")


def test_training_again_learns_the_same_whatever_came_after(
    home: Home, registry: Registry, tier: Tier
) -> None:
    warm(home, TRAINED_UNTIL)  # the last held-out day itself, which no row may see
    request = Request(load_model_folder(home.lab, WET), TRAINED_UNTIL, "", None, None)
    again = train_version(registry, home, tier, request, print)
    assert (again.number, again.new) == ("1.0.0", False)


def test_a_champion_that_joins_otherwise_is_judged_on_its_own_rows(
    home: Home, registry: Registry, tier: Tier
) -> None:
    config = home.lab / "models" / WET / "model.toml"
    config.write_text(config.read_text().replace("lag_days = 1\nmax", "lag_days = 2\nmax"))
    champion = load_champion(registry, WET)
    request = Request(load_model_folder(home.lab, WET), TRAINED_UNTIL, "", champion, champion)
    trained = train_version(registry, home, tier, request, print)
    theirs = champion.json("evaluation.json")["metrics"]
    names = ("roc_auc", "brier_skill")
    assert trained.champion is not None
    assert trained.champion["version"] == "1.0.0"
    assert all(trained.champion["metrics"][name] == theirs[name] for name in names)
    assert trained.metrics["brier_skill"] != theirs["brier_skill"]
    with registry.read() as session:
        second = load_bundle(registry, get_version(session, WET, trained.number))
    said = r"joins 'weather' otherwise than 1\.0\.0\. It cannot share its rows"
    with pytest.raises(VersionUnfitError, match=said):
        plan_split(champion, second, Decimal("0.5"), "score")
