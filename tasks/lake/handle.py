"""An open table of the lake: the one handle that others hold, so that only the lake knows Delta."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
S3_CODE = re.compile(r"<Code>(\w+)</Code>")
REASON_LENGTH = 200


class TableRefusedError(Exception):
    """Delta refused a call on an open table, or failed at it; the text is Delta's own.

    It is not a ``LakeError``: who knows what the call was for says it in words.
    """

    @property
    def problem(self) -> str:
        """Why, in one short line."""
        return in_short(self)


@dataclass(frozen=True)
class Table:
    """A table at the version it was opened at.

    Every method raises ``TableRefusedError`` where Delta refuses the call.
    """

    delta: DeltaTable  # for the lake's own modules

    @property
    def name(self) -> str:
        """The last part of its address."""
        return self.delta.table_uri.rstrip("/").rpartition("/")[2]

    def version(self) -> int:
        """Return the version."""
        with refusals():
            return self.delta.version()

    def transaction_version(self, name: str) -> int | None:
        """Return the number last committed under ``name``, None where none ever was."""
        with refusals():
            return self.delta.transaction_version(name)

    def history(self) -> list[dict[str, Any]]:
        """Return what each commit says of itself, newest first."""
        with refusals():
            return self.delta.history()

    def file_uris(self, predicate: str) -> list[str]:
        """Return the addresses of the data files that may hold rows that ``predicate`` names."""
        with refusals():
            return self.delta.file_uris(file_pruning_predicate=predicate)


@contextmanager
def refusals() -> Iterator[None]:
    """Raise what Delta raises inside as the lake's own error."""
    try:
        yield
    except DeltaError as err:
        raise TableRefusedError(str(err)) from err


def in_short(err: Exception) -> str:
    """Return why, in one line of at most 200 characters, without colours.

    An error of an object store says what was the matter in its last line, or in the XML after it.
    """
    text = COLOUR.sub("", str(err))
    if "\u21b3" not in text:
        return text.splitlines()[0][:REASON_LENGTH]
    if code := S3_CODE.search(text):
        return code[1]
    last = [line for line in text.splitlines() if "\u21b3" in line][-1]
    return last.rpartition(" - ")[2].strip(" \u21b3")[:REASON_LENGTH]
