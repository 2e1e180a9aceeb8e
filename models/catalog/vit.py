"""Vision Transformers: ViT paper, Table 1, and the smaller sizes and mean-pooled ("gap") models of the AugReg release.

Parameter counts are those of the released files, with a 1000-class head at 224 pixels. The paper's 307 M for ViT-L is
the count of L/32.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypedDict, get_args

from ...registry import UsageError, suggest
from ..geometry import DEEPEST, check_positive, patch_grid, uncovered
from ..native import NativeArchitecture, mini_row, native_row
from ..spec import Model

PositionEmbedding = Literal["none", "1d", "2d", "relative", "bicubic", "sincos2d"]
PositionPlace = Literal["stem", "layers", "shared"]


@dataclass(frozen=True, kw_only=True)
class ViT(NativeArchitecture):
    """Vision Transformer (ViT paper, Section 3.1 and Table 1)."""

    network = "vit:VisionTransformer"
    weights_names = "vit"
    has_tanh_layer = True
    set_by_recipes = frozenset({"dropout"})
    attends = True
    first_layer = "patch embedding"

    patch_size: int  # side of a square patch, in pixels (in cells of the feature map for a hybrid)
    width: int  # hidden size D
    depth: int  # layers
    heads: int
    mlp_dim: int | None = None  # None: 4 x width, as in every published size
    pool: Literal["token", "gap"] = "token"  # class token, or mean of the tokens ("gap")
    # Width of the tanh layer between the representation and the head. None: as the weights file has it, and without a
    # file no layer. 0: no layer; a file's is dropped, with the head that was trained on it.
    pre_logits: int | None = None
    dropout: float = 0.0
    # Appendix D.4 and Table 8. 1d: one vector a patch, in raster order; 2d: half a vector for its column (X), half for
    # its row (Y); relative: in every layer, one vector for every distance between two tokens of the sequence. bicubic:
    # 1d, but a file's grid of another size is resized as timm does, not by the official code's order-1 spline.
    # sincos2d: nothing is learned; big_vision's sines and cosines of row and column, and none for the class token.
    posembed: PositionEmbedding = "1d"
    # stem: added once, to the tokens. layers: added to every layer's input, with embeddings of its own; shared: with
    # the same embeddings in every layer.
    posembed_at: PositionPlace = "stem"

    def check(self, name: str) -> None:
        check_positive(name, patch_size=self.patch_size, width=self.width, heads=self.heads)
        check_positive(name, most=DEEPEST, depth=self.depth)
        if self.mlp_dim is not None:
            check_positive(name, mlp_dim=self.mlp_dim)
        if self.pre_logits:  # 0 and None both mean no such layer; they differ in what becomes of a file's
            check_positive(name, pre_logits=self.pre_logits)
        if self.width % self.heads:
            raise UsageError(f"{name}: width={self.width} is not a multiple of heads={self.heads}")
        if self.pool not in ("token", "gap"):
            raise UsageError(f"{name}: pool='{self.pool}' is neither 'token' nor 'gap'")
        if not 0 <= self.dropout < 1:
            raise UsageError(f"{name}: dropout={self.dropout} is not in [0, 1)")
        self._check_positions(name)

    def _check_positions(self, name: str) -> None:
        posembed, place = self.posembed, self.posembed_at
        for setting, value, kind in (
            ("posembed", posembed, PositionEmbedding),
            ("posembed_at", place, PositionPlace),
        ):
            if value not in get_args(kind):
                raise UsageError(f"{name}: {setting}='{value}'. {suggest(value, get_args(kind))}")
        if posembed == "2d" and self.width % 2:
            raise UsageError(f"{name}: posembed=2d needs an even width, half for X, half for Y, not {self.width}")
        if posembed == "sincos2d" and (self.width % 4 or self.width < 8):
            raise UsageError(f"{name}: posembed=sincos2d needs a width that is a multiple of 4, not {self.width}")
        if posembed == "sincos2d" and place != "stem":
            raise UsageError(f"{name}: posembed=sincos2d is added once, at the stem; leave posembed_at out")
        if posembed in ("none", "relative") and place != "stem":
            raise UsageError(
                f"{name}: posembed={posembed} adds nothing to the tokens, so posembed_at={place} has no meaning; leave "
                "it out, or use posembed=1d or 2d"
            )

    @property
    def stride(self) -> int:
        """The total stride, in image pixels, of the map that patches are cut from."""
        return 1

    def grid(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of tokens for an image of (H, W) pixels. Raises UsageError where the patch does not fit."""
        return patch_grid(image_size, self.patch_size, self.stride)

    def uncovered(self, image_size: tuple[int, int]) -> str | None:
        """A sentence on which part of an image of (H, W) pixels no patch covers, or None where patches cover it all."""
        rows, columns = uncovered(image_size, self.patch_size, self.stride)
        if not rows and not columns:
            return None
        of = "image" if self.stride == 1 else "feature map"
        return f"the last {rows} rows and {columns} columns of the {of} are in no patch, as in the official code"

    def sizes(self) -> Mapping[str, int]:
        return {"layers": self.depth, "width": self.width, "mlp": self.hidden, "heads": self.heads}

    @property
    def position_embedding(self) -> PositionEmbedding:
        return self.posembed

    def in_training(self, *, dropout: float, tanh_layer: bool) -> Mapping[str, Any]:
        changes: dict[str, Any] = {}
        if dropout and not self.dropout:
            changes["dropout"] = dropout
        if tanh_layer and self.pre_logits is None:
            changes["pre_logits"] = self.width
        return changes

    @property
    def hidden(self) -> int:
        """Width inside the MLP."""
        return self.mlp_dim or 4 * self.width

    def num_features(self) -> int:
        return self.width

    def macs(self, image_size: tuple[int, int]) -> int:
        return self.transformer_macs(image_size, channels=3)

    def transformer_macs(self, image_size: tuple[int, int], channels: int) -> int:
        """MACs from a feature map of this many channels (3: the image itself) to the representation."""
        rows, columns = self.grid(image_size)
        patches = rows * columns
        tokens = patches + (self.pool == "token")
        embedding = patches * self.patch_size**2 * channels * self.width
        projections = 4 * tokens * self.width**2  # queries, keys, values, output
        attention = 2 * tokens**2 * self.width  # queries x keys, weights x values
        if self.posembed == "relative":
            attention += tokens * (2 * tokens - 1) * self.width  # queries x distances
        mlp = 2 * tokens * self.width * self.hidden
        return embedding + self.depth * (projections + attention + mlp) + self.width * (self.pre_logits or 0)


