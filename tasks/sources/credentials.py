"""The address of a source itself, wherever its password is kept."""

import os
from typing import Any, cast

from pilotline.tasks.errors import SourceError
from pilotline.tasks.lab import BLOCK, VARIABLE


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
        # Prefect decides by _sync, which its types do not know (3.9.1), whether this is awaited.
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
