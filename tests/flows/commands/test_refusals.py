"""Every refusal that needs no server, as one table: words typed, exit status, what is said.

Each message names the thing, what was expected or found, and what to do next. Nothing is printed
for programs, no server is started, and nothing is written.
"""

import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.flows.conftest import Demo, copy_home
from tests.support.commands import run_here
from tests.support.flows.refusals import check_refusal
from tests.support.places import ROOT

MODEL = "flight-delay"
HOSTILE = "\x1b[2J[red]calendar[/red]"  # clears a screen, marks up
SHOWN = "\\x1b[2J[red]calendar[/red]"
DECIDED = "--comment 'better in July'"
WHY = "--reason calendar"

Row = tuple[str, int, list[str]]

# Wrong use, told before there is a home.
NO_HOME: list[Row] = [
    ("nonsense", 2, ["Usage: pilotline", "No such command 'nonsense'"]),
    ("score flight-delay", 2, ["Usage: pilotline", "Missing option '--date'"]),
    ("score flight-delay --date yesterday", 2, ["'yesterday'", "expected YYYY-MM-DD"]),
    ("score flight-delay --date 2013-02-30", 2, ["'2013-02-30'", "expected YYYY-MM-DD"]),
    ("ingest flights --start 2013-02-01", 2, ["Usage: pilotline", "--start and --end"]),
    (
        "ingest flights --date 2013-02-01 --end 2013-02-02",
        2,
        ["Usage: pilotline", "Give --date, or --start and --end"],
    ),
    (
        "ingest flights --start 2013-02-16 --end 2013-02-15",
        2,
        ["2013-02-15 is before 2013-02-16", "Swap --start and --end"],
    ),
    (
        "backfill flight-delay --start 2013-02-01 --end 2013-02-02",
        2,
        ["Usage: pilotline", "Missing option '--using'"],
    ),
    (
        "backfill flight-delay --start 2013-02-02 --end 2013-02-01 --using as-of",
        2,
        ["2013-02-01 is before 2013-02-02", "Swap"],
    ),
    (
        "approve flight-delay 1.0.1 --gate review --by reviewer@example.org",
        2,
        ["Usage: pilotline", "Missing option '--comment'"],
    ),
    (
        f"approve flight-delay 1.0.1 --gate side-door --by reviewer@example.org {DECIDED}",
        2,
        ["Usage: pilotline", "'side-door' is not one of 'review', 'go-live'"],
    ),
    ("history flight-delay --at soon", 2, ["Usage: pilotline", "'soon'"]),
    ("lineage flight-delay --key x", 2, ["Give --date too"]),
    ("lineage flight-delay --digest x", 2, ["Give --date too"]),
    ("gc --grace-hours nan", 2, ["--grace-hours nan: expected 2 to 876,000 hours."]),
    ("gc --grace-hours 1e308", 2, ["--grace-hours 1e+308: expected 2 to 876,000 hours."]),
    ("gc --grace-hours -1", 2, ["--grace-hours -1: expected 2 to 876,000 hours."]),
    ("gc --grace-hours 0", 2, ["--grace-hours 0: expected 2 to 876,000 hours."]),
    ("gc --grace-hours inf", 2, ["--grace-hours inf: expected 2 to 876,000 hours."]),
    ("quarantine flights --release-row 1", 2, ["Give --date too"]),
    ("report x --start 2013-07-02 --end 2013-07-01", 2, ["2013-07-01 is before 2013-07-02"]),
    ("costs --by month", 2, ["'month' is not one of 'run', 'version', 'model', 'owner'"]),
    ("costs --start yesterday", 2, ["'yesterday' is no date"]),
    ("costs --start 2026-02-01 --end 2026-01-01", 2, ["Swap --start and --end."]),
    ("deprecate flight-delay 1.0.1", 2, ["Missing option '--reason'"]),
    ("deprecate flight-delay 1.0.1 --reason ' '", 2, ["it is empty; say why"]),
    ("revoke flight-delay", 2, ["Missing argument 'VERSION'"]),
    ("rollback flight-delay --reason TEXT", 2, ["write your own words"]),
    ("alias flight-delay kept", 2, ["Give VERSION, or --remove"]),
    ("alias flight-delay kept 1.0.1 --remove", 2, ["Give VERSION, or --remove"]),
    ("split start flight-delay 1.0.1 --share 0.1", 2, ["Missing option '--reason'"]),
    ("approvers add x@example.org --by y@example.org", 2, ["Give --by and --code together"]),
    ("export flight-delay", 2, ["Missing option '--out'"]),
    ("export flight-delay --out new.zip", 2, ["'new.zip'", ".tar or .tar.gz"]),
    ("import nothing.tar", 2, ["does not exist"]),
    ("audit verify --head 0000", 2, ["'0000' is no head", "64 characters"]),
    ("search --metric roc_auc>>1", 2, ["--metric"]),
    ("search --metric roc_auc", 2, ["--metric"]),
    ("search --metric 'roc_auc>=nan'", 2, ["--metric"]),
    ("search --status aproved", 2, ["'aproved' is not one of 'registered', 'approved'"]),
    ("search --sort colour", 2, ["'colour' is not one of"]),
    ("search --page 0", 2, ["--page"]),
    ("search --limit 100000", 2, ["--limit"]),
    ("search one two", 2, ["unexpected extra argument"]),
]

