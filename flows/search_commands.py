"""The command search: which models there are of a kind, and how much they are used."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from flows.run.place import current_home
from flows.screen.console import out, print_json, print_table

if TYPE_CHECKING:
    from registry.search import Page, Query


def run_search(asked: Mapping[str, Any], metrics: Sequence[str], as_json: bool) -> None:
    """Print one page of the models that were found.

    Args:
        asked: fields of a query, as the options are called.
        metrics: bounds, as written.
        as_json: whether to print JSON.

    Raises:
        click.UsageError: a bound is none, or of a metric that no model has.
    """
    from registry.search import Query, known_metrics, parse_bound, search_models

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


def _print_page(page: "Page", query: "Query") -> None:
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
