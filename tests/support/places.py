"""Where the checkout lies, for tests that start processes in it or read its files."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"