KNOWN = "known: flight-delay"
DAY = "--date 2013-02-01"
RANGE = "--start 2013-02-01 --end 2013-02-02"
NUMBERS = "its versions: 1.0.0, 1.0.1"
# What the record or the lab says no to; {folder} is an empty folder, but for a there.tar.
DEMO_HOME: list[Row] = [
    ("show nope@champion", 1, ["'nope'", KNOWN, "pilotline train nope"]),
    ("history nope", 1, ["'nope'", KNOWN, "pilotline models"]),
    (f"trace nope {DAY} --key UA,1,EWR", 1, ["'nope'", KNOWN]),
    (f"score nope {DAY}", 1, ["'nope'", KNOWN]),
    (f"monitor nope {DAY}", 1, ["'nope'", KNOWN]),
    ("verify nope 1.0.0", 1, ["'nope'", KNOWN]),
    (f"backfill nope {RANGE} --using champion", 1, ["'nope'", KNOWN]),
    ("report churn", 1, ["'churn'"]),
    ("costs churn", 1, ["Error: No model 'churn' is registered"]),
    ("split show churn", 1, ["'churn'"]),
    (f"rollback nope {WHY}", 1, [KNOWN]),
    (f"deprecate nope 1.0.1 {WHY}", 1, [KNOWN]),
    (f"deprecate '{HOSTILE}' 1.0.1 {WHY}", 1, [SHOWN]),
    ("consumers add nope x --contact x@example.org", 1, ["'nope'", KNOWN]),
    ("consumers list nope", 1, ["'nope'", KNOWN]),
    ("export nope --out {folder}/new.tar", 1, ["'nope'", KNOWN]),
    ("export 'No Such' --out {folder}/new.tar", 1, ["'No Such'"]),
    ("train nope", 1, ["'nope'", KNOWN, "lab/models/nope/"]),
    ("train 'No Such'", 1, ["'No Such'", "expected 1 to 63", "Rename"]),
    (f"ingest nope {DAY}", 1, ["'nope'", "arrivals, flights", "lab/datasets/nope/"]),
    (f"ingest ../models {DAY}", 1, ["'../models'", "expected 1 to 63"]),
    ("quarantine planes", 1, ["Error: No dataset 'planes' in the lab"]),
    ("quarantine flights --date 2014-01-01", 1, ["has no partition 2014-01-01"]),
    ("show flight-delay@9.9.9", 1, ["'9.9.9'", "1.0.0, 1.0.1", "pilotline show flight-delay"]),
    ("show flight-delay@nickname", 1, ["'nickname'", "1.0.0, 1.0.1"]),
    (
        "show flight-delay@as-of:2012-12-31",
        1,
        ["had no champion on", "its first was 1.0.0"],
    ),
    ("show flight-delay@as-of:foo", 1, ["'foo' is no date", "as-of:YYYY-MM-DD"]),
    ("show 'flight delay'", 1, ["'flight delay'", "made of a-z", "pilotline models"]),
    ("history flight-delay@champion", 1, [KNOWN, "Give the model alone"]),
    ("release flight-delay 9.9.9", 1, ["'9.9.9'", "1.0.0, 1.0.1"]),
    ("verify flight-delay 9.9.9", 1, ["'9.9.9'", "1.0.0, 1.0.1"]),
    (f"score flight-delay {DAY} --shadow 9.9.9", 1, ["'9.9.9'", "1.0.0, 1.0.1"]),
    (f"backfill flight-delay {RANGE} --using 9.9.9", 1, ["'9.9.9'", "1.0.0, 1.0.1"]),
    (
        f"backfill flight-delay {RANGE} --using 1.0.1",
        1,
        ["1.0.1", "never champion", "--shadow 1.0.1"],
    ),
    (
        "score flight-delay --date 2013-12-24",
        1,
        ["2013-12-24", "2013-01-01 to 2013-07-21", "pilotline ingest flights"],
    ),
    (
        f"trace flight-delay {DAY} --key carrier=UA,flight=1",
        1,
        ["'carrier=UA,flight=1'", "carrier, flight, origin", "Write carrier=..."],
    ),
    (
        f"trace flight-delay {DAY} --key UA,many,EWR",
        1,
        ["'UA,many,EWR'", "'many'", "int64", "Check"],
    ),
    (
        "trace flight-delay --date 2013-12-24 --key UA,1,EWR",
        1,
        ["2013-12-24", "UA,1,EWR", "pilotline score flight-delay --date 2013-12-24"],
    ),
    ("lineage churn", 1, ["no model, dataset or run on record is called that"]),
    ("lineage flights", 1, ["Give --date"]),
    ("lineage 20130201-0123456789ab", 1, ["No run '20130201-0123456789ab' is recorded."]),
    (f"lineage flights {DAY} --digest no", 1, ["expected the beginning of one"]),
    ("replay 20130201-0123456789ab", 1, ["No run '20130201-0123456789ab' is recorded."]),
    (
        f"approve flight-delay 1.0.1 --gate review --by author@example.org {DECIDED}",
        1,
        ["'review'", "'flight-delay' 1.0.1", "'author@example.org'", "author", "somebody else"],
    ),
    (
        f"approve flight-delay 1.0.1 --gate review --by Author@Example.org {DECIDED}",
        1,
        ["'review'", "'flight-delay' 1.0.1", "'Author@Example.org'", "author", "somebody else"],
    ),
    (
        f"approve flight-delay 1.0.1 --gate review --by operations@example.org {DECIDED}",
        1,
        ["'review'", "'flight-delay' 1.0.1", "no approver here", "reviewer@example.org"],
    ),
    (
        f"approve flight-delay 1.0.1 --gate go-live --by operations@example.org {DECIDED}",
        1,
        ["'go-live'", "'flight-delay' 1.0.1", "the review has not approved it", "release"],
    ),
    (f"archive flight-delay 1.0.1 {WHY} --by me --code 123456", 1, ["names only"]),
    (f"archive flight-delay 1.0.0 {WHY}", 1, ["is champion", "Promote another one"]),
    (f"revoke flight-delay 9.9.9 {WHY}", 1, [NUMBERS]),
    (f"deprecate flight-delay '{HOSTILE}' {WHY}", 1, [NUMBERS]),
    (f"rollback flight-delay {WHY}", 1, ["1.0.0"]),  # the first champion has none before it
    ("alias flight-delay champion 1.0.1", 1, ["pilotline release"]),
    ("alias flight-delay champion --remove", 1, ["pilotline release"]),
    ("alias flight-delay 'No Name' 1.0.1", 1, ["expected 1 to 63"]),
    ("alias flight-delay kept 9.9.9", 1, [NUMBERS]),
    ("alias flight-delay kept --remove", 1, ["no such alias"]),
    (f"alias flight-delay '{HOSTILE}' 1.0.1", 1, ["expected 1 to 63"]),
    (f"split start flight-delay 9.0.0 --share 0.1 {WHY}", 1, ["9.0.0"]),
    (f"split start flight-delay 1.0.0 --share 0.1 {WHY}", 1, ["1.0.0 is the champion"]),
    (f"split start flight-delay 1.0.1 --share 0.1 {WHY}", 1, ["is registered, not approved"]),
    (
        f"split start flight-delay 1.0.1 --share all {WHY}",
        1,
        ["Share 'all': expected a number above 0"],
    ),
    *(
        (
            f"split {verb} {WHY}",
            1,
            [
                "Error: Split of 'flight-delay': there is none: the champion scores every row. "
                "Start one with 'pilotline split start flight-delay VERSION --share 0.1'.\n"
            ],
        )
        for verb in (
            *("upgrade flight-delay --share 0.2", "downgrade flight-delay --share 0.2"),
            "stop flight-delay",
        )
    ),
    ("approvers add x@example.org", 1, ["PILOTLINE_APPROVAL_KEY is not set", "approvers key"]),
    ("consumers add flight-delay x --contact slack", 1, ["no mail address", "env:NAME"]),
    ("consumers add flight-delay x --contact json://[", 1, ["no mail address", "env:NAME"]),
    ("consumers add flight-delay x --contact json://me:word@host/", 1, ["no mail address"]),
    (
        "consumers add flight-delay x --contact x@example.org --needs one",
        1,
        ["'one' is no constraint", "~=1.2"],
    ),
    (
        "consumers add flight-delay '\x1b[2J' --contact x@example.org",
        1,
        ["no name", "printable"],
    ),
    ("consumers remove flight-delay nobody", 1, ["'nobody'", "consumers: nobody"]),
    (
        "export flight-delay --out {folder}/there.tar",
        1,
        ["Output", "exists already", "--out"],
    ),
    ("export flight-delay --out /dev/null/x.tar", 1, ["cannot be written", "/dev/null"]),
    ("import {folder}/there.tar", 1, ["refused", "Nothing was imported"]),
    (f"audit verify --head {'0' * 64}", 1, ["no chain holds it", "0" * 12]),
    (
        "search --metric 'foo>1'",
        2,
        ["No model has a metric 'foo'; known: brier, brier_skill, roc_auc."],
    ),
    (
        "history flight-delay --at 2000-01-01T00:00+00:00",
        1,
        ["had no champion on 2000-01-01T00:00+00:00: its first was 1.0.0, from "],
    ),
    (
        "history flight-delay --at 2000-01-01",
        1,
        ["on 2000-01-01 (the end of that day, "],
    ),
]


