"""The command verify: a version in its real environment."""

from dataclasses import asdict

import click

from pilotline.flows.run.place import current_home
from pilotline.flows.screen.console import print_json
from pilotline.flows.screen.evidence import print_verification
from pilotline.flows.screen.options import json_option
from pilotline.flows.server.at_server import flow_run
from pilotline.registry.record import get_version


@click.command()
@click.argument("model")
@click.argument("version")
@json_option
def verify(model: str, version: str, as_json: bool) -> int:
    """Verify VERSION of MODEL in its real environment."""
    check_version(model, version)
    with flow_run(f"verifying {model} {version}"):
        from pilotline.flows.verify import verify

        verified = verify(model, version)
    if as_json:
        print_json(asdict(verified))
    else:
        title = f"{model} {version} on {verified.platform}, isolation {verified.isolation}"
        print_verification(title, asdict(verified))
    return 0 if verified.passed else 1


def check_version(model: str, version: str) -> None:
    """Raise unless the version is registered; it is told before a server is started."""
    with current_home().open_registry() as registry, registry.read() as session:
        get_version(session, model, version)
