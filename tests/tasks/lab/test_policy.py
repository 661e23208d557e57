"""The policy's ``[scoring]``: what it may say, how many score at once, in how many shards a day."""

import os
import tomllib
from pathlib import Path
from typing import Any

import pytest

from pilotline.registry.form.errors import PolicyError
from pilotline.registry.gates.policy import read_policy
from pilotline.tasks.home import Home, find_home
from pilotline.tasks.lab.policy import ScoringRules, factory_policy, load_rules, parse_rules
from tests.support.places import ROOT

POLICY = ROOT / "deployments" / "policy.toml"


def home_in(folder: Path) -> Home:
    return find_home({"PILOTLINE_HOME": str(folder)}, folder)


def test_without_a_table_it_is_threads_as_many_as_there_are_processors() -> None:
    rules = parse_rules("policy.toml", {})
    assert rules == ScoringRules("threads", "", len(os.sched_getaffinity(0)), 1_000_000)


def test_a_cluster_is_named_by_its_address() -> None:
    table = {"task_runner": "dask", "address": "tcp://scheduler:8786", "workers": 40}
    rules = parse_rules("policy.toml", table)
    assert (rules.task_runner, rules.address) == ("dask", "tcp://scheduler:8786")
    assert (rules.workers, rules.shard_rows) == (40, 1_000_000)


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (
            {"worker": 2},
            "unknown key of [scoring] 'worker'. Known: address, days_at_once, shard_rows, ",
        ),
        ({"task_runner": "ray"}, "task_runner 'ray'"),
        ({"task_runner": ["dask"]}, "task_runner ['dask']"),
        ({"address": "tcp://here:8786"}, 'beside task_runner = "dask"'),
        ({"task_runner": "dask", "address": "here:8786"}, "address 'here:8786'"),
        ({"task_runner": "dask", "address": 8786}, "address 8786"),
        ({"workers": 0}, "workers 0"),
        ({"workers": 1025}, "whole number, 1 to 1,024"),
        ({"workers": True}, "workers True"),
        ({"workers": "2"}, "workers '2'"),
        ({"shard_rows": 0}, "shard_rows 0"),
        ({"days_at_once": 0}, "days_at_once 0"),
        ({"shard_rows": 1.5}, "shard_rows 1.5"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(table: dict[str, Any], told: str) -> None:
    with pytest.raises(PolicyError) as refused:
        parse_rules("policy.toml", table)
    assert told in str(refused.value)
    assert "policy.toml" in str(refused.value)


@pytest.mark.parametrize(
    ("workers", "rows", "shards"),
    [(4, 0, 1), (4, 99, 1), (4, 199, 1), (4, 200, 2), (4, 399, 3), (4, 10_000, 4), (1, 10_000, 1)],
)
def test_a_shard_has_at_least_its_rows_and_a_worker_of_its_own(
    workers: int, rows: int, shards: int
) -> None:
    assert ScoringRules(workers=workers, shard_rows=100).shards(rows) == shards


def test_the_policy_s_other_tables_are_its_own_and_its_digest_does_not_change(
    tmp_path: Path,
) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(POLICY.read_text("utf-8") + "\n[scoring]\nworkers = 3\nshard_rows = 7\n")
    home = home_in(tmp_path)
    assert load_rules(home) == ScoringRules("threads", "", 3, 7)
    alone = read_policy("policy.toml", tomllib.loads(POLICY.read_text("utf-8")))
    assert factory_policy(home).digest() == alone.digest()


def test_a_policy_that_is_not_toml_is_refused_whoever_reads_it(tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text("[approvals")
    for read in (factory_policy, load_rules):
        with pytest.raises(PolicyError, match=r"policy\.toml': not TOML: "):
            read(home_in(tmp_path))


def test_scoring_that_is_no_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text("scoring = 3")
    with pytest.raises(PolicyError, match=r"policy\.toml"):
        load_rules(home_in(tmp_path))


def test_a_policy_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.mkdir()
    with pytest.raises(PolicyError) as refused:
        factory_policy(home_in(tmp_path))
    assert str(refused.value) == (
        f"Policy {str(path)!r}: cannot be read (Is a directory). Restore it, or its rights."
    )
