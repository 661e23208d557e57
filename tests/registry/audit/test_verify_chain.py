"""The script with which anybody verifies an export of events, without pilotline."""

import json
import subprocess
import sys
from pathlib import Path

from pilotline.registry import Registry
from pilotline.registry.audit.auditing import export_events, list_heads
from tests.support.places import ROOT
from tests.support.registry.world import World

SCRIPT = ROOT / "docs" / "reference" / "verify_chain.py"
NAME = "flight-delay"


def test_a_script_without_pilotline_verifies_the_export(
    registry: Registry, world: World, tmp_path: Path
) -> None:
    with registry.write() as session:
        world.release(session, world.enter(session))
    with registry.read() as session:
        lines = [json.dumps(event) for event in export_events(session)]
        head = list_heads(session)[0]
    path = tmp_path / "events.jsonl"

    def verify(text: list[str], *heads: str) -> subprocess.CompletedProcess[str]:
        path.write_text("".join(f"{line}\n" for line in text), "utf-8")
        command = [sys.executable, "-I", str(SCRIPT), str(path), *heads]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    sound = verify(lines, head.hash)
    assert sound.stdout == f"{NAME}: {head.seq} events, head {head.hash}\n"
    edited = verify([lines[0].replace("author@", "nobody@"), *lines[1:]])
    assert edited.stderr == f"{NAME}: event 1 is missing, edited or moved\n"
    assert "event 3 is missing" in verify(lines[:2] + lines[3:]).stderr
    assert "events were cut" in verify(lines[:-1], head.hash).stderr


def test_the_script_without_a_file_says_how_it_is_called() -> None:
    told = subprocess.run(
        [sys.executable, "-I", str(SCRIPT)], capture_output=True, text=True, check=False
    )
    assert (told.returncode, told.stdout) == (2, "")
    assert "python3 verify_chain.py events.jsonl [HEAD ...]" in told.stderr


def test_the_script_is_as_short_as_promised() -> None:
    assert len(SCRIPT.read_text("utf-8").splitlines()) <= 33
