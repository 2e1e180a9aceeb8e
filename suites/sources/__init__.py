"""Where images come from: each source reads one layout on disk. The first source that has all of a task serves it."""

from __future__ import annotations

from collections.abc import Mapping

from ..protocol import Source
from .as_published import AsPublished
from .folder import Folder
from .fractals import Fractals
from .hub import Hub
from .hugging_face import HuggingFace
from .image_set import ImageSet
from .miniature.builtin import Builtin
from .sets import image_sets
from .sets.imagenet import ImageNet
from .tfds import Tfds
from .vtab1k import Vtab1k


def sources(sets: Mapping[str, ImageSet] | None = None) -> tuple[Source, ...]:
    """All sources, in the order in which they are tried. `sets`: the image sets they know; None: the built-in ones."""
    sets = image_sets() if sets is None else sets
    published = (AsPublished("torchvision", sets), AsPublished("raw", sets))
    return (Builtin(), *published, ImageNet(), Tfds(sets), Vtab1k(), Hub(sets), Folder(), HuggingFace(), Fractals())
