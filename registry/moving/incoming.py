"""A staged export, decoded and checked against itself; no database is asked, nothing is run."""

import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from packaging.specifiers import SpecifierSet
from packaging.utils import parse_wheel_filename

from pilotline.registry.blobs import DIGEST
from pilotline.registry.consumers import is_contact
from pilotline.registry.form import (
    ImportRefusedError,
    NameRefusedError,
    check_name,
    decode_strictly,
)
from pilotline.registry.gates import Approval, approval_digest
from pilotline.registry.moving.archive import INDEX, Caps, Staged, refusal
from pilotline.registry.moving.exporting import FORMAT
from pilotline.registry.moving.records import LATER_TABLES, TABLES, Record, decode_record
from pilotline.registry.record import (
    NEEDED,
    PARTS,
    ROLES,
    Event,
    LockedPackage,
    Manifest,
    RegisteredModel,
    Wheel,
    check_form,
    decode_manifest,
    first_misfit,
    is_locked,
    read_lock,
)
from pilotline.registry.store import now

RUN = re.compile(r"\d{8}-[0-9a-f]{12}")  # what claim_partition names a run
VARIANT = re.compile(r"production|shadow/\d+\.\d+\.\d+")
WHEEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+!-]*\.whl")  # a file's name, never a path
LARGEST = 1_000_000  # no version or epoch comes so far; the next must fit its column as well
MOMENTS = (datetime(1970, 1, 1, tzinfo=UTC), timedelta(days=1))  # from then until so far from now
DAYS = (date(1000, 1, 1), date(2999, 12, 31))  # a day more or another zone must stay a date
VERIFIED = ("version", "passed", "summary", "platform", "isolation")


@dataclass(frozen=True)
class Incoming:
    """A checked export."""

    staged: Staged
    model: Record
    rows: dict[str, list[Record]]  # by table; references are names
    head: tuple[int, str]
    wheels: list[Record]

    @property
    def name(self) -> str:
        """The model."""
        name: str = self.model["name"]
        return name


def read_incoming(staged: Staged, caps: Caps) -> Incoming:
    """Return what ``staged`` holds if it agrees with itself in every part.

    Raises:
        ImportRefusedError: it does not; the first fault, by name.
    """
    try:
        index = decode_strictly(staged.read(INDEX, caps.json_bytes))
        incoming = _decode(staged, index)
        _check_names(incoming)
        _check_amounts(incoming)
        bodies = _check_chain(incoming)
        _check_evidence(incoming, bodies)
        _check_blobs(incoming, index["blobs"], caps)
    except ImportRefusedError:
        raise
    # A chain may hold any JSON: a fact that is not there, or not of its kind, is a fault as well.
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as err:
        raise refusal(staged.source, f"{INDEX!r}: {err}") from err
    return incoming


def _decode(staged: Staged, index: Any) -> Incoming:
    keys = {"format", "model", "head", "blobs", *TABLES}
    if (
        not isinstance(index, dict)
        or index.get("format") != FORMAT
        or set(index) - {"wheels"} - LATER_TABLES != keys - LATER_TABLES
    ):
        raise ValueError(f"expected format {FORMAT!r} with exactly its keys")
    rows: dict[str, list[Record]] = {}
    for name, table in TABLES.items():
        rows[name] = []
        for number, record in enumerate(index.get(name, [])):
            try:
                rows[name].append(decode_record(table, record))
            except ValueError as err:
                raise ValueError(f"{name} {number}: {err}") from err
    head = (index["head"]["seq"], index["head"]["hash"])
    model = decode_record(RegisteredModel, index["model"])
    wheels = [decode_record(Wheel, record) for record in index.get("wheels", [])]
    return Incoming(staged, model, rows, head, wheels)


