"""The commands export and import: a model from one registry to another."""

import getpass
import re
from dataclasses import asdict
from pathlib import Path

import click

from pilotline.flows.run.place import current_home
from pilotline.flows.screen.console import print_facts, print_json, progress
from pilotline.flows.screen.options import json_option
from pilotline.registry.gates import Presence
from pilotline.registry.moving import export_model

SUFFIX = re.compile(r"\.[A-Za-z]\w*")  # with a letter: a folder may be called flight-delay-1.0.0


@click.command()
@click.argument("model")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="A new path.")
@click.option("--with-wheels", is_flag=True, help="Also the packages its environments need.")
@json_option
def export(model: str, out: Path, with_wheels: bool, as_json: bool) -> None:
    """Write MODEL with its whole history to a folder, or to a .tar or .tar.gz file."""
    if not out.name.endswith((".tar", ".tar.gz")) and SUFFIX.fullmatch(out.suffix):
        raise click.UsageError(
            f"--out {str(out)!r}: expected a name that ends in .tar or .tar.gz, or a folder's "
            "without a suffix."
        )
    with current_home().open_registry() as registry, progress(f"exporting {model}"):
        written = export_model(registry, model, out, with_wheels=with_wheels)
    if as_json:
        print_json(asdict(written) | {"path": str(written.path)})
        return
    print_facts(
        [
            ("model", written.model),
            ("written to", str(written.path)),
            ("versions", written.versions),
            ("events", written.events),
            ("blobs", f"{written.blobs:,} of {written.size_bytes:,} bytes together"),
            ("wheels among them", f"{written.wheels:,}" if with_wheels else "left out"),
            ("head of its chain", written.head),
        ]
    )


@click.command("import")
@click.argument("path", type=click.Path(path_type=Path, exists=True))
@click.option("--by", help="Who brings it; by default the user of this machine.")
@click.option("--code", help="The one-time code on the device of --by, where the policy asks.")
@json_option
def import_(path: Path, by: str | None, code: str | None, as_json: bool) -> None:
    """Bring a model that was exported to PATH into this registry, or refuse it whole.

    Its champion comes along, on the approvals it had: where the policy asks for one-time codes,
    an enrolled approver vouches for it.
    """
    from pilotline.tasks.decide import bring_model

    who = by or getpass.getuser()
    with progress(f"importing {path.name}"):
        imported = bring_model(current_home(), path, who, Presence(who, code) if code else None)
    if as_json:
        print_json(imported)
        return
    print_facts(
        [
            ("model", imported.model),
            ("imported", "yes" if imported.new else "nothing to do: its history is here already"),
            ("versions", imported.versions),
            ("events", imported.events),
            ("blobs", imported.blobs),
            ("wheels new here", imported.wheels),
            ("head of the export", imported.head),
        ]
    )
