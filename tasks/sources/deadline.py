"""How long a source may take for one day's rows."""

import time

from pilotline.tasks.errors import SourceError


class Deadline:
    """The moment by which a day has to be read; it starts with the reading."""

    def __init__(self, dataset: str, timeout_s: float) -> None:
        self.dataset = dataset
        self.timeout_s = timeout_s
        self._end = time.monotonic() + timeout_s

    @property
    def left_s(self) -> float:
        """Seconds that are left; negative after the end."""
        return self._end - time.monotonic()

    @property
    def passed(self) -> bool:
        """Whether it is over."""
        return self.left_s <= 0

    def check(self) -> None:
        """Do nothing if there is time left.

        Raises:
            SourceError: there is none.
        """
        if self.passed:
            raise self.error()

    def error(self) -> SourceError:
        """Return the words for a source that took too long."""
        return SourceError(
            self.dataset,
            f"it did not give the day within {self.timeout_s:g} s",
            "Look at the source, or raise timeout_s in [source].",
        )
