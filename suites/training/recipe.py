"""Recipe: everything that decides what one training run computes, as plain data. No torch here."""

# ruff: noqa: RUF009  # `setting` makes a field

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, Self

from ...registry import UsageError
from ..images.transforms import Resize
from .augment import Crop


def setting(usual: Any = None, *, unsaid: Any = None, **words: Any) -> Any:
    """A field of RecipeSettings: `usual` is a recipe's that does not say it, `unsaid` stands for what is not said.

    `words` are what can be typed for it beside its values: none=0.0. The word "recipe" is the same as not saying it.
    """
    return field(default=unsaid, metadata={"usual": usual, "words": {"recipe": unsaid, **words}})


@dataclass(frozen=True, kw_only=True)
class RecipeSettings:
    """What of a recipe can be typed: written, and checked, here alone. None, or an empty tuple: it is not said.

    What a recipe (`Recipe`) does not say is as usual. What a suite (`FineTune`) does not say is as its recipe has it.
    None is never "no clipping": that is 0, in both, and the word `none` on the command line.
    """

    lr: tuple[float, ...] = setting(unsaid=())  # at the end of warm-up; of several the best is taken
    steps: int = setting()
    warmup: int = setting(0, none=0)  # steps
    batch: int = setting(512)  # images a step, over all processes and micro-batches
    optimizer: Literal["sgd", "adam"] = setting("sgd")  # sgd with momentum; adam with decoupled weight decay
    # After warm-up: cosine, linear, constant, or steps: a tenth at `decay_at`.
    schedule: Literal["cosine", "linear", "steps", "constant"] = setting("cosine")
    # sgd: added to the gradient (coupled, L2: BiT's pre-training). adam: taken off every weight apart from it, times
    # the learning rate (decoupled: the ViT release's). Both act on all parameters, biases and norms included.
    weight_decay: float = setting(0.0, none=0.0)
    clip_norm: float = setting(1.0, none=0.0)  # global norm of the whole batch's gradient; 0: no clipping
    # Alpha of the Beta distribution; one lambda a batch (BiT paper, Section 3.3); 0: none.
    mixup: float = setting(0.0, none=0.0)
    polyak: float = setting(0.0, none=0.0)  # factor of the averaged weights, 0.9999 in the ViT paper's Table 2; 0: none
    image_size: int | None = setting()  # pixels; a recipe's None: the model's own
    # Pixels before a random crop, of crop=bit alone; a recipe's None: 448/384 of the size.
    resize: int | None = setting()
    # bit, inception, none; where a task's label forbids cropping, none whatever is said.
    crop: Crop = setting("bit", none="none")
    flip: bool = setting(True, none=False)  # mirror half of the images; where a task's label forbids it, never
    # Of test images: square (resized, no crop: both papers); resize_crop, shorter_crop: and the centre cut out, where
    # the task's label allows it.
    test_resize: Resize = setting("square")
    seed: tuple[int, ...] = setting((0, 1, 2), unsaid=())

    def said(self) -> dict[str, Any]:
        """The settings that are said, by name."""
        values = {item.name: getattr(self, item.name) for item in fields(RecipeSettings)}
        return {name: value for name, value in values.items() if value is not None and value != ()}

    def check_said(self) -> None:
        """Raise UsageError for values of settings that make no run, alone or together."""
        said = self.said()
        for name in ("steps", "batch", "image_size", "resize"):
            if said.get(name, 1) < 1:
                raise UsageError(f"suite.{name}={said[name]}: training needs at least 1")
        if any(not 0 < lr < float("inf") for lr in self.lr):
            given = ",".join(f"{lr:g}" for lr in self.lr)
            raise UsageError(f"suite.lr={given}: learning rates are numbers above 0, such as suite.lr=0.01")
        for name in ("weight_decay", "clip_norm", "mixup"):
            if not 0 <= said.get(name, 0) < float("inf"):
                raise UsageError(f"suite.{name}={said[name]:g}: type 0 for none, or a number above it")
        if not 0 <= said.get("polyak", 0) < 1:
            raise UsageError(f"suite.polyak={self.polyak:g}: type 0 for none, or a factor below 1, such as 0.9999")
        if said.get("warmup", 0) < 0:
            raise UsageError(f"suite.warmup={self.warmup}: a number of steps from 0 up")
        if said.get("warmup", 0) > said.get("steps", float("inf")):
            raise UsageError(
                f"suite.warmup={self.warmup}: of suite.steps={self.steps}, no more can be warm-up; type "
                f"suite.warmup={self.steps // 10}, or more suite.steps"
            )
        if any(seed < 0 for seed in self.seed) or len(set(self.seed)) < len(self.seed):
            raise UsageError(f"suite.seed={','.join(map(str, self.seed))}: seeds are different whole numbers from 0 up")


