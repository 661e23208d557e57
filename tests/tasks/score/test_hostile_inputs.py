"""Damaged input, input that changes under the reader, and disks that are full."""

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pilotline.registry.runs.listing import last_outcomes
from pilotline.tasks.lake import tables as lake
from pilotline.tasks.lake.partition_files import find_files
from tests.support.places import ROOT
from tests.support.servers.programs import own_mounts
from tests.support.tasks.stage import DAY, PROCESS, Stage
from tests.support.waiting import stretched, wait_until

DAMAGED = r"the data files of 2013-01-14 are not what was ingested \(.*\)\. Restore the lake"
# Makes a folder a disk of so many bytes, with its contents on it and so many bytes left.
DISK = """
import os, shutil, subprocess, sys, tempfile
folder, size, left = sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
with tempfile.TemporaryDirectory() as aside:
    shutil.copytree(folder, aside, dirs_exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True)
    shutil.copytree(aside, folder, dirs_exist_ok=True)
free = shutil.disk_usage(folder).free
with open(f"{folder}/filler", "wb") as file:
    file.write(bytes(max(0, free - left)))
"""


@pytest.fixture
def file(stage: Stage, tmp_path: Path) -> Iterator[Path]:
    """Return the day's data file, and put it back after the test."""
    folder = lake.accepted_path(stage.home.lake, "flights")
    table = lake.open_table(folder)
    (path,) = find_files(table, folder, "flights", "flight_date", DAY).paths
    shutil.copy2(path, tmp_path / "sound")
    yield path
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    shutil.copy2(tmp_path / "sound", path)


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def replace_by_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def replace_by_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def replace_by_another(file: Path) -> None:
    shutil.copy(next(p for p in file.parents[1].glob("*/*.parquet") if p != file), file)


def empty(file: Path) -> None:
    file.write_bytes(b"")


@pytest.mark.parametrize(
    "damage",
    [flip, cut, empty, replace_by_folder, replace_by_pipe, replace_by_another, Path.unlink],
)
def test_a_damaged_data_file_fails_the_run_before_anything_is_decoded(
    stage: Stage, file: Path, damage: Callable[[Path], None]
) -> None:
    damage(file)
    stage.require_failure(DAMAGED)


@pytest.mark.parametrize("target", ["/dev/zero", "/etc/passwd"])
def test_a_link_out_of_the_table_is_not_followed(stage: Stage, file: Path, target: str) -> None:
    file.unlink()
    file.symlink_to(target)
    stage.require_failure(r"a data file of 2013-01-14 lies outside it")


def test_a_link_within_the_table_to_another_day_is_noticed(stage: Stage, file: Path) -> None:
    other = next(p for p in file.parents[1].glob("*/*.parquet") if p.parent != file.parent)
    file.unlink()
    file.symlink_to(other)
    stage.require_failure(DAMAGED)


def append(file: Path) -> None:
    with file.open("ab") as opened:
        opened.write(b"x")


def replace_by_its_copy(file: Path) -> None:
    shutil.copy(file, file.with_suffix(".new"))
    file.with_suffix(".new").replace(file)


def wait_until_read(file: Path) -> None:
    """Wait until this process holds ``file`` open for longer than it takes to hash it."""
    seen = 0

    def is_read() -> bool:
        nonlocal seen
        links = [os.readlink(link) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
        seen = seen + 1 if str(file) in links else 0
        return seen > 3

    wait_until(is_read, 30)


@pytest.mark.parametrize("change", [append, cut, replace_by_its_copy, Path.unlink])
def test_a_file_that_changes_between_two_batches_is_noticed(
    stage: Stage, file: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None]
) -> None:
    # So small that most of them wait for the model, which takes its time for the first.
    monkeypatch.setattr("pilotline.tasks.score.stream.BATCH_ROWS", 2000)
    job = stage.with_predict("time.sleep(0.05)\nreturn answer(data)", stretched(60))

    def work() -> None:
        wait_until_read(file.resolve())
        change(file)

    thread = threading.Thread(target=work)
    thread.start()
    stage.require_failure(DAMAGED, job)
    thread.join()


@pytest.fixture(scope="module")
def mounting() -> list[str]:
    """Return the command before one that may mount, skip where there is none."""
    return own_mounts()


@pytest.mark.parametrize(
    ("place", "size", "left", "said"),
    [
        ("lake/predictions", 8 << 20, 64 << 10, "No space left on device"),
        ("scratch", 8 << 20, 4 << 20, "No space left on device"),
    ],
)
def test_a_full_disk_fails_the_run_and_changes_nothing(
    stage: Stage, mounting: list[str], place: str, size: int, left: int, said: str
) -> None:
    folder = stage.home.root / place
    before = stage.shown()
    script = ["-c", DISK + PROCESS]
    words = [str(stage.home.root), DAY.isoformat(), str(folder), str(size), str(left)]
    done = subprocess.run(
        [*mounting, sys.executable, *script, *words],
        cwd=ROOT, timeout=stretched(60), check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert said in done.stdout + done.stderr
    with stage.registry.read() as session:
        model_id = stage.job.bundle.version.model_id
        outcome = last_outcomes(session, model_id, "production", DAY, DAY)[DAY]
    assert outcome is not None
    assert outcome.state == "failed"
    assert said in outcome.reason
    run, rows = stage.shown()
    assert run == before[0]
    assert rows.equals(before[1])
    stage.require_nothing_left()
