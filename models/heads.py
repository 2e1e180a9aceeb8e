"""A network's own head: the logits of the weights as they came, whoever built the network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from ..registry import UsageError
from .adapter import OwnBackbone
from .foreign import describe
from .published import PublishedBackbone

if TYPE_CHECKING:
    from .spec import Backbone, Model


class Headed:
    """A backbone seen through its own head: what passes for its features, (B, K), are the logits.

    `backbone` must have been built without `num_classes`. Raises UsageError where the weights brought no head.
    """

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone
        self.spec: Model = backbone.spec
        self.image_size = backbone.image_size
        self.num_features = backbone.num_features
        self.notes = backbone.notes
        if not has_head(backbone):
            left = "; ".join(note for note in backbone.notes if "head" in note)
            raise UsageError(
                f"{backbone.spec.name}: its weights have no head of their own{f' ({left})' if left else ''}, and there "
                "is nothing to score. Choose weights with one (`weights list`), or train one: suite=finetune"
            )

    def features(self, images: Tensor) -> Tensor:
        """(B, K) logits of (B, 3, H, W) images scaled by `spec.input`."""
        backbone: Any = self.backbone
        if not isinstance(backbone, OwnBackbone):
            return backbone(images)
        try:
            logits = backbone.module(images)
        except Exception as error:  # whatever a user's code raises
            raise UsageError(f"{self.spec.name} failed as a classifier, module(images): {describe(error)}") from error
        if isinstance(logits, Tensor) and logits.ndim == 2 and len(logits) == len(images):
            return logits
        what = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise UsageError(
            f"{self.spec.name}: module(images) gives {what} for {len(images)} images; expected (B, K) logits"
        )

    def state_dict(self) -> Mapping[str, Tensor]:
        return self.backbone.state_dict()


def has_head(backbone: Backbone) -> bool:
    """Whether calling a network gives logits. Of a user's module it is taken for granted: it is its own judge."""
    if isinstance(backbone, OwnBackbone):
        return isinstance(backbone.module, nn.Module)
    if isinstance(backbone, PublishedBackbone) and backbone.ends_in_logits:
        return True
    return getattr(backbone, "head", None) is not None
