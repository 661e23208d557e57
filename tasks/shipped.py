"""What comes with the package, checked out or installed: deployments, the example's lab."""

from pathlib import Path

import pilotline

PACKAGE = Path(pilotline.__file__).parent
DEPLOYMENTS = PACKAGE / "deployments"  # policies, prices, prefect.yaml, templates of work pools
LAB = PACKAGE / "lab"
