"""Which head answers which task, and how its release fed it: the one place that says so.

A head belongs to the data set whose classes it tells apart, by the name that the release gives it. Here is which of our
tasks ask for exactly these classes in this order. Label order: the releases were trained on TFDS labels; our tasks
follow the definition of those labels (ImageNet: WordNet numbers in order), which nobody here could try on the released
files of VTAB-1k tasks. What `suite=classify` measures is therefore searched for a better order
(suites/heads/label_order.py).

Feeding: both releases test on images resized straight to a square without a crop, bilinear without antialiasing
(tf.image.resize), scaled to [-1, 1]; at the size of the last training. Of BiT that is the HyperRule's: 128 pixels
where images are below 96 x 96, else 384 (R152x4: 480). Its public code, later, says 480 for all: suite.image_size=480.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..images.transforms import View
from ..protocol import Task

if TYPE_CHECKING:
    from ...models.provenance import Head
    from ...models.spec import Model
    from ...models.weights_choice import WeightsChoice

SMALL, LARGE, LARGEST = 128, 384, 480  # pixels: the BiT-HyperRule (BiT paper, Section 3.3)


@dataclass(frozen=True, kw_only=True)
class Classes:
    """What a head tells apart, and the tasks with the same classes in the same order."""

    number: int
    tasks: tuple[str, ...]
    small: bool = False  # images below 96 x 96 pixels


HEADS: Mapping[str, Classes] = {
    "ImageNet": Classes(number=1000, tasks=("ImageNet", "ImageNet ReaL", "ImageNet-V2", "ObjectNet")),
    "ImageNet-21k": Classes(number=21_843, tasks=()),
    "VTAB-1k caltech101": Classes(number=102, tasks=("Caltech101",)),
    "VTAB-1k cifar100": Classes(number=100, tasks=("CIFAR-100", "CIFAR-100-full"), small=True),
    "VTAB-1k dtd": Classes(number=47, tasks=("DTD",)),
    "VTAB-1k oxford_flowers102": Classes(number=102, tasks=("Flowers102", "Oxford Flowers-102")),
    "VTAB-1k oxford_iiit_pet": Classes(number=37, tasks=("Pets", "Oxford-IIIT Pets")),
    "VTAB-1k sun397": Classes(number=397, tasks=("Sun397",)),
    "VTAB-1k svhn": Classes(number=10, tasks=("SVHN",), small=True),
    "VTAB-1k patch_camelyon": Classes(number=2, tasks=("Camelyon",)),  # exactly 96 x 96
    "VTAB-1k eurosat": Classes(number=10, tasks=("EuroSAT",), small=True),
    "VTAB-1k resisc45": Classes(number=45, tasks=("Resisc45",)),
    "VTAB-1k diabetic_retinopathy": Classes(number=5, tasks=("Retinopathy",)),
    "VTAB-1k clevr-count": Classes(number=8, tasks=("Clevr-Count",)),
    "VTAB-1k clevr-distance": Classes(number=6, tasks=("Clevr-Dist",)),
    "VTAB-1k dmlab": Classes(number=6, tasks=("DMLab",)),
    "VTAB-1k kitti-distance": Classes(number=4, tasks=("KITTI-Dist",)),
    "VTAB-1k dsprites-xpos": Classes(number=16, tasks=("dSpr-Loc",), small=True),
    "VTAB-1k dsprites-orientation": Classes(number=16, tasks=("dSpr-Ori",), small=True),
    "VTAB-1k smallnorb-azimuth": Classes(number=18, tasks=("sNORB-Azim",)),  # exactly 96 x 96
    "VTAB-1k smallnorb-elevation": Classes(number=9, tasks=("sNORB-Elev",)),
}


def classes_of(head: Head) -> Classes | None:
    """What is known of the classes of a head's data set, or of the task that a sidecar names in its place."""
    named = (known for data, known in HEADS.items() if head.data.lower() == data.lower() or head.data in known.tasks)
    return next(named, None)


def answers(head: Head, task: Task) -> bool:
    """Whether a head tells apart exactly the classes of a task."""
    known = classes_of(head)
    if known is not None:
        return task.name in known.tasks
    return head.data.lower() in (word.lower() for word in (task.name, *task.aliases))


def unfit(model: Model, weights: WeightsChoice, task: Task) -> str:
    """Why the head of these weights cannot be asked about a task, with what to type instead; "" where it can.

    Of a file without a sidecar, another library's weights and a user's model nothing is known beforehand: "".
    """
    who = f"{model.name} with weights={weights}"
    if weights.random:
        return f"{who} has no trained head to score. Type {_tags_for(model, task)}, or train one: suite=finetune"
    head = weights.head()
    if head is None or answers(head, task):
        return ""
    asked = known.tasks if (known := classes_of(head)) else (head.data,)
    others = f" It answers task={','.join(asked)}." if asked else ""
    return (
        f"{who}: its head was trained for {head.data} ({_count(head)}), and {task.name} asks about {task.num_classes} "
        f"classes of its own.{others} For {task.name}, type {_tags_for(model, task)}"
    )


def described(weights: WeightsChoice, task: Task) -> dict[str, str]:
    """What a record says of the head: whose classes, who says so, and what is known of their order."""
    head = weights.head()
    if head is None:
        return {"head": f"of {task.num_classes} classes; whose is not known", "label_order": "taken to be the task's"}
    vtab = head.data.startswith("VTAB-1k ")
    order = "TFDS's, as the task's; tried on no released file" if vtab else "the task's"
    return {"head": f"{head.data}, as {head.origin} says", "label_order": order}


def _count(head: Head) -> str:
    known = classes_of(head)
    return f"{known.number} classes" if known else f"as {head.origin} says"


def _tags_for(model: Model, task: Task) -> str:
    fitting = [str(each) for each in model.releases if (head := each.head()) and answers(head, task)]
    if not fitting:
        return f"weights=FILE (no released file of {model.name} has a head for {task.name})"
    short = sorted(fitting, key=len)
    return f"weights={' or '.join(short[:4])}" + (f" (and {len(short) - 4} more)" if len(short) > 4 else "")


def view_of(model: Model, weights: WeightsChoice) -> View:
    """How the release of these weights feeds its images; empty where nothing is known of them."""
    head = weights.head()
    if head is None:
        return View()
    size = head.image_size or _hyper_rule(model, head)
    return View(resize=head.resize, antialias=head.antialias, image_size=size, crop_pct=head.crop_pct)


def _hyper_rule(model: Model, head: Head) -> int | None:
    """The BiT-HyperRule's size where a file's is not stated; the row's own of other models."""
    if not model.architecture.tested_by_hyper_rule:
        return None
    known = classes_of(head)
    if known and known.small:
        return SMALL
    return LARGEST if model.name in ("BiT-R152x4", "BiT-R152x2") else LARGE
