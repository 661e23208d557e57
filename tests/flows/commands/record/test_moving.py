"""Export, import, search, audit and gc by command, on a home of one machine."""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pilotline.registry.form.canonical import canonical_json
from tests.flows.conftest import Demo, query_sqlite
from tests.support.commands import Ran, run_here
from tests.support.places import ROOT

MODEL = "flight-delay"
HOSTILE = "\x1b[2J[red]me[/red]\x9b31m"  # clears a screen, marks up, colours by a C1 control
SHOWN = "\\x1b[2J[red]me[/red]\\x9b31m"


def refused(ran: Ran, *needed: str) -> None:
    """Check that a command refused in words."""
    assert ran.status == 1, ran.out
    assert ran.err.startswith("Error: ")
    for part in needed:
        assert part in ran.err
    assert ran.out == ""


def new_home(folder: Path) -> Path:
    """Return a home that asks for names only: by default, who imports needs a one-time code."""
    folder.mkdir()
    shutil.copy(ROOT / "deployments" / "policy-demo.toml", folder / "policy.toml")
    return folder


def tables(home: Path) -> dict[str, Any]:
    """Return how many rows each table of the record has."""
    path = home / "registry.db"
    names = query_sqlite(path, "select name from sqlite_master where type = 'table'")
    return {name: query_sqlite(path, f'select count(*) from "{name}"') for (name,) in names}


def test_a_champion_from_elsewhere_needs_somebody_s_code_where_the_policy_asks(
    record: Path, tmp_path: Path
) -> None:
    path, strict = tmp_path / "model.tar", tmp_path / "strict"
    assert run_here(record, "export", MODEL, "--out", str(path)).status == 0
    done = run_here(strict, "import", str(path))
    refused(done, "the policy asks for a one-time code", "--by NAME and --code CODE")
    assert run_here(strict, "models", "--json").json == []


@pytest.mark.parametrize("name", ["folder", "model.tar", "model.tar.gz"])
def test_a_model_moves_once_with_all_of_its_history(
    name: str, record: Path, tmp_path: Path
) -> None:
    path, other = tmp_path / name, new_home(tmp_path / "other")
    written = run_here(record, "export", MODEL, "--out", str(path), "--json")
    assert written.status == 0, written.err
    ((events, versions),) = query_sqlite(
        record / "registry.db",
        "select (select count(*) from event), (select count(*) from model_version)",
    )
    assert (written.json["events"], written.json["versions"]) == (events, versions)
    came = run_here(other, "import", str(path))
    assert came.status == 0, came.err
    assert written.json["head"] in came.out
    before = tables(other)
    again = run_here(other, "import", str(path))
    assert (again.status, "nothing to do" in again.out) == (0, True)
    assert run_here(other, "import", str(path), "--json").json["new"] is False
    assert tables(other) == before
    for words in (
        ("history", MODEL),
        ("show", f"{MODEL}@1.0.0"),
        ("diff", MODEL, "1.0.0", "1.0.1"),
    ):
        theirs, ours = (run_here(home, *words, "--json").json for home in (record, other))
        assert ours == theirs
    assert run_here(other, "audit", "verify", "--head", written.json["head"]).status == 0


def test_the_same_state_is_exported_as_the_same_bytes(record: Path, tmp_path: Path) -> None:
    paths = [tmp_path / "one.tar.gz", tmp_path / "two.tar.gz"]
    for path in paths:
        assert run_here(record, "export", MODEL, "--out", str(path)).status == 0
        assert path.stat().st_size > 10_000
    assert paths[0].read_bytes() == paths[1].read_bytes()


