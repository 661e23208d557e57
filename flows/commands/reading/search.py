"""The command search: which models there are of a kind, and how much they are used."""

from typing import Any

import click

from pilotline.flows.run.place import current_home
from pilotline.flows.screen.console import out, print_json, print_table
from pilotline.flows.screen.options import json_option
from pilotline.registry.record import STATUSES
from pilotline.registry.search import Page, Query, known_metrics, parse_bound, search_models


@click.command()
@click.argument("text", default="")
@click.option("--owner", help="Whose; the whole name.")
@click.option("--tag", "tags", multiple=True, help="Has this tag; again for several.")
@click.option(
    "--status", type=click.Choice(STATUSES, case_sensitive=False), help="Some version is this."
)
@click.option("--feature", "features", multiple=True, help="Reads this column; again for several.")
@click.option("--dataset", help="Reads this dataset (not: is judged by it).")
@click.option("--metric", "metrics", multiple=True, help="Such as 'roc_auc>=0.6'.")
@click.option("--min-runs", type=click.IntRange(0, 1_000_000), default=0, help="In 30 days.")
@click.option("--consumer", help="Is read by this consumer.")
@click.option("--archived", is_flag=True, help="Also models of which every version is archived.")
@click.option("--sort", type=click.Choice(["name", "usage", "rank", "scored"]), default="name")
@click.option("--page", type=click.IntRange(1, 1_000_000), default=1, show_default=True)
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@json_option
def search(as_json: bool, metrics: tuple[str, ...], **asked: Any) -> None:
    """Find models by the beginnings of words in TEXT and by what they are, use and do."""
    try:
        bounds = tuple(parse_bound(written) for written in metrics)
    except ValueError as err:
        raise click.UsageError(f"--metric: {err}") from err
    query = Query(**asked, metrics=bounds)
    with current_home().open_registry() as registry:
        page = search_models(registry, query)
        known = known_metrics(registry) if bounds and not page.total else []
    for bound in bounds:
        if known and bound.metric not in known:
            listed = ", ".join(known)
            raise click.UsageError(f"No model has a metric {bound.metric!r}; known: {listed}.")
    if as_json:
        print_json({"total": page.total, "page": query.page, "models": page.hits})
    else:
        _print_page(page, query)


def _print_page(page: Page, query: Query) -> None:
    if not page.hits:
        where = f" on page {query.page}: there are {page.total}" if page.total else ""
        out.print(f"No model was found{where}.", markup=False)
        return
    rows = [
        (
            hit.name,
            hit.champion,
            hit.status,
            hit.owner,
            ", ".join(hit.tags) or "-",
            hit.runs_30d,
            hit.rows_30d,
            hit.last_scored,
            ", ".join(hit.consumers) or "-",
        )
        for hit in page.hits
    ]
    columns = ["model", "champion", "status", "owner", "tags"]
    columns += ["runs 30 d", "rows 30 d", "last scored", "consumers"]
    pages = -(-page.total // query.limit)
    more = f", page {query.page} of {pages}" if pages > 1 else ""
    print_table(f"Models found: {page.total:,}{more}", columns, rows)
