"""The seconds a job has taken, over all attempts of which it has something to go on from."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from ..stable import replacing

FILE = "seconds"  # in the folder of a job that is not finished
EVERY = 10.0  # seconds; a killed process leaves no more than these uncounted


class JobClock:
    """A clock that goes on where the attempt before stood.

    It is kept only in a folder that is there: a job without one begins anew, and so does its time.
    """

    def __init__(self, folder: Path, *, keeps: bool = True) -> None:
        """`keeps`: whether this process writes the time down."""
        self._path, self._keeps = folder / FILE, keeps
        self._begun = self._kept = time.monotonic()
        self._before = _read(self._path)

    @property
    def seconds(self) -> float:
        return self._before + time.monotonic() - self._begun

    def tick(self) -> None:
        """The job has moved on."""
        if time.monotonic() - self._kept >= EVERY:
            self.keep()

    def keep(self) -> None:
        """Write the time so far down, for the next attempt; on a full disk it is lost, and the job goes on."""
        self._kept = time.monotonic()
        if self._keeps and self._path.parent.is_dir():
            with contextlib.suppress(OSError), replacing(self._path) as temporary:
                temporary.write_text(f"{self.seconds!r}\n", encoding="utf-8")


def _read(path: Path) -> float:
    try:
        return max(0.0, float(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return 0.0