class Size(TypedDict):
    """The sizes that a letter stands for (Ti, S, B, L, H)."""

    width: int
    depth: int
    heads: int


TINY: Size = {"width": 192, "depth": 12, "heads": 3}
SMALL: Size = {"width": 384, "depth": 12, "heads": 6}
BASE: Size = {"width": 768, "depth": 12, "heads": 12}
LARGE: Size = {"width": 1024, "depth": 24, "heads": 16}
HUGE: Size = {"width": 1280, "depth": 32, "heads": 16}


def vit_row(name: str, params: int, architecture: ViT, *published: str) -> Model:
    """A row. AugReg's tables write the name without "ViT-"."""
    return native_row(name, "ViT", params, architecture, name.removeprefix("ViT-"), *published)


PAPER = (
    vit_row("ViT-Ti/16", 5_717_416, ViT(patch_size=16, **TINY)),
    vit_row("ViT-S/16", 22_050_664, ViT(patch_size=16, **SMALL)),
    vit_row("ViT-S/32", 22_878_952, ViT(patch_size=32, **SMALL)),
    vit_row("ViT-B/8", 86_576_872, ViT(patch_size=8, **BASE)),
    vit_row("ViT-B/16", 86_567_656, ViT(patch_size=16, **BASE)),
    vit_row("ViT-B/32", 88_224_232, ViT(patch_size=32, **BASE)),
    replace(vit_row("ViT-L/16", 304_326_632, ViT(patch_size=16, **LARGE)), tuned_with_dropout=0.1),
    vit_row("ViT-L/32", 306_535_400, ViT(patch_size=32, **LARGE)),
    replace(vit_row("ViT-H/14", 632_045_800, ViT(patch_size=14, **HUGE)), tuned_with_dropout=0.1),
)

# The mean of the tokens instead of a class token, hence two vectors fewer. Released as "…-gap-norep".
GAP = (
    vit_row("ViT-S/32-gap", 22_878_184, ViT(patch_size=32, pool="gap", **SMALL), "ViT-S_32-gap-norep"),
    vit_row("ViT-S/16-gap", 22_049_896, ViT(patch_size=16, pool="gap", **SMALL), "ViT-S_16-gap-norep"),
    vit_row("ViT-B/32-gap", 88_222_696, ViT(patch_size=32, pool="gap", **BASE), "ViT-B_32-gap-norep"),
    vit_row("ViT-B/16-gap", 86_566_120, ViT(patch_size=16, pool="gap", **BASE), "ViT-B_16-gap-norep"),
)

MINI = mini_row("ViT-mini", "ViT", 1_023_080, ViT(patch_size=16, width=128, depth=4, heads=4))