# What else records say of these: of images what is made of them (augmentation, test), of a network what it became.
TOLD_ELSEWHERE = frozenset(
    {"image_size", "resize", "crop", "flip", "test_resize", "test_crop_pct", "seed", "dropout", "tanh_layer", "note"}
)


@dataclass(frozen=True, kw_only=True)
class Recipe(RecipeSettings):
    """How a network is trained, complete. What is not said is as in the ViT paper's fine-tuning (Table 4).

    Raises TypeError without steps and a learning rate, UsageError for values that make no run.
    """

    momentum: float = 0.9  # of sgd
    betas: tuple[float, float] = (0.9, 0.999)  # of adam
    decay_at: tuple[int, ...] = ()  # schedule="steps": the last step before each decay
    decay_factor: float = 0.1
    label_smoothing: float = 0.0
    test_crop_pct: float | None = None  # the share of a side that a test crop keeps; None: 7/8
    dropout: float = 0.0  # of a transformer that is trained from scratch
    tanh_layer: bool = False  # before the head of a transformer that is trained from scratch
    note: str = ""  # where the protocol has nothing to say of a task, and what was taken instead

    def __post_init__(self) -> None:
        said = self.said()
        if "lr" not in said or "steps" not in said:
            raise TypeError("a recipe says its learning rates, lr=(0.01,), and its steps")
        for item in fields(RecipeSettings):
            if item.name not in said:
                object.__setattr__(self, item.name, item.metadata["usual"])
        self.check_said()
        if self.decay_at and self.schedule != "steps":
            raise UsageError(
                f"suite.decay_at is a setting of schedule=steps and changes nothing in schedule={self.schedule}"
            )
        shares = (("momentum", self.momentum), ("label_smoothing", self.label_smoothing))
        for name, value in (*shares, *(("betas", beta) for beta in self.betas)):
            if not 0 <= value < 1:
                raise UsageError(f"suite.{name}={value:g} is not in [0, 1)")

    def at(self, lr: float) -> Self:
        """With one of its learning rates: what a training run is done by."""
        return replace(self, lr=(lr,))

    def learning_rate(self, step: int) -> float:
        """The learning rate of a step of a run, counted from 0, as both official codes have it.

        While step < warmup it is scaled by step / warmup, so the first step of a warm-up moves nothing. Then, with
        p = (step - warmup) / (steps - warmup): cosine lr (1 + cos(pi p)) / 2, linear lr (1 - p) (the ViT release ends
        at 1e-5 instead of 0), constant lr; steps: lr times decay_factor for every entry of decay_at that is below
        `step` (big_transfer's `s < step`).
        """
        (lr,) = self.lr
        if self.warmup and step < self.warmup:
            # The ViT release's p is clipped to 0 here, so its decay begins after the warm-up, too.
            return lr * step / self.warmup
        progress = min(max((step - self.warmup) / max(self.steps - self.warmup, 1), 0.0), 1.0)
        scale = {
            "cosine": 0.5 * (1 + math.cos(math.pi * progress)),
            "linear": 1 - progress,
            "steps": self.decay_factor ** sum(at < step for at in self.decay_at),
            "constant": 1.0,
        }
        return lr * scale[self.schedule]

    def describe(self) -> dict[str, Any]:
        """What the training loop does in a run, as readable data, for records and for what a checkpoint belongs to."""
        (lr,) = self.lr
        plain = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
        found = {key: value for key, value in plain.items() if key not in TOLD_ELSEWHERE and key != "polyak"}
        # Records of all versions call averaging "ema", and have null, not 0, for no averaging and no clipping. Another
        # word would make the same measurement of another version a second one: tables compare treatments as text.
        return found | {"lr": lr, "clip_norm": self.clip_norm or None, "ema": self.polyak or None}
