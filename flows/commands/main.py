"""The command line: its commands in the order of a model's life, and where each is declared."""

import click

from flows.commands.lazy import LazyGroup, Line

COMMANDS = {
    "demo": Line(
        "flows.commands.operating.demo", "Show the whole life of one model on real flights."
    ),
    "doctor": Line(
        "flows.commands.operating.doctor",
        "Say what works on this machine: isolation, environments, database, server.",
    ),
    "up": Line(
        "flows.commands.operating.up",
        "Run the factory on this machine: Prefect server and UI, worker, deployments, schedules.",
    ),
    "status": Line(
        "flows.commands.operating.status",
        "Say how the factory is: server, worker, schedules, late runs, approvals that wait.",
    ),
    "ingest": Line("flows.commands.running.ingest", "Bring days of DATASET in from its source."),
    "train": Line(
        "flows.commands.running.train", "Train MODEL from the lab and register the version."
    ),
    "approve": Line("flows.commands.deciding.approve", "Approve VERSION of MODEL at a gate."),
    "reject": Line("flows.commands.deciding.approve", "Reject VERSION of MODEL at a gate."),
    "release": Line(
        "flows.commands.deciding.release",
        "Advance VERSION of MODEL towards champion as far as the decisions allow.",
    ),
    "rollback": Line(
        "flows.commands.deciding.rollback",
        "Make the champion before the present one champion again.",
    ),
    "deprecate": Line(
        "flows.commands.deciding.retire", "Mark VERSION of MODEL as one to move off."
    ),
    "revoke": Line(
        "flows.commands.deciding.retire",
        "Forbid VERSION of MODEL for good, and say what came from it.",
    ),
    "archive": Line(
        "flows.commands.deciding.retire",
        "Put VERSION of MODEL away; a model whose versions all are is hidden from search.",
    ),
    "alias": Line(
        "flows.commands.deciding.alias",
        "Point alias NAME of MODEL at VERSION; champion is protected.",
    ),
    "split": Line(
        "flows.commands.deciding.split",
        "Let a challenger score part of production's rows: a canary.",
    ),
    "verify": Line(
        "flows.commands.running.verify", "Verify VERSION of MODEL in its real environment."
    ),
    "score": Line("flows.commands.running.score", "Score one day of MODEL with its champion."),
    "backfill": Line(
        "flows.commands.running.backfill",
        "Score a range of days of MODEL: only what is missing, failed or stale.",
    ),
    "pause": Line(
        "flows.commands.operating.pausing",
        "Pause the running backfills of MODEL after the days they are at.",
    ),
    "resume": Line("flows.commands.operating.pausing", "Let the paused backfills of MODEL go on."),
    "monitor": Line(
        "flows.commands.running.monitor",
        "Judge MODEL in production: realized performance, drift, challengers, staleness.",
    ),
    "report": Line(
        "flows.commands.reading.report",
        "Write a page on MODEL: what is open, operations, performance, drift.",
    ),
    "models": Line("flows.commands.reading.models", "List the registered models."),
    "show": Line(
        "flows.commands.reading.show",
        "Show a model, or one version: a number, an alias, ~=2.1, or as-of:DATE.",
    ),
    "history": Line(
        "flows.commands.reading.history",
        "Say which version of MODEL was champion when, and who put it there.",
    ),
    "trace": Line("flows.commands.reading.trace", "Say where one prediction of MODEL came from."),
    "lineage": Line("flows.commands.reading.lineage", "Show what REF came from and led to."),
    "replay": Line(
        "flows.commands.running.replay",
        "Score a run again from the record alone and compare: 0 equal, 1 not.",
    ),
    "approvers": Line("flows.commands.record.approvers", "Who can decide with a one-time code."),
    "consumers": Line(
        "flows.commands.record.consumers", "Who reads a model's predictions and is told of changes."
    ),
    "notify": Line(
        "flows.commands.record.consumers",
        "Send what consumers are still to be told; what fails is due again later.",
    ),
    "audit": Line("flows.commands.record.audit", "Check the record, print its heads, export it."),
    "gc": Line(
        "flows.commands.record.gc",
        "Remove blobs that nothing names, and data files that no table version in use needs.",
    ),
    "quarantine": Line(
        "flows.commands.record.quarantine",
        "Show the rows of DATASET set aside, and why; let corrected ones in.",
    ),
    "diff": Line(
        "flows.commands.reading.diff", "Say what changed from version A of MODEL to version B."
    ),
    "export": Line(
        "flows.commands.record.moving",
        "Write MODEL with its whole history to a folder, or to a .tar or .tar.gz file.",
    ),
    "import": Line(
        "flows.commands.record.moving",
        "Bring a model that was exported to PATH into this registry, or refuse it whole.",
    ),
    "search": Line(
        "flows.commands.reading.search",
        "Find models by the beginnings of words in TEXT and by what they are, use and do.",
    ),
    "costs": Line(
        "flows.commands.reading.costs",
        "Say what scoring cost, of MODEL or of all models, at the prices of costs.toml.",
    ),
}


@click.group(
    cls=LazyGroup, table=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(package_name="pilotline")
def main() -> None:
    """Take a model from a folder in the lab to an approved, scored, monitored service.

    The home (registry, lake, blobs) is .pilotline beside lab/, or PILOTLINE_HOME.
    """
