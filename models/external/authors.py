"""What the authors of timm's models without a classifier take as the features of an image, where that is known."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from ..provenance import Pool

MEANING: dict[Pool, str] = {
    "classifier": "what enters the library's classifier",
    "token": "the class token after the last norm",
    "gap": "the mean of the patches' tokens after the last norm",
    "token-before-norm": "the class token before the last norm",
    "gap-before-norm": "the mean of the patches' tokens before the last norm",
}


@dataclass(frozen=True, kw_only=True)
class AuthorsPool:
    """The features that authors evaluate their weights by."""

    models: str  # a pattern of timm's NAME or NAME.TAG
    pool: Pool
    source: str
    differs: bool = False  # whether timm gives its classifier something else


KNOWN = (
    AuthorsPool(models=r"vit_\w+_dinov2\.lvd142m", pool="token", source="in DINOv2's k-NN evaluation"),
    AuthorsPool(
        models=r"vit_\w+_dinov3(_qkvb)?(\.lvd1689m|\.sat493m)?",
        pool="token",
        source="in DINOv3 (timm averages the patches)",
        differs=True,
    ),
    AuthorsPool(models=r"vit_\w+_sapiens2\.fb", pool="token", source="in Sapiens2"),
    AuthorsPool(models=r"vit_\w+\.dino", pool="token", source="in DINO's k-NN evaluation"),
    AuthorsPool(models=r"vit_\w+\.mae", pool="token", source="in MAE's linear probes"),
    AuthorsPool(models=r"vit_\w+_gap_\w+\.\w+_ijepa", pool="gap", source="in I-JEPA's linear probes"),
    AuthorsPool(
        models=r"vit_\w+\.orig_in21k",
        pool="token",
        source="in the ViT release (timm leaves out the tanh layer behind it)",
    ),
    AuthorsPool(
        models=r"vit_\w+_siglip_(?!gap)\w+(\.\w+)?",
        pool="classifier",
        source="in SigLIP: its tokens pooled by attention",
    ),
    AuthorsPool(
        models=r"(vit|eva|eva02)_\w+_clip_\w+\.(?!\w*ft_in)\w+",
        pool="classifier",
        source="in CLIP's linear probes: the class token after the last norm, before the projection",
    ),
)


@cache
def authors_pool(name: str) -> AuthorsPool | None:
    """The row for timm's NAME[.TAG], or the same below an owner on the hub (OWNER/NAME.TAG@REVISION)."""
    model = name.partition("@")[0].rpartition("/")[2]
    return next((known for known in KNOWN if re.fullmatch(known.models, model)), None)
