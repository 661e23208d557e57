"""Addresses of sources: where a password may come from, and how it stays out of words."""

import os
import re
from typing import Any, cast
from urllib.parse import quote, unquote, urlsplit

from tasks.errors import LabError, SourceError

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


def resolve_url(dataset: str, url: str) -> str:
    """Return the address itself, which may hold a password and is never to be shown.

    Raises:
        SourceError: the variable or the block it should come from is not there.
    """
    if url.startswith(VARIABLE):
        name = url.removeprefix(VARIABLE)
        value = os.environ.get(name)
        if not value:
            raise SourceError(
                dataset, f"the variable {name!r} is not set", "Set it to the source's address."
            )
        return value
    if url.startswith(BLOCK):
        return _load_secret(dataset, url.removeprefix(BLOCK))
    return url


def scrub(text: str, url: str) -> str:
    """Return ``text`` without the passwords of ``url``, however they are written."""
    for password in sorted(_passwords(url), key=len, reverse=True):
        text = text.replace(password, HIDDEN)
    return text


def _load_secret(dataset: str, name: str) -> str:
    # Without a named server Prefect would start one of its own, with nothing in it.
    if not os.environ.get("PREFECT_API_URL"):
        raise SourceError(
            dataset,
            f"no Prefect server is named that could hold the secret {name!r}",
            f'Set PREFECT_API_URL, or write "{VARIABLE}NAME".',
        )
    from httpx import HTTPError
    from prefect.blocks.system import Secret
    from prefect.exceptions import PrefectException

    try:
        # Prefect decides by _sync, which its types do not know (3.8), whether this is awaited.
        value = cast(Any, Secret).load(name, _sync=True).get()
    except (ValueError, PrefectException, HTTPError, OSError) as err:
        raise SourceError(
            dataset,
            f"the Prefect secret {name!r} cannot be read ({type(err).__name__})",
            "Check its name with 'prefect block ls', and the server.",
        ) from None  # the cause may quote what the block holds
    if not isinstance(value, str) or not value:
        raise SourceError(
            dataset, f"the Prefect secret {name!r} is no text", "Put the source's address in it."
        )
    return value


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
