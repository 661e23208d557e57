"""The form of names that may become folders, tables and addresses."""

import re

from registry.errors import NameRefusedError

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
# Device names of Windows, and words that the command line or the store use for themselves.
DEVICES = {
    "con",
    "prn",
    "aux",
    "nul",
    *(f"{port}{n}" for port in ("com", "lpt") for n in range(10)),
}
RESERVED = frozenset({*DEVICES, "champion", "challenger", "latest", "all"})


def check_name(name: str) -> str:
    """Return ``name`` if it may name a model or dataset.

    Raises:
        NameRefusedError: the form is wrong or the word is reserved.
    """
    if not NAME.fullmatch(name) or name in RESERVED:
        raise NameRefusedError(name)
    return name
