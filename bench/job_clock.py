"""Measures the seconds that a job takes, over all attempts that it resumes from."""

from __future__ import annotations

import contextlib
import math
import time
from pathlib import Path

from ..stable import replacing

EVERY = 10.0  # seconds between two savings; a killed process loses no more


class JobClock:
    """Counts on from the time that the previous attempt saved.

    The time is saved only where the work folder exists: a job without one starts again from the beginning.
    """

    def __init__(self, folder: Path, *, saves: bool = True) -> None:
        """`saves`: whether this process writes the time to the folder."""
        self._path, self._saves = folder / "seconds", saves
        self._begun = self._saved = time.monotonic()
        self._before = 0.0
        with contextlib.suppress(OSError, ValueError):
            before = float(self._path.read_text(encoding="utf-8"))
            self._before = before if 0 <= before < math.inf else 0.0

    @property
    def seconds(self) -> float:
        return self._before + time.monotonic() - self._begun

    def tick(self) -> None:
        """Save the time where the last saving is long enough ago."""
        if time.monotonic() - self._saved >= EVERY:
            self.save()

    def save(self) -> None:
        """Write the time so far for the next attempt. On a full disk it is lost, and the job goes on."""
        self._saved = time.monotonic()
        if self._saves and self._path.parent.is_dir():
            with contextlib.suppress(OSError), replacing(self._path) as temporary:
                temporary.write_text(f"{self.seconds!r}\n", encoding="utf-8")
