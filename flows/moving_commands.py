"""The commands export and import: a model from one registry to another."""

from dataclasses import asdict
from pathlib import Path

from flows.run.place import current_home
from flows.screen.console import print_facts, print_json, progress


def run_export(model: str, path: Path, with_wheels: bool, as_json: bool) -> None:
    """Export a model and print what was written."""
    from registry.exporting import export_model

    with current_home().open_registry() as registry, progress(f"exporting {model}"):
        written = export_model(registry, model, path, with_wheels=with_wheels)
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


def run_import(path: Path, by: str | None, code: str | None, as_json: bool) -> None:
    """Import a model and print what came, or that it is here already."""
    import getpass

    from registry.approvers import Presence
    from tasks.gates import bring_model

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
