"""The README's commands, run in its own order in a home the demo made."""

import re
import shlex
import shutil
from pathlib import Path

from tests.flows.conftest import Demo, copy_home
from tests.support.commands import run_command
from tests.support.places import ROOT

FENCE = re.compile(r"^```(?:console|sh|bash|shell)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)


def list_commands(text: str) -> list[str]:
    """Return the pilotline commands in the fenced shell blocks of ``text``, in order.

    In a block with prompts only lines after a prompt are commands, the others are output.
    """
    commands = []
    for block in FENCE.findall(text):
        lines = block.replace("\\\n", " ").splitlines()
        prompted = [line[2:] for line in lines if line.startswith("$ ")]
        for line in prompted or lines:
            words = shlex.split(line, comments=True)
            if words and words[0] in ("pilotline", ".venv/bin/pilotline"):
                commands.append(line)
    return commands


def test_commands_are_found_with_and_without_a_prompt() -> None:
    text = (
        "```console\n$ make demo   # not ours\n$ pilotline models\npilotline said this\n```\n"
        "```sh\npilotline show a \\\n  --json   # all of it\ngit status\n```\n"
        "```python\npilotline = 1\n```\n"
    )
    assert [shlex.split(line, comments=True) for line in list_commands(text)] == [
        ["pilotline", "models"],
        ["pilotline", "show", "a", "--json"],
    ]


def test_every_command_of_the_readme_works(demo: Demo, tmp_path: Path, server: str) -> None:
    home = copy_home(demo.home, tmp_path / "home")
    commands = list_commands((ROOT / "README.md").read_text("utf-8"))
    assert len(commands) >= 2
    for command in commands:
        words = shlex.split(command, comments=True)
        done = run_command(home, *words[1:], settings={"PREFECT_API_URL": server})
        assert done.status == 0, f"{command}\n{done.out}{done.err}"
        assert done.out.strip(), command
    shutil.rmtree(home)