def flip(path: Path) -> None:
    """Change one byte of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.unlink()  # other homes may share its bytes
    path.write_bytes(data)


def edit(change: Callable[[Any], None]) -> Callable[[Path], None]:
    """Return what changes the rows of an export."""

    def changed(folder: Path) -> None:
        index = folder / "export.json"
        rows = json.loads(index.read_text("utf-8"))
        change(rows)
        index.write_bytes(canonical_json(rows))

    return changed


@pytest.mark.parametrize(
    ("spoil", "needed"),
    [
        (lambda folder: flip(next((folder / "blobs").rglob("??*/*"))), "blobs/"),
        (lambda folder: next((folder / "blobs").rglob("??*/*")).unlink(), ""),
        (lambda folder: (folder / "more").write_text("x"), "more"),
        (lambda folder: (folder / "link").symlink_to("/etc/passwd"), "link"),
        (edit(lambda rows: rows["events"].pop()), ""),
        (edit(lambda rows: rows["versions"][0].update(author=HOSTILE)), SHOWN),
        (edit(lambda rows: rows["aliases"][0].update(name=HOSTILE)), SHOWN),
    ],
    ids=["a byte", "a blob less", "a file more", "a link", "an event less", "author", "alias"],
)
def test_a_spoilt_export_is_refused_whole(
    spoil: Callable[[Path], None], needed: str, record: Path, tmp_path: Path
) -> None:
    folder, other = tmp_path / "folder", new_home(tmp_path / "other")
    assert run_here(record, "export", MODEL, "--out", str(folder)).status == 0
    assert run_here(other, "models").status == 0
    before = tables(other)
    spoil(folder)
    done = run_here(other, "import", str(folder))
    refused(done, "refused", needed)
    assert not {"\x1b", "\x9b"} & set(done.err)
    assert tables(other) == before
    assert not list(other.rglob("blobs/*/*"))


def test_a_description_from_outside_is_shown_escaped(record: Path, tmp_path: Path) -> None:
    folder, other = tmp_path / "folder", new_home(tmp_path / "other")
    assert run_here(record, "export", MODEL, "--out", str(folder)).status == 0
    edit(lambda rows: rows["model"].update(description=HOSTILE))(folder)
    came = run_here(other, "import", str(folder))
    assert came.status == 0, came.err
    for words in (("models",), ("show", MODEL)):
        shown = run_here(other, *words)
        assert shown.status == 0, shown.err
        assert SHOWN in shown.out
        assert not {"\x1b", "\x9b"} & set(shown.out)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ((), True),
        (("arriv",), True),
        (("LATE flight",), True),
        (("umbrella",), False),
        (("--owner", "operations@example.org"), True),
        (("--owner", "operations"), False),  # the whole name
        (("--tag", "example", "--tag", "classification"), True),
        (("--tag", "example", "--tag", "regression"), False),
        (("--status", "approved"), True),
        (("--status", "revoked"), False),
        (("--feature", "dest", "--feature", "hour"), True),
        (("--feature", "arr_delay"), False),
        (("--dataset", "flights"), True),
        (("--metric", "roc_auc>=0.5", "--metric", "brier < 0.25"), True),
        (("--metric", "roc_auc>0.9"), False),
        (("--consumer", "nobody"), False),
        (("--min-runs", "35"), True),
        (("--min-runs", "36"), False),
        (("--archived", "--sort", "scored"), True),
        (("--page", "2"), False),
        (("--owner", "' or 1=1 --"), False),
        (("%",), False),  # nothing in it is a letter or a digit
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_search_finds_what_is_asked_for(words: tuple[str, ...], found: bool, demo: Demo) -> None:
    shown = run_here(demo.home, "search", *words)
    assert shown.status == 0, shown.err
    assert ("Models found: 1" in shown.out) == found
    assert ("No model was found" in shown.out) == (not found)
    asked = run_here(demo.home, "search", *words, "--json").json
    assert [hit["name"] for hit in asked["models"]] == [MODEL] * found


def test_what_was_imported_is_not_taken_for_lost(record: Path, tmp_path: Path) -> None:
    path, other = tmp_path / "model.tar", new_home(tmp_path / "other")
    assert run_here(record, "export", MODEL, "--out", str(path)).status == 0
    assert run_here(other, "import", str(path)).status == 0
    (model,) = run_here(other, "models", "--json").json
    (found,) = run_here(other, "search", "--json").json["models"]
    assert (model["last_scored"], found["last_scored"]) == (None, None)  # readers see nothing here
    day = ("--date", "2013-02-01", "--key", "UA,1018,EWR")
    refused(run_here(other, "trace", MODEL, *day), "was imported; its rows are not here")


def test_heads_in_a_pipe_are_lines_that_verify_takes(record: Path) -> None:
    (line,) = run_here(record, "audit", "head").out.splitlines()
    ((seq, digest),) = query_sqlite(
        record / "registry.db", "select seq, hash from event order by seq desc limit 1"
    )
    assert line == f"{MODEL} {seq} {digest}"
    assert run_here(record, "audit", "verify", "--head", digest[:12]).status == 0


def test_a_version_does_not_differ_from_itself(demo: Demo) -> None:
    same = run_here(demo.home, "diff", MODEL, "1.0.0", "champion")
    assert same.out == f"{MODEL} 1.0.0 and 1.0.0 are the same version.\n"
    other = run_here(demo.home, "diff", MODEL, "1.0.0", "1.0.1").out
    assert ("Metrics" in other, "Packages" in other) == (True, False)  # the locks are equal


def test_a_damaged_blob_is_named_by_the_audit(record: Path) -> None:
    ((lock,),) = query_sqlite(record / "registry.db", "select distinct lock_digest from run")
    (blob,) = (record / "blobs").rglob(f"??/{lock}")
    flip(blob)
    damaged = run_here(record, "audit", "verify")
    refused(damaged, blob.name[:12], "damaged")
    assert "says more" not in damaged.err  # it is what says more
    told = run_here(record, "audit", "verify", "--json")
    assert (told.status, told.json["sound"], told.json["chain"]) == (1, False, MODEL)
    blob.unlink()
    refused(run_here(record, "audit", "verify"), blob.name[:12], "not in the blob store")


def test_a_blob_that_nothing_names_is_removed_after_its_time(record: Path) -> None:
    data = b"left over by a killed training"
    name = hashlib.sha256(data).hexdigest()
    orphan = record / "blobs" / name[:2] / name
    orphan.parent.mkdir(exist_ok=True)
    orphan.write_bytes(data)

    def asked(*words: str) -> Any:
        ran = run_here(record, "gc", "--json", *words)
        assert ran.status == 0, ran.err
        return ran.json

    young = asked("--plan")
    assert (young["removed"], young["young"]) == ([], 1)
    os.utime(orphan, (time.time() - 2 * 86_400,) * 2)
    assert [blob["digest"] for blob in asked("--plan")["removed"]] == [name]
    assert asked("--grace-hours", "50")["removed"] == []
    assert orphan.exists()
    assert (asked()["size_bytes"], orphan.exists()) == (len(data), False)
    assert "removed 0 blobs" in run_here(record, "gc").out
    assert run_here(record, "audit", "verify").status == 0