def _check_names(incoming: Incoming) -> None:
    rows = incoming.rows
    names = [incoming.name, *(row["dataset"] for row in rows["training_partitions"])]
    names += [row["dataset"] for table in ("runs", "run_inputs") for row in rows[table]]
    for name in names:
        try:
            check_name(name.removeprefix("predictions/"))
        except NameRefusedError as err:
            raise ValueError(str(err)) from err
    for run in rows["runs"]:
        if not RUN.fullmatch(run["id"]):
            raise ValueError(f"{run['id']!r} is no run's id")
        if not VARIANT.fullmatch(run["variant"]):
            raise ValueError(f"{run['variant']!r} is no variant")
    people = [incoming.model["owner"], *(row["author"] for row in rows["versions"])]
    for text in (*people, *(row["name"] for row in rows["consumers"])):
        if not text.isprintable():
            raise ValueError(f"{text!r} is no name")
    lists = [incoming.model["tags"], *(row["features"] for row in rows["versions"])]
    if not all(isinstance(item, str) for text in lists for item in _list(text)):
        raise ValueError("expected tags and features as lists of texts")
    for consumer in rows["consumers"]:
        SpecifierSet(consumer["needs"])
        if not is_contact(consumer["contact"]):  # no message may go where a stranger says
            raise ValueError("a consumer's contact is no mail address, no web hook and no variable")


def _check_amounts(incoming: Incoming) -> None:
    """Look that what comes next, and what is shown, stays within its bounds."""
    latest = now() + MOMENTS[1]
    for name, rows in {**incoming.rows, "model": [incoming.model]}.items():
        for key, value in (pair for row in rows for pair in row.items()):
            numbered = (name, key) == ("runs", "epoch") or key in PARTS
            wrong = numbered and value > LARGEST
            if isinstance(value, datetime):
                wrong = not MOMENTS[0] <= value <= latest
            elif isinstance(value, date):
                wrong = not DAYS[0] <= value <= DAYS[1]
            if wrong:
                raise ValueError(f"{name}: {key} {value} is out of all bounds")


def _list(text: str) -> list[Any]:
    value = json.loads(text)
    if not isinstance(value, list):
        raise TypeError(f"expected a list, got {type(value).__name__}")
    return value


def _check_chain(incoming: Incoming) -> list[tuple[Record, Record]]:
    """Return each event and its facts, if the chain verifies to its head."""
    events = incoming.rows["events"]
    wrong = first_misfit(Event(**event) for event in events)
    if wrong is not None:
        raise ValueError(f"event {wrong} does not fit the chain: it is missing, edited or moved")
    if not events or (events[-1]["seq"], events[-1]["hash"]) != incoming.head:
        raise ValueError("the chain does not end with its head: it was cut")
    if {event["chain"] for event in events} != {incoming.name}:
        raise ValueError(f"an event is not of {incoming.name!r}")
    bodies = [(event, decode_strictly(event["body"].encode())) for event in events]
    if not all(isinstance(facts, dict) for _, facts in bodies):
        raise ValueError("an event's body is no JSON object")
    return bodies


def _check_evidence(incoming: Incoming, bodies: list[tuple[Record, Record]]) -> None:
    """Compare with the events what must not be had without one."""
    rows = incoming.rows
    numbers = [(_number(row), row["digest"]) for row in rows["versions"]]
    told = [(f["version"], f["digest"]) for e, f in bodies if e["kind"] == "registered"]
    _same("versions", numbers, told)
    _same("statuses", (row["version"] for row in rows["statuses"]), (n for n, _ in numbers))
    given = []
    for row in rows["approvals"]:
        facts = {name: value for name, value in row.items() if name != "version"}
        given.append((row["version"], row["manifest_digest"], approval_digest(Approval(**facts))))
    decided = [(f["version"], f["digest"], f["approval"]) for _, f in bodies if "approval" in f]
    _same("approvals", given, decided)
    promoted = [(e, f) for e, f in bodies if e["kind"] == "promoted"]
    used = [(a["approval"], e["seq"]) for e, f in promoted for a in f["approvals"]]
    _same("uses of approvals", ((r["approval"], r["event"]) for r in rows["approval_uses"]), used)
    verified = [
        (*(f[name] for name in VERIFIED), f["report"]) for e, f in bodies if e["kind"] == "verified"
    ]
    found = [
        (*(row[name] for name in VERIFIED), row["report_digest"]) for row in rows["verifications"]
    ]
    _same("verifications", found, verified)


