"""A lineage as a tree for people: what came before, what came after, long lists as ranges."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date, timedelta

from rich.markup import escape
from rich.tree import Tree

from pilotline.flows.screen.text import show
from pilotline.registry.record import TrainingPartition
from pilotline.registry.runs import DataVersion, KnownRun, KnownVersion, Lineage
from pilotline.tasks.explain import Prediction, Traced

RANGES = 4  # of days on a line; beyond that the line says how many days are left
SHORT = 12  # digits of a digest; --json has all
USES = {"train": "learned from", "holdout": "judged on", "joined": "joined with"}


def draw_lineage(traced: Traced) -> list[Tree]:
    """Return a tree for each thing the lineage was asked of."""
    lineage = traced.lineage
    subject = lineage.subject
    if isinstance(subject, tuple):
        return [_version_tree(lineage, version) for version in subject]
    if isinstance(subject, KnownRun):
        return [_run_tree(lineage, subject, traced.prediction)]
    return [_data_tree(lineage, subject)]


def say_days(days: Iterable[date]) -> str:
    """Return days in words, neighbours as a range: ``2013-02-01 .. 2013-02-14, 14 days``."""
    listed = sorted(set(days))
    ranges: list[list[date]] = []
    for day in listed:
        if ranges and day - ranges[-1][-1] == timedelta(days=1):
            ranges[-1].append(day)
        else:
            ranges.append([day])
    said = [f"{r[0]} .. {r[-1]}" if len(r) > 1 else str(r[0]) for r in ranges[:RANGES]]
    rest = sum(len(r) for r in ranges[RANGES:])
    if rest:
        said.append(f"and {show(rest)} more up to {listed[-1]}")
    count = f", {show(len(listed))} days" if len(listed) > 1 else ""
    return ", ".join(said) + count


def _version_tree(lineage: Lineage, version: KnownVersion) -> Tree:
    tree = Tree(f"[bold]{_text(_name(version))}[/]  {_text(version.status)}")
    _add_origin(tree.add("[bold]upstream[/]"), lineage, version)
    after = tree.add("[bold]downstream[/]")
    for heir in lineage.descendants(version):
        _add_relative(after, "descendant", lineage, heir)
    if not lineage.descendants(version):
        after.add("no version descends from it")
    _add_work(after, lineage.runs_of(version))
    return tree


def _run_tree(lineage: Lineage, known: KnownRun, prediction: Prediction | None) -> Tree:
    row = known.row
    version = lineage.versions[row.version_id]
    what = f"[bold]run {_text(row.id)}[/]  {_text(f'{row.variant} {row.date}, epoch {row.epoch}')}"
    if prediction is not None:
        said = [f"{name}={value}" for name, value in prediction.key.items()]
        tree = Tree(f"[bold]prediction {_text(', '.join(said))}[/]")
        for name, value in prediction.values.items():
            tree.add(_text(f"{name} {value!r}"))
        before = tree.add("[bold]upstream[/]").add(what)
    else:
        tree = Tree(what)
        before = tree.add("[bold]upstream[/]")
    scored_by = before.add(f"version {_text(_name(version))}  {_text(version.status)}")
    _add_origin(scored_by, lineage, version)
    _add_ingests(before.add(_say_data(lineage, known.data, row.table_version)), lineage, known.data)
    for read in known.inputs:
        data = DataVersion(read.dataset, read.date, read.partition_digest)
        line = f"joined {_say_data(lineage, data, read.table_version)}"
        if read.dataset.startswith("predictions/"):
            before.add(line)
        else:
            _add_ingests(before.add(line), lineage, data)
    tree.add("[bold]downstream[/]").add(_say_outcome(known))
    return tree


def _data_tree(lineage: Lineage, data: DataVersion) -> Tree:
    tree = Tree(f"[bold]{_say_data(lineage, data)}[/]")
    _add_ingests(tree.add("[bold]upstream[/]"), lineage, data)
    after = tree.add("[bold]downstream[/]")
    learners = {
        version_id: item.use
        for version_id, items in lineage.learned.items()
        for item in items
        if (item.dataset, item.date, item.partition_digest)
        == (data.dataset, data.date, data.digest)
    }
    for version_id, use in learners.items():
        version = lineage.versions[version_id]
        line = f"version {_name(version)} {USES[use]} it  {version.status}"
        _add_work(after.add(_text(line)), lineage.runs_of(version))
    if not learners:
        after.add("no version learned from it")
    scorers = [known for known in lineage.runs if known.data == data or known.joined(data)]
    for known in scorers:
        version = lineage.versions[known.row.version_id]
        verb = "scored" if known.data == data else "joined"
        line = f"run {known.row.id} {verb} it, {known.row.variant} by {_name(version)}"
        after.add(_text(line)).add(_say_outcome(known))
    if not scorers:
        after.add("no run scored it")
    return tree


def _add_origin(branch: Tree, lineage: Lineage, version: KnownVersion) -> None:
    """Add what a version learned from, its parents up to the first, and who made it."""
    for line in _say_learned(lineage.learned[version.row.id]):
        branch.add(_text(line))
    changed = [
        item
        for item in lineage.learned[version.row.id]
        if lineage.holds_others(DataVersion(item.dataset, item.date, item.partition_digest))
    ]
    for dataset in sorted({item.dataset for item in changed}):
        days = say_days(item.date for item in changed if item.dataset == dataset)
        branch.add(f"[yellow]{_text(f'{dataset} holds other rows now: {days}')}[/]")
    for parent in lineage.ancestors(version):
        _add_relative(branch, "parent", lineage, parent)
    if not lineage.ancestors(version):
        branch.add("no parent")
    branch.add(_text(f"author {version.row.author}, registered {show(version.row.recorded_at)}"))
    branch.add(_text(f"manifest {version.row.digest[:SHORT]}..., {version.row.reason}"))


def _add_relative(branch: Tree, what: str, lineage: Lineage, version: KnownVersion) -> None:
    relative = branch.add(_text(f"{what} {_name(version)}  {version.status}"))
    for line in _say_learned(lineage.learned[version.row.id]):
        relative.add(_text(line))


def _say_learned(items: Sequence[TrainingPartition]) -> list[str]:
    """Return a line for each dataset and use."""
    groups: dict[tuple[str, str], list[TrainingPartition]] = {}
    for item in items:
        groups.setdefault((item.use, item.dataset), []).append(item)
    return [
        f"{USES[use]} {dataset} {say_days(item.date for item in found)}, {_say_versions(found)}"
        for (use, dataset), found in sorted(groups.items(), reverse=True)
    ]


def _say_versions(items: Sequence[TrainingPartition]) -> str:
    """Return the versions of the table that were read; a joined day is read at its own."""
    versions = sorted({item.table_version for item in items})
    if len(versions) == 1:
        return f"table version {versions[0]}"
    return f"table versions {versions[0]} to {versions[-1]}"


def _add_work(branch: Tree, runs: Sequence[KnownRun]) -> None:
    """Add runs in numbers and the predictions of theirs that readers see now."""
    if not runs:
        branch.add("no runs")
        return
    states = Counter(k.outcome.state if k.outcome else "without an outcome" for k in runs)
    counts = ", ".join(f"{show(count)} {state}" for state, count in states.most_common())
    branch.add(_text(f"{show(len(runs))} run{'s' if len(runs) > 1 else ''}: {counts}"))
    seen: dict[str, list[KnownRun]] = {}
    for known in runs:
        if known.visible:
            seen.setdefault(known.row.variant, []).append(known)
    for variant, shown in sorted(seen.items()):
        rows = sum(known.outcome.rows for known in shown if known.outcome)
        days = say_days(known.row.date for known in shown)
        branch.add(_text(f"predictions visible now, {variant}: {days}, {show(rows)} rows"))
    if not seen:
        branch.add("no predictions visible now")


def _add_ingests(branch: Tree, lineage: Lineage, data: DataVersion) -> None:
    found = [
        ingest
        for ingest in lineage.ingests.get((data.dataset, data.date), ())
        if ingest.partition_digest == data.digest
    ]
    for ingest in found:
        line = (
            f"ingested {show(ingest.recorded_at)} into table version {ingest.table_version}: "
            f"{show(ingest.accepted)} accepted, {show(ingest.quarantined)} quarantined, "
            f"token {ingest.token[:SHORT]}..."
        )
        branch.add(_text(line))
    if not found:
        branch.add("no ingest of it is on record here")


def _say_data(lineage: Lineage, data: DataVersion, table_version: int | None = None) -> str:
    at = "" if table_version is None else f", read at table version {table_version}"
    now = "  (the day holds other rows now)" if lineage.holds_others(data) else ""
    return _text(f"dataset {data.dataset} {data.date}, digest {data.digest[:SHORT]}...{at}{now}")


def _say_outcome(known: KnownRun) -> str:
    """Return what readers see of a run, or why they do not."""
    outcome = known.outcome
    where = f"predictions {known.row.variant} {known.row.date}"
    if outcome is None:
        return _text("no predictions: it is under way, or its process died")
    if known.visible:
        return _text(
            f"{where}, visible now: {show(outcome.rows)} rows at table version "
            f"{outcome.table_version}"
        )
    if outcome.state == "succeeded":
        now = f"run {known.shown} is" if known.shown else "no run on record is"
        return _text(f"{where}, no longer visible: {now} what readers see")
    reason = outcome.reason.splitlines()[0] if outcome.reason else "no reason on record"
    return _text(f"no predictions visible: it {_ended(outcome.state)}: {reason}")


def _ended(state: str) -> str:
    return {"superseded": "was superseded", "crashed": "crashed"}.get(state, state)


def _name(version: KnownVersion) -> str:
    return f"{version.model} {version.row.number}"


def _text(text: str) -> str:
    """Return text from outside as it may stand in a tree: nothing in it is markup or moves."""
    return escape(show(text).replace("\n", "\\n"))
