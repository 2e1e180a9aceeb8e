"""Vision Transformers: ViT paper, Table 1, and the smaller sizes and mean-pooled ("gap") models of the AugReg release.

Parameter counts are the released files', with a 1000-class head at 224 pixels. The paper's 307 M of ViT-L is L/32's.
"""

from __future__ import annotations

from typing import TypedDict

from ..architectures.vit import ViT
from ..names import spellings
from ..spec import Input, Model


class Size(TypedDict):
    """What a size's letter stands for."""

    width: int
    depth: int
    heads: int


TINY: Size = {"width": 192, "depth": 12, "heads": 3}
SMALL: Size = {"width": 384, "depth": 12, "heads": 6}
BASE: Size = {"width": 768, "depth": 12, "heads": 12}
LARGE: Size = {"width": 1024, "depth": 24, "heads": 16}
HUGE: Size = {"width": 1280, "depth": 32, "heads": 16}


def vit(name: str, params: int, architecture: ViT, *published: str) -> Model:
    """A row. AugReg's tables write the name without its "ViT-"."""
    aliases = spellings(name, name.removeprefix("ViT-"), *published)
    return Model(name=name, family="ViT", architecture=architecture, params=params, aliases=aliases)


PAPER = (
    vit("ViT-Ti/16", 5_717_416, ViT(patch_size=16, **TINY)),
    vit("ViT-S/16", 22_050_664, ViT(patch_size=16, **SMALL)),
    vit("ViT-S/32", 22_878_952, ViT(patch_size=32, **SMALL)),
    vit("ViT-B/8", 86_576_872, ViT(patch_size=8, **BASE)),
    vit("ViT-B/16", 86_567_656, ViT(patch_size=16, **BASE)),
    vit("ViT-B/32", 88_224_232, ViT(patch_size=32, **BASE)),
    vit("ViT-L/16", 304_326_632, ViT(patch_size=16, **LARGE)),
    vit("ViT-L/32", 306_535_400, ViT(patch_size=32, **LARGE)),
    vit("ViT-H/14", 632_045_800, ViT(patch_size=14, **HUGE)),
)

# The mean of the tokens in place of a class token: two vectors of the width fewer. Released as "…-gap-norep".
GAP = (
    vit("ViT-S/32-gap", 22_878_184, ViT(patch_size=32, pool="gap", **SMALL), "ViT-S_32-gap-norep"),
    vit("ViT-S/16-gap", 22_049_896, ViT(patch_size=16, pool="gap", **SMALL), "ViT-S_16-gap-norep"),
    vit("ViT-B/32-gap", 88_222_696, ViT(patch_size=32, pool="gap", **BASE), "ViT-B_32-gap-norep"),
    vit("ViT-B/16-gap", 86_566_120, ViT(patch_size=16, pool="gap", **BASE), "ViT-B_16-gap-norep"),
)

MINI = Model(
    name="ViT-mini",
    family="ViT",
    architecture=ViT(patch_size=16, width=128, depth=4, heads=4),
    params=1_023_080,
    input=Input(size=(64, 64)),
    aliases=spellings("ViT-mini"),
    small=True,
)
