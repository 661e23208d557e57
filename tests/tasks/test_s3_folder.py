"""A folder under s3://, and the lake's tables in it: on moto, and on Ceph in make test-s3."""

import hashlib
import os
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from threading import Thread
from uuid import uuid4
from wsgiref.simple_server import make_server

import pyarrow as pa
import pytest
from deltalake import QueryBuilder, WriterProperties, write_deltalake
from deltalake.transaction import AddAction

from pilotline.registry.blobs.s3_client import connect
from pilotline.tasks.errors import LakeError
from pilotline.tasks.home import find_home
from pilotline.tasks.lake import tables as lake
from pilotline.tasks.lake.garbage import vacuum_lake
from pilotline.tasks.lake.handle import TableRefusedError
from pilotline.tasks.lake.partition_files import find_files
from pilotline.tasks.lake.parts import FOLDER, remove_part, write_part
from pilotline.tasks.s3_folder import S3Folder
from tests.conftest import S3Address
from tests.registry.blobs.test_s3 import Handler, OddS3

DAY, NEXT = date(2024, 2, 29), date(2024, 3, 1)
SCHEMA = pa.schema(
    [("day", pa.date32()), ("variant", pa.string()), ("id", pa.int64()), ("name", pa.string())]
)
STORED = SCHEMA.remove(1)  # the variant stands in the log alone
VARIANT = "shadow/1.0.1"  # its slash is quoted in the names of files


def rows(day: date, count: int) -> pa.Table:
    """Return ``count`` rows of a day, numbered in order."""
    columns = [
        [day] * count,
        [VARIANT] * count,
        list(range(count)),
        [f"n{i}" for i in range(count)],
    ]
    return pa.table(dict(zip(SCHEMA.names, columns, strict=True)), schema=SCHEMA)


def of_variant(day: date) -> str:
    """Return the predicate of a day's partition."""
    return f"variant = '{VARIANT}' and {lake.on_day('day', day)}"


@pytest.fixture
def root(s3_environment: S3Address, tmp_path: Path) -> S3Folder:
    """Return an empty folder in the bucket."""
    return S3Folder(s3_environment.bucket, f"lake-{uuid4().hex}", tmp_path / "scratch")


@pytest.fixture
def folder(root: S3Folder) -> S3Folder:
    """Return a table of two days, the first of them in two files of two row groups each."""
    path = root / "datasets" / "numbers" / "accepted"
    for day in (DAY, NEXT):
        table = lake.ensure_table(path, SCHEMA, ["variant", "day"])
        lake.replace_partition(table, rows(day, 400), of_variant(day), {})
    properties = WriterProperties(max_row_group_size=300)
    write_deltalake(
        lake.open_table(path).delta, rows(DAY, 600), mode="append", writer_properties=properties
    )
    return path


def left_in(folder: S3Folder) -> list[str]:
    """Return what is in the folder of copies."""
    return os.listdir(folder.scratch) if folder.scratch.is_dir() else []


def test_it_is_named_as_a_path_is(tmp_path: Path) -> None:
    folder = S3Folder("bucket", "a/b", tmp_path) / "c"
    assert (str(folder), folder.name) == ("s3://bucket/a/b/c", "c")
    assert str(S3Folder("bucket", "", tmp_path) / "c") == "s3://bucket/c"
    assert S3Folder("bucket", "", tmp_path).name == "bucket"


