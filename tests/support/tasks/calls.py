"""What fixtures give that tests call, with its arguments, so that mypy sees a wrong one."""

from datetime import date
from typing import Protocol

from pilotline.tasks.score.days import DayScored
from pilotline.tasks.score.job import Job


class Score(Protocol):
    """Scores days with the champion, or by another job."""

    def __call__(self, *days: date, job: Job = ...) -> list[DayScored]:
        """Return what came of each day."""
