"""The published image sets, one a file: how each source reads its copy. downloads.csv says where the files are.

To add a set, add a file here, and its tasks as rows in suites/tasks. See eurosat.py for class folders, dtd.py for
lists of files, and caltech101.py for a format of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from ....registry import Registry, collect
from ..image_set import ImageSet


@cache
def image_sets() -> Mapping[str, ImageSet]:
    """All image sets by name."""
    return dict(Registry("image set", collect(__name__, ImageSet)))
