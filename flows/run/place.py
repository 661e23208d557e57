"""The edge of every flow: the home this process works in, read from the environment once."""

import os
from pathlib import Path

from pilotline.flows.screen.logs import way_of
from pilotline.tasks.home import Home, find_home, lies_outside


def current_home() -> Home:
    """Return the home that the environment and the working folder name.

    Flows read it themselves, so that no address, which may hold a password, becomes a flow
    parameter.

    Raises:
        SettingsError: there is none, or PILOTLINE_LOG names no way to log.
    """
    way_of(os.environ)
    return find_home(os.environ, Path.cwd())


def is_outside() -> bool:
    """Tell whether no home is named: by no setting, and by no lab above the working folder."""
    return lies_outside(os.environ, Path.cwd())
