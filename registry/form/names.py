"""The form of names that may become folders, tables and addresses, and of people's names."""

import re
import unicodedata

from pilotline.registry.form.errors import NameRefusedError

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
MAX_PERSON = 200  # characters; the columns hold no more


def check_name(name: str) -> str:
    """Return ``name`` if it may name a model or dataset.

    Raises:
        NameRefusedError: the form is wrong or the word is reserved.
    """
    if not NAME.fullmatch(name) or name in RESERVED:
        raise NameRefusedError(name)
    return name


def is_person(text: str) -> bool:
    """Tell whether ``text`` can name a person: printable characters, a few, not only spaces."""
    return bool(text.strip()) and len(text) <= MAX_PERSON and text.strip().isprintable()


def same_person(one: str, other: str) -> bool:
    """Tell whether two names mean one person, however they were typed."""
    return person(one) == person(other)


def person(text: str) -> str:
    """Return the one form of a person's name: no stray spaces, no case, no look-alike code points.

    For comparing only; records keep what was typed.

    Source:
        Unicode 15, section 3.13, definition D147: what a compatibility caseless match compares.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(unicodedata.normalize("NFKC", folded).split())
