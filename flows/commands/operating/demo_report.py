"""What ``pilotline demo`` says at its end."""

from typing import Any

from pilotline.flows.screen.console import out, print_facts, print_table
from pilotline.tasks.home import Home


def print_report(summary: dict[str, Any], home: Home) -> None:
    """Print the summary of a lifecycle: tables, where the results lie, what to try next."""
    out.print()
    _print_data(summary)
    _print_versions(summary)
    _print_drift(summary)
    _print_challenger(summary)
    _print_next(summary, home)


def _print_data(summary: dict[str, Any]) -> None:
    rows = [
        (name, n["partitions"], n["ingested"], n["accepted"], n["quarantined"])
        for name, n in summary["ingested"].items()
    ]
    columns = ["dataset", "days", "ingested", "accepted", "quarantined"]
    print_table("Data", columns, rows)
    reasons = [
        (name, reason, count)
        for name, counts in summary["quarantine"].items()
        for reason, count in counts.items()
    ]
    print_table("Quarantine", ["dataset", "reason", "rows"], reasons)
    scored = summary["scored"]
    days = [d for d in summary["realized"] if "roc_auc" in d]
    mean = sum(d["roc_auc"] * d["rows"] for d in days) / max(1, sum(d["rows"] for d in days))
    print_facts(
        [
            ("scored", f"{scored['rows']:,} rows of {scored['days']} days"),
            ("realized ROC AUC", f"{mean:.3f} on average over {len(days)} days"),
        ]
    )
    out.print()


def _print_versions(summary: dict[str, Any]) -> None:
    rows = [
        (v["version"], v["status"], ", ".join(v["aliases"]) or "-", v["runs"], v["reason"])
        for v in summary["model"]["versions"]
    ]
    columns = ["version", "status", "aliases", "runs", "number because"]
    print_table(f"Versions of {summary['model']['model']}", columns, rows)


def _print_drift(summary: dict[str, Any]) -> None:
    rows = [
        (f"{w['start']} to {w['end']}", j["column"], j["distance"], j["value"], j["verdict"])
        for w in summary["drift"]
        for j in w["judgements"]
    ]
    columns = ["window", "column", "distance", "value", "verdict"]
    print_table("Drift against the training days", columns, rows)


def _print_challenger(summary: dict[str, Any]) -> None:
    challenger = summary["challenger"]
    champion = challenger["champion"]
    if champion is None:
        return
    rows = [
        (name, value, challenger["metrics"][name]) for name, value in champion["metrics"].items()
    ]
    columns = ["metric", f"champion {champion['version']}", f"challenger {challenger['version']}"]
    span = " to ".join(challenger["holdout"])
    print_table(f"Champion against challenger on {span}", columns, rows)
    out.print(f"Challenger {challenger['version']}: {challenger['state']['reason']}", markup=False)


def _print_next(summary: dict[str, Any], home: Home) -> None:
    model = summary["model"]["model"]
    challenger = summary["challenger"]["version"]
    out.print()
    print_facts(
        [
            ("registry", home.registry_shown),
            ("blobs", str(home.blobs)),
            ("predictions", f"{home.lake}/predictions/{model} (Delta table)"),
            ("took", f"{summary['seconds']:.0f} s"),
        ]
    )
    out.print("\n[bold]Try next[/]")
    for command in (
        f"pilotline show {model}@champion",
        f"pilotline trace {model} --date 2013-02-01 --key carrier=UA,flight=1018,origin=EWR",
        f"pilotline approve {model} {challenger} --gate review --by reviewer@example.org "
        '--comment "better in July"',
    ):
        out.print(f"  {command}", markup=False)
