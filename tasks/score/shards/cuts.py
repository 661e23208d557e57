"""Cutting a partition: by row groups into shards, and by buckets where two versions share it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pilotline.tasks.lake import PartFile, PartitionFiles, Piece
from pilotline.tasks.score.job import Job


@dataclass(frozen=True)
class Part:
    """What one child scores: some row groups of a day, and of their rows those of some buckets."""

    number: str  # of the version
    pieces: tuple[Piece, ...]
    first: int  # bucket
    end: int  # bucket after the last one

    @property
    def rows(self) -> int:
        """How many rows its pieces hold, in all buckets."""
        return sum(piece.rows for piece in self.pieces)


@dataclass(frozen=True)
class PartDone:
    """A part whose predictions lie in the table's folder, and in no commit yet."""

    file: PartFile
    profile: bytes  # none where it has no rows
    used: dict[str, Any] = field(default_factory=dict)  # as ``Meter.read`` gives it
    teardown_s: float = 0.0
    clean: bool = True  # nothing of its scratch folder is left
    process: str = ""  # which one scored it: machine and process id


def cut(job: Job, files: PartitionFiles, digest: str, shards: int) -> list[Part]:
    """Return the day's parts: at most ``shards`` for each version that scores.

    Args:
        job: who scores.
        files: of the day.
        digest: of the files, as ingested.
        shards: into how many the rows are to be cut; a row group is never cut in two.

    Raises:
        LakeError: the files are not what was ingested.
    """
    pieces = files.pieces(digest)
    return [
        Part(bundle.version.number, tuple(shard), first, end)
        for bundle, (first, end) in job.arms()
        for shard in deal(pieces, shards)
    ]


def deal(pieces: Sequence[Piece], shards: int) -> list[list[Piece]]:
    """Return ``pieces`` in their order, in at most ``shards`` runs of nearly as many rows.

    A piece goes where its middle lies among all rows.
    """
    total = sum(piece.rows for piece in pieces)
    dealt: list[list[Piece]] = [[] for _ in range(shards)]
    before = 0
    for piece in pieces:
        middle = before + piece.rows / 2
        dealt[min(int(middle * shards / max(total, 1)), shards - 1)].append(piece)
        before += piece.rows
    return [shard for shard in dealt if shard]
