"""A network with the head that its weights brought, for suites that score its logits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor

from ..registry import UsageError

if TYPE_CHECKING:
    from .spec import Backbone, Model


class LogitsAsFeatures:
    """Wraps a backbone: its `features` are the (B, K) logits of the head that its weights brought.

    `backbone` must have been built without `num_classes`. Raises UsageError where the weights have no head.
    """

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone
        self.spec: Model = backbone.spec
        self.image_size = backbone.image_size
        self.num_features = backbone.num_features
        self.notes = backbone.notes
        if not backbone.has_own_head:
            left = "; ".join(note for note in backbone.notes if "head" in note)
            raise UsageError(
                f"{backbone.spec.name}: its weights have no head of their own{f' ({left})' if left else ''}, and there "
                "is nothing to score. Choose weights with one (`weights list`), or train one: suite=finetune"
            )

    def features(self, images: Tensor) -> Tensor:
        """(B, K) logits of (B, 3, H, W) images scaled by `spec.input`."""
        return self.backbone.own_logits(images)

    def state_dict(self) -> Mapping[str, Tensor]:
        return self.backbone.state_dict()
