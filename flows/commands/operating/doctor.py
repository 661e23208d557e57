"""The command doctor: what works on this machine."""

from dataclasses import asdict

import click

from pilotline.flows.factory.doctor import examine
from pilotline.flows.run.place import current_home
from pilotline.flows.screen.console import print_json, print_table
from pilotline.flows.screen.options import json_option


@click.command()
@json_option
def doctor(as_json: bool) -> int:
    """Say what works on this machine: isolation, environments, database, server."""
    findings = examine(current_home())
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        rows = [
            (f.what, "yes" if f.works else ("NO" if f.needed else "no"), f.detail) for f in findings
        ]
        print_table("What works here", ["part", "works", "found"], rows)
    return 1 if any(f.needed and not f.works for f in findings) else 0
