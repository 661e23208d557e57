"""Addresses of sources: where a password may stand, and how it stays out of words."""

import re
from urllib.parse import quote, unquote, urlsplit

from pilotline.tasks.errors import LabError

VARIABLE = "env:"
BLOCK = "block:secret/"  # Prefect's own type of block for a secret text
HIDDEN = "***"


def check_url(where: str, url: str) -> None:
    """Do nothing if ``url`` may stand in a file of the lab.

    Raises:
        LabError: it holds a password, or names a kind of block that is not known.
    """
    remedy = f'Write "{VARIABLE}NAME" or "{BLOCK}NAME".'
    if url.startswith("block:") and not re.fullmatch(re.escape(BLOCK) + "[a-z0-9-]+", url):
        raise LabError(where, f"url {url!r} names no Prefect secret", remedy)
    if not url.startswith((VARIABLE, "block:")) and _passwords(url):
        raise LabError(where, "the url holds a password", remedy)


def scrub(text: str, url: str) -> str:
    """Return ``text`` without the passwords of ``url``, however they are written."""
    for password in sorted(_passwords(url), key=len, reverse=True):
        text = text.replace(password, HIDDEN)
    return text


def _passwords(url: str) -> set[str]:
    """Return the passwords in an address, as written, decoded and encoded again."""
    try:
        written = [urlsplit(url).password or ""]
    except ValueError:  # no address at all: then all of it is kept secret
        written = [url]
    written += re.findall(r"[?&\s]?\w*password=([^&\s]+)", url)
    # A password with an unescaped / or @ ends the address for others, not for whoever wrote it.
    written += re.findall(r"//[^:/@]*:(.+)@", url)
    forms = {form for text in written for form in (text, unquote(text), quote(unquote(text), ""))}
    return forms - {""}
