"""One-line descriptions of errors in other people's code."""

from __future__ import annotations

import traceback
from pathlib import Path


def describe_error(error: BaseException) -> str:
    """Type and message of an error, and the file and line where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {str(error).strip()}{place}"
