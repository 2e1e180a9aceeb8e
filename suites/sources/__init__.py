"""Where images come from: each module reads one layout; the first that has all of a task serves it."""

from __future__ import annotations

from ..protocol import Source
from .folder import Folder
from .hub import Hub
from .imagenet import ImageNet
from .miniature.builtin import Builtin
from .raw import RAW
from .tfds import Tfds
from .torchvision import TORCHVISION
from .vtab1k import Vtab1k

SOURCES: tuple[Source, ...] = (Builtin(), TORCHVISION, RAW, ImageNet(), Tfds(), Vtab1k(), Hub(), Folder())
