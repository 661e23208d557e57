"""Prefect's own command as a process of the factory, with its output as JSON where that is set."""

import os
import sys
from collections.abc import Sequence

from pilotline.flows.screen.logs import JsonLines, way_of


def run_prefect(words: Sequence[str]) -> None:
    """Do what ``prefect`` with ``words`` does; it prints, and passes on what flows print."""
    if way_of(os.environ) == "json":
        sys.stdout, sys.stderr = JsonLines(sys.stdout), JsonLines(sys.stderr)
    from prefect.cli import app

    sys.argv[1:] = words
    app()


if __name__ == "__main__":
    run_prefect(sys.argv[1:])
