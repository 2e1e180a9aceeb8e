"""Inside a network: its first filters, its position embeddings, and the distances and rollout of its attention.

These are the arrays behind Figures 6, 7, 10, 11 and 14 of the ViT paper (Section 4.5, Appendices D.4, D.7 and D.8),
measured on the first `images` test images of a task and stored beside the record:

- `rgb_filters`: the first 28 principal components of the first layer's filters, centred on their mean. The layer is
  the patch embedding of a ViT, and the root convolution of hybrids and BiT (standardised, as it is applied). The value
  is the share of the variance that the components explain.
- `position_similarity`: cosine similarities of all position embeddings; the value is the mean over neighbours.
- `attention_distance`: for each head and layer, the mean distance in pixels of the input image between a query patch
  and all patches, weighted by attention, over queries and images. The distance between a hybrid's patches, which lie on
  its feature map, is also in pixels of the image. One value for all layers, and one for each.
- `attention_rollout`: the share of each patch in the output, for the first `examples` images, which are stored, too.
  The value is the share of the image that the map covers: exp(entropy) / patches.

What the paper leaves open is a setting. It does not say how the class token enters the distance. `class_token=out`, the
default, leaves it out and rescales the rest of a row to sum to 1; `class_token=zero` keeps its weight at distance 0, as
most re-implementations do. In both, a patch has distance 0 to itself: otherwise the paper's shortest distance, 8.0
pixels between patches of 16, would not be possible. The paper does not say either whether rollout adds the identity;
`identity=true`, the default, is the cited method's definition. Nor does it name its 128 images; here `task` does.

A BiT has filters only. One layer's attention of one batch is in memory at a time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..registry import UsageError
from .images.loading import load_ahead
from .images.transforms import Resize, ResizeSettings, Transform
from .probes.attention import (
    ClassToken,
    Rollout,
    Tokens,
    attention_distance,
    effective_share,
    neighbour_similarity,
    position_similarities,
    principal_components,
)
from .protocol import Context, Measurement, Split, Suite, Task, Work

if TYPE_CHECKING:
    import torch

    from ..models.spec import Model
    from ..models.weights_choice import WeightsChoice

MAPS_BYTES = 2**28  # of one layer's attention of one batch


@dataclass(frozen=True, kw_only=True)
class Internals(ResizeSettings, Suite):
    """Inside a network: filters, position embeddings, attention distance, rollout (ViT paper, Section 4.5)."""

    name: ClassVar[str] = "internals"
    default_models: ClassVar[tuple[str, ...]] = ("ViT-mini", "R+ViT-mini")
    default_tasks: ClassVar[str] = "photos"
    splits: ClassVar[tuple[str, ...]] = ("test",)

    images: int = 128  # number of test images, from the first; 128 as in the paper's Figure 7
    examples: int = 8  # number of these, from the first, that are stored with their rollout
    components: int = 28  # of the filters; the paper shows 28
    class_token: ClassToken = "out"  # out: left out; zero: its weight counts at distance 0
    identity: bool = True  # whether rollout adds the residual connection, as the method's authors do
    resize: Resize = "resize_crop"  # 8/7 of the model's size, then its centre
    image_size: int | None = None  # pixels; None: the model's own

    def check(self) -> None:
        self.check_resize()
        self.require_positive("images", "components", "image_size")
        invalid = not 0 <= self.examples <= self.images
        self.refuse("examples", invalid, f": these are the first of the images={self.images} that are looked at")

    def estimate(self, model: Model, task: Task, weights: WeightsChoice) -> Work:  # noqa: ARG002
        attends = model.architecture.attends
        return Work(images=min(self.images, task.splits.get("test", 0)) if attends else 0)

    def run(self, context: Context) -> Iterator[Measurement]:
        model = context.model
        size = self.size(model, context.weights)
        if not model.architecture.first_layer:
            raise UsageError(
                f"{model.name} does not show what is inside it: suite=internals takes ViT, BiT and hybrid rows of the "
                "catalog (`list models`), whose weights may also be timm's"
            )
        network: Any = context.build(image_size=size).to(context.device)  # pyright: ignore[reportAttributeAccessIssue]
        yield self._filters(context, network)
        if not model.architecture.attends:
            context.say(f"{model.name} has no attention and no position embeddings: its filters alone are measured")
            return
        posembed = model.architecture.position_embedding
        if posembed in ("none", "relative"):
            context.say(f"{model.name}: posembed={posembed} adds no position embeddings to show")
        else:
            yield self._positions(context, network)
        yield from self._attention(context, network, size)

    def _filters(self, context: Context, network: Any) -> Measurement:
        filters = network.rgb_filters.detach().float().cpu().numpy()
        components, explained = principal_components(filters, self.components)
        return Measurement(
            metric="rgb_filters",
            value=float(explained.sum()),
            unit="percent",
            question={"protocol": "internals", "metric": "rgb_filters", "components": self.components},
            treatment={"filters": list(filters.shape), "layer": context.model.architecture.first_layer},
            arrays={"components": components, "explained": explained},
        )

    def _positions(self, context: Context, network: Any) -> Measurement:
        similarities = position_similarities(network.position_embeddings.detach().float().cpu().numpy())
        value = neighbour_similarity(similarities)
        if not np.isfinite(value):
            raise UsageError(f"{context.model.name} has a single patch at this image size: type a larger image_size=")
        return Measurement(
            metric="position_similarity",
            value=value,
            unit="cosine",
            question={"protocol": "internals", "metric": "position_similarity"},
            treatment={"grid": list(similarities.shape[:2]), "size": list(self.size(context.model, context.weights))},
            arrays={"similarity": similarities},
        )

    def _attention(self, context: Context, network: Any, size: tuple[int, int]) -> Iterator[Measurement]:
        tokens = tokens_of(context.model, size)
        split = context.images(context.task, "test")
        typed = replace(self.typed_resize, resize=self.resize)
        transform = Transform.of_view(network.spec.input, typed).changed(size=size)
        distance, rollout, images = self._attend(context, network, split, tokens, transform)
        count, examples = len(distance), len(rollout)
        mean = distance.mean(axis=0)  # layers heads
        spread = distance.std(axis=0, ddof=1) if count > 1 else np.zeros_like(mean)
        treatment = {**transform.describe(), "grid": [tokens.rows, tokens.columns], "spacing": tokens.spacing}
        question = {"task": context.task.name, "protocol": "internals", "split": split.digest}
        class_token = {"out": "left out", "zero": "at distance 0"}[self.class_token]
        of_distance = question | {
            "metric": "attention_distance",
            "images": f"the first {count} test images",
            "class_token": class_token if tokens.class_token else "none",
        }
        arrays = {"distance": mean, "distance_std": spread, "uniform": np.asarray(tokens.uniform_distance())}
        for at, value in [({}, mean), *(({"layer": layer}, of_heads) for layer, of_heads in enumerate(mean))]:
            yield Measurement(
                metric="attention_distance",
                value=float(value.mean()),
                unit="pixels",
                at={"images": count} | at,
                question=of_distance | at,
                treatment=treatment,
                arrays={} if at else {name: array.astype(np.float32) for name, array in arrays.items()},
            )
        if self.examples:
            of_rollout = {"metric": "attention_rollout", "images": f"the first {examples} test images"}
            yield Measurement(
                metric="attention_rollout",
                value=float(effective_share(rollout).mean()),
                unit="percent",
                at={"images": examples},
                question=question | of_rollout | {"identity": self.identity},
                treatment=treatment,
                arrays={"rollout": rollout, "images": images},
            )

    def _attend(
        self, context: Context, network: Any, split: Split, tokens: Tokens, transform: Transform
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Attention distances and rollouts from one pass over the images, a batch and a layer at a time.

        Distances (images, layers, heads) in pixels; of the examples, rollouts (…, rows, columns) and the images as fed
        to the network, (…, H, W, 3) uint8.
        """
        import torch

        from .images.features import exact_convolutions

        count = min(self.images, len(split))
        heads = context.model.architecture.sizes()["heads"]
        batch = max(1, min(32, MAPS_BYTES // (4 * heads * (tokens.patches + tokens.first) ** 2)))
        spans = [range(start, min(start + batch, count)) for start in range(0, count, batch)]
        device = context.device
        patch_distances = torch.from_numpy(tokens.distances()).to(device)
        distances: list[torch.Tensor] = []
        rollouts = [torch.empty(0, tokens.rows, tokens.columns)]
        images = [torch.empty(0, *transform.size, 3, dtype=torch.uint8)]
        with contextlib.closing(load_ahead(split.images, spans, device)) as loaded:
            for span, packed in loaded:
                examples = max(0, min(self.examples, span.stop) - span.start)
                rollout = Rollout(identity=self.identity)
                layers: list[torch.Tensor] = []
                with torch.inference_mode(), exact_convolutions(device):
                    x = transform.apply(packed, device)
                    for maps in network.attention_by_layer(x):
                        layers.append(
                            attention_distance(maps, patch_distances, first=tokens.first, class_token=self.class_token)
                        )
                        if examples:
                            rollout.add(maps[:examples])
                    distances.append(torch.stack(layers, dim=1).float().cpu())  # B layers heads
                    if examples:
                        rollouts.append(rollout.of_output(tokens).float().cpu())
                        images.append(_as_pixels(x[:examples], transform))
                context.advance(len(span))
        distance = torch.cat(distances).numpy()
        finite = np.isfinite(distance).all(axis=(1, 2))
        if not finite.all():
            raise ValueError(f"{context.model.name} gives NaN or inf for image {int(finite.argmin())} of the split")
        return distance, torch.cat(rollouts).numpy(), torch.cat(images).numpy()


def tokens_of(model: Model, size: tuple[int, int]) -> Tokens:
    """The token grid of a ViT or hybrid on an image of (H, W) pixels."""
    vit: Any = model.architecture
    rows, columns = vit.grid(size)
    return Tokens(rows=rows, columns=columns, spacing=vit.patch_size * vit.stride, class_token=vit.pool == "token")


def _as_pixels(x: torch.Tensor, transform: Transform) -> torch.Tensor:
    """(B, H, W, 3) uint8 RGB from a normalised batch."""
    mean, std = (x.new_tensor(value).view(3, 1, 1) for value in (transform.mean, transform.std))
    pixels = ((x * std + mean) * 255).round().clamp(0, 255).byte()
    return pixels.permute(0, 2, 3, 1).cpu()


INTERNALS = Internals()
