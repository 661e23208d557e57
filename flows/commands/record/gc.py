"""The command gc: blobs and data files that nothing needs."""

from dataclasses import asdict
from datetime import timedelta

import click

from pilotline.flows.run.place import current_home
from pilotline.flows.screen.console import out, print_json
from pilotline.flows.screen.options import json_option
from pilotline.registry.audit import LEAST_GRACE, MOST_GRACE, collect_garbage


@click.command()
@click.option("--plan", "only_plan", is_flag=True, help="Say what it would remove, and stop.")
@click.option(
    "--grace-hours",
    type=float,
    default=24.0,
    show_default=True,
    help="Keep what is younger; at least 2.",
)
@json_option
def gc(only_plan: bool, grace_hours: float, as_json: bool) -> None:
    """Remove blobs that nothing names, and data files that no table version in use needs.

    A table's version is in use while a model version learned from it or a run read it. Files that
    a crashed writer left go too.
    """
    from pilotline.tasks.lake import vacuum_lake

    least, most = (bound / timedelta(hours=1) for bound in (LEAST_GRACE, MOST_GRACE))
    if not least <= grace_hours <= most:  # nor a NaN
        expected = f"expected {least:g} to {most:,.0f} hours"
        raise click.UsageError(f"--grace-hours {grace_hours:g}: {expected}.")
    grace = timedelta(hours=grace_hours)
    home = current_home()
    with home.open_registry() as registry:
        found = collect_garbage(registry, grace, only_plan=only_plan)
        tables = vacuum_lake(registry, home.lake, grace, only_plan=only_plan)
    if as_json:
        of_lake = [asdict(table) for table in tables]
        print_json({**asdict(found), "size_bytes": found.size_bytes, "lake": of_lake})
        return
    word = "would remove" if only_plan else "removed"
    mib = found.size_bytes / 2**20
    out.print(
        f"{word} {len(found.removed):,} blobs, {mib:.1f} MiB; "
        f"{found.kept:,} are in use, {found.young:,} too young."
    )
    for table in tables:
        out.print(
            f"{word} {len(table.files):,} data files, {table.size_bytes / 2**20:.1f} MiB, of table "
            f"{table.table}; {table.kept_versions:,} older versions of it are in use."
        )