def _same(what: str, present: Iterable[object], told: Iterable[object]) -> None:
    if Counter(present) != Counter(told):
        raise ValueError(f"{what}: the events say something else than the rows")


def _number(row: Record) -> str:
    return f"{row['major']}.{row['minor']}.{row['patch']}"


def _check_blobs(incoming: Incoming, listed: Any, caps: Caps) -> None:
    """Compare the files with their list, and the list with what the rows reach."""
    staged, rows = incoming.staged, incoming.rows
    for digest in sorted(staged.blobs.keys() ^ set(listed)):
        there = "is not listed" if digest in staged.blobs else "is missing"
        raise refusal(staged.source, f"blob {digest!r} {there}")
    wanted: dict[str, int] = {}
    named: list[LockedPackage] = []  # in the locks
    for version in rows["versions"]:
        manifest = _manifest(incoming, version["digest"], caps)
        for file in manifest.files:
            if file.role == "lock" and file.sha256 in staged.blobs:
                named += read_lock(staged.read(file.sha256, caps.json_bytes))
            if staged.blobs.get(file.sha256) != file.size:
                raise refusal(
                    staged.source,
                    f"file {file.path!r} of {_number(version)} is missing or not {file.size} bytes",
                )
        for path in NEEDED:
            data = staged.read(manifest.file(path).sha256, caps.json_bytes)
            try:
                check_form(path, data)
            except (ValueError, LookupError, TypeError, AttributeError) as err:
                problem = f"file {path!r} of {_number(version)} is none ({err!r})"
                raise refusal(staged.source, problem) from err
        wanted |= {version["digest"]: 0} | {file.sha256: file.size for file in manifest.files}
    optional = {row["report_digest"] for row in rows["verifications"]}
    optional |= {row["profile_digest"] for row in rows["run_outcomes"]}
    optional |= _check_wheels(incoming, named)
    for digest in sorted(staged.blobs.keys() - wanted.keys() - optional):
        raise refusal(staged.source, f"blob {digest!r} belongs to nothing in the export")
    if listed != staged.blobs:
        raise ValueError("the list of blobs says other sizes than they have")


def _check_wheels(incoming: Incoming, named: list[LockedPackage]) -> set[str]:
    """Return the digests of the wheels, each named by a lock and with a wheel's plain name."""
    for wheel in incoming.wheels:
        digest, filename = wheel["sha256"], wheel["filename"]
        parse_wheel_filename(filename)
        if not WHEEL.fullmatch(filename):
            raise ValueError(f"{filename!r} is no name of a wheel")
        if not is_locked(filename, digest, named):
            raise ValueError(f"wheel {filename!r} is of no package that a lock names by its hash")
        if incoming.staged.blobs.get(digest) != wheel["size"]:
            raise ValueError(f"wheel {filename!r} is missing or not {wheel['size']} bytes")
    return {wheel["sha256"] for wheel in incoming.wheels}


def _manifest(incoming: Incoming, digest: str, caps: Caps) -> Manifest:
    """Return a version's manifest, its names and kinds checked as well as its form."""
    if digest not in incoming.staged.blobs:
        raise refusal(incoming.staged.source, f"manifest {digest!r} is missing")
    data = incoming.staged.read(digest, caps.json_bytes)
    decode_strictly(data)
    manifest = decode_manifest(data)
    if manifest.model != incoming.name:
        raise ValueError(f"manifest {digest[:12]} is of model {manifest.model!r}")
    paths = [file.path for file in manifest.files]
    if len(set(paths)) < len(paths):
        raise ValueError(f"manifest {digest[:12]} names a path twice")
    for file in manifest.files:
        parts = file.path.split("/")
        sound = file.role in ROLES and type(file.size) is int and DIGEST.fullmatch(file.sha256)
        if not sound or {"", ".", ".."} & set(parts) or "\\" in file.path or "\0" in file.path:
            raise ValueError(f"manifest {digest[:12]} names {file.path!r}, no file of a version")
    if not all(isinstance(text, str) for text in (manifest.interpreter, manifest.platform)):
        raise ValueError(f"manifest {digest[:12]} names no interpreter or platform")
    return manifest
