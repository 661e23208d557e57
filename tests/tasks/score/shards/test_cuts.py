"""Cutting row groups into shards: all of them, in order, and nearly alike."""

from hypothesis import given, settings
from hypothesis import strategies as st

from pilotline.tasks.lake.partition_files import Piece
from pilotline.tasks.score.shards.cuts import Part, deal

SIZES = st.lists(st.integers(1, 200_000), min_size=1, max_size=40)


def pieces(*sizes: int) -> list[Piece]:
    return [Piece(f"file-{n}", "0" * 64, (0,), rows) for n, rows in enumerate(sizes)]


def rows_of(shards: list[list[Piece]]) -> list[list[int]]:
    return [[piece.rows for piece in shard] for shard in shards]


def test_alike_row_groups_are_dealt_alike_in_their_order() -> None:
    assert rows_of(deal(pieces(1, 2, 3, 4), 1)) == [[1, 2, 3, 4]]
    assert rows_of(deal(pieces(*[10] * 6), 3)) == [[10, 10]] * 3
    assert rows_of(deal(pieces(100, 100, 100, 20), 2)) == [[100, 100], [100, 20]]


def test_there_are_no_more_shards_than_row_groups() -> None:
    assert rows_of(deal(pieces(10, 10), 5)) == [[10], [10]]
    assert rows_of(deal(pieces(7), 3)) == [[7]]
    assert deal([], 3) == []


@settings(deadline=None)
@given(SIZES, st.integers(1, 12))
def test_every_row_group_is_in_one_shard_in_its_order(sizes: list[int], shards: int) -> None:
    whole = pieces(*sizes)
    dealt = deal(whole, shards)
    assert [piece for shard in dealt for piece in shard] == whole
    assert len(dealt) <= shards
    assert all(dealt)
    fair = sum(sizes) / shards
    assert max(sum(piece.rows for piece in shard) for shard in dealt) <= fair + max(sizes)


def test_a_part_knows_how_many_rows_its_pieces_hold() -> None:
    assert Part("1.0.0", tuple(pieces(3, 4)), 0, 10_000).rows == 7
