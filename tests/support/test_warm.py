"""A fork that begins with its imports done is a process like another: environment, streams, end."""

import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.commands import environment_of
from tests.support.places import ROOT
from tests.support.waiting import wait_until
from tests.support.warm import run_warm

LIMIT_S = 60
END_LIMIT_S = 5  # of what is killed
SHOW = """
import json, os, sys
from prefect.settings import PREFECT_API_URL, PREFECT_HOME
json.dump(
    {
        "words": sys.argv,
        "name": __name__,
        "environment": {k: v for k, v in os.environ.items() if k.startswith("P")},
        "api": PREFECT_API_URL.value(),
        "prefect": str(PREFECT_HOME.value()),
        "folder": os.getcwd(),
        "leads": os.getsid(0) == os.getpid(),
        "open": sorted(int(n) for n in os.listdir("/proc/self/fd") if int(n) < 3),
    },
    sys.stdout,
)
"""


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/api", "http://127.0.0.1:10/api"])
def test_it_has_the_environment_that_it_was_given_and_so_has_prefect(
    tmp_path: Path, url: str
) -> None:
    home = {"PREFECT_HOME": str(tmp_path / "prefect"), "PREFECT_API_URL": url}
    environment = environment_of(tmp_path, home)
    done = run_warm(["-c", SHOW, "one", "two"], environment, LIMIT_S)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found["environment"] == {k: v for k, v in environment.items() if k.startswith("P")}
    assert (found["api"], found["prefect"]) == (url, home["PREFECT_HOME"])
    assert (found["words"], found["name"]) == (["-c", "one", "two"], "__main__")
    assert (found["folder"], found["leads"], found["open"]) == (str(ROOT), True, [0, 1, 2])


@pytest.mark.parametrize(
    "code",
    [
        "import sys; sys.exit(3)",
        "import sys; sys.exit('no such thing')",
        "raise SystemExit",
        "import atexit; atexit.register(print, 'at the end'); print('before')",
        "from threading import Timer; Timer(0.2, print, ['of a thread that lasts']).start()",
        "import os; os._exit(9)",
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    ],
)
def test_it_ends_and_says_as_one_that_starts_from_nothing(tmp_path: Path, code: str) -> None:
    environment = environment_of(tmp_path, {"PREFECT_HOME": str(tmp_path)})
    warm = run_warm(["-c", code], environment, LIMIT_S)
    cold = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert (warm.returncode, warm.stdout, warm.stderr) == (
        cold.returncode,
        cold.stdout,
        cold.stderr,
    )


def test_an_error_of_its_own_is_a_traceback_and_status_1(tmp_path: Path) -> None:
    environment = environment_of(tmp_path, {"PREFECT_HOME": str(tmp_path)})
    done = run_warm(["-c", "{}['key']"], environment, LIMIT_S)
    assert done.returncode == 1
    assert done.stderr.rstrip().endswith("KeyError: 'key'")


def test_one_that_takes_too_long_is_killed_with_what_it_started(tmp_path: Path) -> None:
    environment = environment_of(tmp_path, {"PREFECT_HOME": str(tmp_path)})
    left = tmp_path / "left"
    code = f"import subprocess; subprocess.run(['sh', '-c', 'sleep 30; touch {left}'])"
    with pytest.raises(subprocess.TimeoutExpired):
        run_warm(["-c", code], environment, 0.5)
    named = f"sleep 30; touch {left}".encode()

    def runs() -> bool:
        found = False
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):  # it ends meanwhile
                found |= named in path.read_bytes().replace(b"\0", b" ")
        return found

    assert wait_until(lambda: not runs(), END_LIMIT_S)
