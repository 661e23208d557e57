"""The command line: its commands in the order of a model's life, and where each is declared."""

import click

from pilotline.flows.commands.lazy import LazyGroup, Line

COMMANDS = {
    "demo": Line(
        "operating.demo",
        "Show the whole life of one model on real flights.",
    ),
    "doctor": Line(
        "operating.doctor",
        "Say what works on this machine: isolation, environments, database, server.",
    ),
    "up": Line(
        "operating.up",
        "Run the factory on this machine: Prefect server and UI, worker, deployments, schedules.",
    ),
    "status": Line(
        "operating.status",
        "Say how the factory is: server, worker, schedules, late runs, approvals that wait.",
    ),
    "ingest": Line("running.ingest", "Bring days of DATASET in from its source."),
    "train": Line(
        "running.train",
        "Train MODEL from the lab and register the version.",
    ),
    "approve": Line("deciding.approve", "Approve VERSION of MODEL at a gate."),
    "reject": Line("deciding.approve", "Reject VERSION of MODEL at a gate."),
    "release": Line(
        "deciding.release",
        "Advance VERSION of MODEL towards champion as far as the decisions allow.",
    ),
    "rollback": Line(
        "deciding.rollback",
        "Make the champion before the present one champion again.",
    ),
    "deprecate": Line("deciding.retire", "Mark VERSION of MODEL as one to move off."),
    "revoke": Line(
        "deciding.retire",
        "Forbid VERSION of MODEL for good, and say what came from it.",
    ),
    "archive": Line(
        "deciding.retire",
        "Put VERSION of MODEL away; a model whose versions all are is hidden from search.",
    ),
    "alias": Line(
        "deciding.alias",
        "Point alias NAME of MODEL at VERSION; champion is protected.",
    ),
    "split": Line(
        "deciding.split",
        "Let a challenger score part of production's rows: a canary.",
    ),
    "verify": Line(
        "running.verify",
        "Verify VERSION of MODEL in its real environment.",
    ),
    "score": Line("running.score", "Score one day of MODEL with its champion."),
    "backfill": Line(
        "running.backfill",
        "Score a range of days of MODEL: only what is missing, failed or stale.",
    ),
    "pause": Line(
        "operating.pausing",
        "Pause the running backfills of MODEL after the days they are at.",
    ),
    "resume": Line("operating.pausing", "Let the paused backfills of MODEL go on."),
    "monitor": Line(
        "running.monitor",
        "Judge MODEL in production: realized performance, drift, challengers, staleness.",
    ),
    "report": Line(
        "reading.report",
        "Write a page on MODEL: what is open, operations, performance, drift.",
    ),
    "models": Line("reading.models", "List the registered models."),
    "show": Line(
        "reading.show",
        "Show a model, or one version: a number, an alias, ~=2.1, or as-of:DATE.",
    ),
    "history": Line(
        "reading.history",
        "Say which version of MODEL was champion when, and who put it there.",
    ),
    "trace": Line("reading.trace", "Say where one prediction of MODEL came from."),
    "lineage": Line("reading.lineage", "Show what REF came from and led to."),
    "replay": Line(
        "running.replay",
        "Score a run again from the record alone and compare: 0 equal, 1 not.",
    ),
    "approvers": Line("record.approvers", "Who can decide with a one-time code."),
    "consumers": Line(
        "record.consumers",
        "Who reads a model's predictions and is told of changes.",
    ),
    "notify": Line(
        "record.consumers",
        "Send what consumers are still to be told; what fails is due again later.",
    ),
    "audit": Line("record.audit", "Check the record, print its heads, export it."),
    "gc": Line(
        "record.gc",
        "Remove blobs that nothing names, and data files that no table version in use needs.",
    ),
    "quarantine": Line(
        "record.quarantine",
        "Show the rows of DATASET set aside, and why; let corrected ones in.",
    ),
    "diff": Line(
        "reading.diff",
        "Say what changed from version A of MODEL to version B.",
    ),
    "export": Line(
        "record.moving",
        "Write MODEL with its whole history to a folder, or to a .tar or .tar.gz file.",
    ),
    "import": Line(
        "record.moving",
        "Bring a model that was exported to PATH into this registry, or refuse it whole.",
    ),
    "search": Line(
        "reading.search",
        "Find models by the beginnings of words in TEXT and by what they are, use and do.",
    ),
    "costs": Line(
        "reading.costs",
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
