"""The temporary Prefect server: whose it is, that it answers, and that it ends with its parent."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pilotline.flows.server.choice import prepare_environment
from pilotline.tasks.home import find_home
from tests.support.commands import environment_of, processes_of, run_process
from tests.support.places import ROOT
from tests.support.servers.prefect_server import answers
from tests.support.waiting import stretched, wait_until

# A parent that starts a server, says where it is, and stays until it is told to end.
PARENT = """
import os, sys
from pathlib import Path
from pilotline.flows.server.choice import PrefectServer
from pilotline.tasks.home import find_home
with PrefectServer(find_home(os.environ, Path.cwd())) as server:
    server.wait()
    print(server.url, server.temporary, flush=True)
    sys.stdin.read()
print("API" if "PREFECT_API_URL" in os.environ else "none", flush=True)
"""
END_LIMIT_S = 20  # a server takes 1 s to end on two idle cores


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Return a process that holds a temporary server open, and end what is left of it.

    Its user is logged in elsewhere: that profile would run our flows there (Prefect 3.9.1).
    """
    theirs = tmp_path / "user" / ".prefect"
    theirs.mkdir(parents=True)
    (theirs / "profiles.toml").write_text(
        'active = "work"\n[profiles.work]\nPREFECT_API_URL = "http://127.0.0.1:9/api"\n', "utf-8"
    )
    settings = {"HOME": str(tmp_path / "user"), "PREFECT_PROFILE": "work"}
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT],
        cwd=ROOT,
        env=environment_of(tmp_path / "home", settings),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    yield process
    process.kill()
    process.communicate()


def address_of(process: subprocess.Popen[str]) -> str:
    """Return where the server of ``process`` answers; it said so itself."""
    assert process.stdout is not None
    url, temporary = process.stdout.readline().split()
    assert temporary == "True"
    assert answers(url)
    return url


def test_the_users_profile_does_not_reach_in(tmp_path: Path) -> None:
    variables = {
        "PREFECT_PROFILE": "work",
        "PREFECT_PROFILES_PATH": "/home/somebody/profiles.toml",
        "PREFECT_HOME": "/home/somebody/.prefect",
        "PREFECT_API_KEY": "key-of-the-profile",
    }
    home = find_home({"PILOTLINE_HOME": str(tmp_path / "home")}, ROOT)
    prepare_environment(home, variables)
    assert variables["PREFECT_HOME"] == str(tmp_path / "home" / "prefect")
    for name in ("PREFECT_PROFILE", "PREFECT_PROFILES_PATH", "PREFECT_API_KEY", "PREFECT_API_URL"):
        assert name not in variables


def test_a_server_named_in_the_environment_wins_with_its_key(tmp_path: Path) -> None:
    named = {"PREFECT_API_URL": "http://127.0.0.1:4200/api", "PREFECT_API_KEY": "its-key"}
    variables = dict(named)
    home = find_home({"PILOTLINE_HOME": str(tmp_path / "home")}, ROOT)
    prepare_environment(home, variables)
    assert {name: variables[name] for name in named} == named
    assert variables["PREFECT_RESULTS_DEFAULT_SERIALIZER"] == "json"  # Prefect's default is pickle


def test_a_temporary_server_answers_and_ends_with_the_block(
    parent: subprocess.Popen[str], tmp_path: Path
) -> None:
    url = address_of(parent)
    said, _ = parent.communicate("", timeout=stretched(END_LIMIT_S))
    assert said.strip() == "none"  # the variable is put back
    assert not answers(url)
    assert wait_until(lambda: not processes_of(tmp_path / "home"), END_LIMIT_S)


def test_a_temporary_server_ends_when_its_parent_is_killed(
    parent: subprocess.Popen[str], tmp_path: Path
) -> None:
    url = address_of(parent)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    gone = wait_until(lambda: not processes_of(tmp_path / "home"), END_LIMIT_S)
    assert gone, processes_of(tmp_path / "home")
    assert not answers(url)


def test_a_named_server_that_does_not_answer_is_told(tmp_path: Path) -> None:
    # Port 9 is "discard"; nothing listens there.
    settings = {"PREFECT_API_URL": "http://127.0.0.1:9/api"}
    done = run_process(
        tmp_path / "home", "ingest", "flights", "--date", "2013-01-01", settings=settings
    )
    assert done.status == 1
    assert "'http://127.0.0.1:9/api': does not answer. Start it, or unset it." in done.err
    assert "Traceback" not in done.err