def test_what_is_stored_is_listed_measured_fetched_and_removed(
    root: S3Folder, tmp_path: Path
) -> None:
    (tmp_path / "in").write_bytes(b"hello")
    for name in ("x/one", "x/y/two", "z/three"):
        root.store(tmp_path / "in", name)
    assert root.list_folders() == ["x", "z"]
    assert (root / "x").list_folders() == ["y"]
    assert (root / "x").list_files() == {"one": 5, "y/two": 5}
    (root / "x").fetch("y/two", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b"hello"
    root.remove("x/one", "x/one")
    assert list((root / "x").list_files()) == ["y/two"]


def test_a_bucket_that_is_not_there_is_named(s3_environment: S3Address, tmp_path: Path) -> None:
    gone = S3Folder(f"gone-{uuid4().hex}", "lake", tmp_path)
    with pytest.raises(LakeError, match=r"^Table 's3://gone-\w+/lake': there is no such bucket\. "):
        gone.list_folders()
    with pytest.raises(LakeError, match=r"cannot be opened \(NoSuchBucket\)\. Check PILOTLINE_LA"):
        lake.is_table(gone / "t")
    (tmp_path / "file").touch()
    with pytest.raises(LakeError, match="there is no such bucket"):
        gone.store(tmp_path / "file", "name")


def test_a_server_that_is_away_is_told_in_words(
    root: S3Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(LakeError, match="cannot be reached"):
        root.list_folders()
    with pytest.raises(LakeError, match=r"cannot be opened \(Connection refused"):
        lake.is_table(root / "t")


def test_no_table_is_made_on_a_server_that_ignores_conditional_puts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    app = OddS3()
    app.ignores_conditions = True
    with make_server("127.0.0.1", 0, app, handler_class=Handler) as server:
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        address = S3Address(f"http://127.0.0.1:{server.server_port}", "bucket", "key", "secret")
        for name, value in address.environment.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(LakeError, match=r"^Table 's3://bucket/t': this S3 ignores conditional"):
            lake.ensure_table(S3Folder("bucket", "t", tmp_path), SCHEMA, ["day"])
        server.shutdown()
    assert app.objects == {}


def test_the_second_of_two_who_commit_on_what_they_saw_is_refused(folder: S3Folder) -> None:
    first, second = lake.open_table(folder), lake.open_table(folder)
    version = lake.replace_partition(first, rows(DAY, 3), of_variant(DAY), {}, ("t", 1))
    with pytest.raises(TableRefusedError):
        lake.replace_partition(second, rows(DAY, 4), of_variant(DAY), {}, ("t", 2))
    table = lake.open_table(folder)
    assert table.version() == version
    assert lake.read(table, SCHEMA, of_variant(DAY)).num_rows == 3


def test_a_days_files_are_hashed_and_streamed_from_copies_that_go(folder: S3Folder) -> None:
    files = find_files(lake.open_table(folder), folder, "numbers", "day", DAY, of_variant(DAY))
    names = [name for name in folder.list_files() if f"day={DAY}" in name]
    client = connect()
    hashes = {}
    for name in names:
        body = client.get_object(Bucket=folder.bucket, Key=f"{folder.key}/{name}")["Body"].read()
        hashes[name.rpartition("/")[2]] = hashlib.sha256(body).digest()
    each = b"".join(hashes[path.name] for path in files.paths)
    assert (len(names), files.digest()) == (2, hashlib.sha256(each).hexdigest())
    batches = list(files.stream(STORED, 250, files.require(files.digest())))
    ids = sorted(pa.Table.from_batches(batches, STORED)["id"].to_pylist())
    assert ids == sorted([*range(400), *range(600)])
    assert len(left_in(folder)) == 1
    del files
    assert left_in(folder) == []


def test_who_scores_a_part_fetches_its_own_files_only(folder: S3Folder) -> None:
    files = find_files(lake.open_table(folder), folder, "numbers", "day", DAY, of_variant(DAY))
    pieces = files.pieces(files.digest())
    assert sorted(piece.rows for piece in pieces) == [300, 300, 400]
    again = find_files(lake.open_table(folder), folder, "numbers", "day", DAY, of_variant(DAY))
    picked = again.pick([piece for piece in pieces if piece.rows == 400])
    assert sum(batch.num_rows for batch in picked.stream(STORED, 5000)) == 400
    assert picked.copies is not None
    assert os.listdir(picked.copies.folder) == [path.name for path in picked.paths]


def test_an_object_that_is_not_what_was_ingested_is_refused(folder: S3Folder) -> None:
    def find() -> object:
        return find_files(
            lake.open_table(folder), folder, "numbers", "day", DAY, of_variant(DAY)
        ).require(digest)

    files = find_files(lake.open_table(folder), folder, "numbers", "day", DAY, of_variant(DAY))
    digest = files.digest()
    find()
    name = next(name for name in folder.list_files() if files.paths[0].name in name)
    key = f"{folder.key}/{name}"
    flipped = bytearray(files.paths[0].read_bytes())
    flipped[len(flipped) // 2] ^= 1
    connect().put_object(Bucket=folder.bucket, Key=key, Body=bytes(flipped))
    with pytest.raises(LakeError, match=f"the data files of {DAY} are not what was ingested"):
        find()
    folder.remove(name)
    with pytest.raises(LakeError, match="it is gone"):
        find()


def test_a_disk_without_room_for_copies_is_named(folder: S3Folder, tmp_path: Path) -> None:
    files = find_files(lake.open_table(folder), folder, "numbers", "day", DAY, of_variant(DAY))
    assert files.copies is not None
    files.copies.folder.rmdir()
    with pytest.raises(LakeError, match=r"a file cannot be copied to .* \(No such file"):
        files.digest()


def test_files_of_parts_become_rows_by_one_commit(folder: S3Folder) -> None:
    path = folder
    whole = rows(NEXT, 1000)
    done = [
        write_part(path, name, SCHEMA, part.to_batches(), {"variant", "day"})
        for name, part in (("run-0", whole[:600]), ("run-1", whole[600:]))
    ]
    values: dict[str, str | None] = {"variant": VARIANT, "day": NEXT.isoformat()}
    actions = [AddAction(file.path, file.size, values, 1, True, file.statistics) for file in done]
    where = {"variant": VARIANT, "day": NEXT.isoformat()}
    table = lake.open_table(path)
    lake.replace_by_files(table, actions, where, SCHEMA, {"run": "r"}, ("t", 1))
    table = lake.open_table(path)
    assert lake.read(table, SCHEMA, of_variant(NEXT)).sort_by("id") == whole
    counted = QueryBuilder().register("t", table.delta).execute("select count(*) as n from t")
    assert pa.table(counted.read_all()).to_pylist() == [{"n": 2000}]
    assert left_in(folder) == []


def test_a_part_that_breaks_off_leaves_nothing(folder: S3Folder) -> None:
    def broken() -> Iterator[pa.RecordBatch]:
        yield rows(DAY, 10).to_batches()[0]
        raise LakeError("numbers", "is gone", "Look.")

    with pytest.raises(LakeError, match="is gone"):
        write_part(folder, "run-0", SCHEMA, broken(), {"variant", "day"})
    assert [name for name in folder.list_files() if name.startswith(FOLDER)] == []
    assert left_in(folder) == []
    remove_part(folder, f"{FOLDER}/run-0.parquet")


def test_the_lake_is_cleaned_of_what_nothing_refers_to(
    folder: S3Folder, root: S3Folder, tmp_path: Path
) -> None:
    settings = {"PILOTLINE_HOME": str(tmp_path / "home"), "PILOTLINE_LAKE": str(root)}
    home = find_home(settings, tmp_path)
    home.make()
    table = lake.open_table(folder)
    lake.replace_partition(table, rows(DAY, 5), of_variant(DAY), {})
    with home.open_registry() as registry:
        assert vacuum_lake(registry, root, timedelta(hours=1), only_plan=True) == []  # too young
        (planned,) = vacuum_lake(registry, root, timedelta(0), only_plan=True)
        assert (planned.table, len(planned.files)) == ("datasets/numbers/accepted", 2)
        assert planned.size_bytes > 1000
        before = {name for name in folder.list_files() if name.endswith(".parquet")}
        assert vacuum_lake(registry, root, timedelta(0), only_plan=False) == [planned]
    assert before - set(folder.list_files()) == {
        name
        for name in before
        if any(gone in (name, name.replace("%", "%25")) for gone in planned.files)
    }
    assert lake.read(lake.open_table(folder), SCHEMA, None).num_rows == 405
