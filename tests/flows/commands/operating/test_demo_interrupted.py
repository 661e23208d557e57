"""The demo stopped by Ctrl-C in the middle, and run to its end by the next one."""

import os
import shutil
import signal
import threading
from pathlib import Path

import pytest

from tests.flows.conftest import DEMO_LIMIT_S, Demo, contents_of, predictions_of, processes_of
from tests.support.commands import run_process, start_process
from tests.support.waiting import stretched, wait_until

END_LIMIT_S = 30  # a server takes its time to stop
TEST_LIMIT_S = 300  # this is one demo and a half: 90 s on two idle cores


@pytest.mark.timeout(stretched(TEST_LIMIT_S))
def test_ctrl_c_leaves_a_home_from_which_the_next_run_continues(demo: Demo, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    for part in ("cache", "prefect"):  # what any later command finds prepared
        shutil.copytree(demo.home / part, home / part)
    shutil.copy(demo.home / "online.db", home)
    process = start_process(home, "demo", "--json")
    assert process.stderr is not None
    said: list[str] = []
    listener = threading.Thread(target=said.extend, args=(process.stderr,))
    listener.start()
    log = home / "lake" / "predictions" / "flight-delay" / "_delta_log"
    assert wait_until(lambda: len(list(log.glob("*.json"))) >= 4, DEMO_LIMIT_S)  # three nights
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(stretched(END_LIMIT_S)) == 130
    listener.join()
    assert "Interrupted" in said[-1]
    assert not any("Traceback" in line for line in said)
    assert wait_until(lambda: not processes_of(home), END_LIMIT_S), processes_of(home)

    again = run_process(home, "demo", "--json", limit_s=DEMO_LIMIT_S)
    assert again.status == 0, again.err
    assert predictions_of(home) == predictions_of(demo.home)
    assert again.json["challenger"]["metrics"] == demo.summary["challenger"]["metrics"]
    assert contents_of(home)["scratch"] == []
    shutil.rmtree(home)
