"""Data sets as published, for those that torchvision has no class for, or lacks the label or the split of.

One module a format; a further format is a further module. The official splits are cut from the names (`splits.py`), so
that none of this needs TensorFlow.
"""

from __future__ import annotations

from ..published import AsPublished
from .clevr import Clevr
from .dmlab import DMLab
from .dsprites import DSprites
from .kitti import Kitti
from .resisc45 import Resisc45
from .retinopathy import Retinopathy
from .smallnorb import SmallNorb

RAW = AsPublished("raw", (Resisc45(), Retinopathy(), Clevr(), DMLab(), DSprites(), Kitti(), SmallNorb()))