def named(row: Row) -> str:
    """Return the words of a row as a test is called."""
    return row[0].replace("\x1b", "ESC")


def everything_in(home: Path) -> dict[str, Any]:
    """Return what lies in a home: of each file its size and when it was written.

    Of the blobs, whose files copies share, the names alone; of compiled bytecode nothing.
    """
    found: dict[str, Any] = {}
    for place in home.iterdir() if home.exists() else ():
        for path in (place, *(place.rglob("*") if place.name != "cache" else ())):
            facts = path.lstat()
            what = () if place.name == "blobs" else (facts.st_size, facts.st_mtime_ns)
            found[str(path.relative_to(home))] = what
    return found


@pytest.fixture(scope="module")
def home(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a copy of the demo's home in which nothing but this file's refusals happens."""
    copy = copy_home(demo.home, tmp_path_factory.mktemp("refusals") / "home")
    yield copy
    shutil.rmtree(copy)


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """Return a copy of the lab that a test may spoil."""
    return Path(shutil.copytree(ROOT / "lab", tmp_path / "lab"))


@pytest.mark.parametrize("row", NO_HOME, ids=named)
def test_wrong_use_is_told_and_makes_no_home(row: Row, tmp_path: Path) -> None:
    words, status, needed = row
    check_refusal(run_here(tmp_path / "home", *shlex.split(words)), status, *needed)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("row", DEMO_HOME, ids=named)
def test_what_the_record_says_no_to_is_told_and_not_done(
    row: Row, home: Path, tmp_path: Path
) -> None:
    words, status, needed = row
    (tmp_path / "there.tar").write_bytes(b"this is no archive")
    before = everything_in(home)
    typed = shlex.split(words.replace("{folder}", str(tmp_path)))
    check_refusal(run_here(home, *typed), status, *needed)
    assert everything_in(home) == before
    assert [path.name for path in tmp_path.iterdir()] == ["there.tar"]


def test_what_a_command_writes_is_seen(record: Path) -> None:
    for words in ("alias flight-delay kept 1.0.1", "report flight-delay"):
        before = everything_in(record)
        done = run_here(record, *shlex.split(words))
        assert done.status == 0, done.err
        assert everything_in(record) != before


@pytest.mark.parametrize(
    "place",
    ["/dev/null/home", "/proc/pilotline"],  # a file is no folder; nobody writes there, root neither
)
@pytest.mark.parametrize(
    "words",
    [
        "models",
        "demo",
        f"ingest flights {DAY}",
        "train flight-delay",
        f"score flight-delay {DAY}",
        "approve flight-delay 1.0.0 --gate review --by x@example.org --comment y",
    ],
)
def test_a_home_that_cannot_be_written_is_told(words: str, place: str) -> None:
    check_refusal(run_here(Path(place), *shlex.split(words)), 1, place, "PILOTLINE_HOME")


def edit(name: str, before: str, after: str) -> Callable[[Path], None]:
    """Return what replaces some text in a file of the lab."""

    def edited(lab: Path) -> None:
        path = lab / name
        text = path.read_text("utf-8")
        assert before in text
        path.write_text(text.replace(before, after), "utf-8")

    return edited


def remove(name: str) -> Callable[[Path], None]:
    """Return what removes a file of the lab."""
    return lambda lab: (lab / name).unlink()


def write(name: str, text: str) -> Callable[[Path], None]:
    """Return what replaces a file of the lab."""

    def written(lab: Path) -> None:
        assert (lab / name).exists()
        (lab / name).write_text(text, "utf-8")

    return written


FOLDER = "models/flight-delay"
CHECKS = "datasets/flights/expectations.json"
TRAIN, INGEST = "train flight-delay", "ingest flights --date 2013-02-15"
PINNED = "numpy>=2,<3"
# A lab that somebody changed, and what is then refused.
CHANGED_LAB: dict[str, tuple[Callable[[Path], None], str, list[str]]] = {
    "no lock": (
        remove(f"{FOLDER}/requirements.lock"),
        TRAIN,
        ["requirements.lock", "missing", "uv pip compile"],
    ),
    "no toml": (remove(f"{FOLDER}/model.toml"), TRAIN, ["model.toml", "missing"]),
    "no script": (remove(f"{FOLDER}/model.py"), TRAIN, ["model.py", "missing", "train and"]),
    "no card": (remove(f"{FOLDER}/README.md"), TRAIN, ["README.md", "missing", "model card"]),
    "lock pins less": (
        edit(f"{FOLDER}/model.py", f'"{PINNED}"', f'"{PINNED}",\n#     "polars>=1"'),
        TRAIN,
        ["requirements.lock", "stale", "'polars>=1'", "uv pip compile"],
    ),
    "lock is older": (
        edit(f"{FOLDER}/model.py", PINNED, "numpy>=99"),
        TRAIN,
        ["requirements.lock", "stale", "'numpy>=99'", "uv pip compile"],
    ),
    "syntax": (
        edit(f"{FOLDER}/model.py", "def predict(", "def broken(:\n\n\ndef predict("),
        TRAIN,
        ["model.py", "syntax error in line", "Mend the line"],
    ),
    "no expectations": (write(CHECKS, ""), INGEST, [CHECKS]),
    "an empty object": (write(CHECKS, "{}"), INGEST, [CHECKS]),
    "an empty list": (write(CHECKS, '{"expectations": []}'), INGEST, [CHECKS]),
}


@pytest.mark.parametrize("changed", CHANGED_LAB)
def test_a_lab_that_cannot_be_used_is_told_at_once(changed: str, home: Path, lab: Path) -> None:
    spoil, words, needed = CHANGED_LAB[changed]
    spoil(lab)
    before = everything_in(home)
    done = run_here(home, *words.split(), settings={"PILOTLINE_LAB": str(lab)})
    check_refusal(done, 1, f"lab/{FOLDER if words == TRAIN else CHECKS}", *needed)
    assert everything_in(home) == before
