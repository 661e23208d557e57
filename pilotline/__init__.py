"""From a model folder in the lab to an approved, nightly scored, monitored production service."""

from pathlib import Path

if Path(__file__).with_name("tasks").is_file():
    raise ImportError(
        "pilotline/tasks is a file where a link should be: this copy was unpacked without symbolic "
        "links. Clone it with git, or install the wheel."
    )
