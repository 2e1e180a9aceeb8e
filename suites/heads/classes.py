"""Which head answers which task, and how its release fed it: the one place that says so.

A head belongs to the data set whose classes it tells apart, by the name that the release gives it. A task names in its
row (`head`) the data set that has its classes in the same order. Label order: the releases were trained on TFDS labels;
our tasks follow the definition of those labels (ImageNet: WordNet numbers in order), which nobody here could try on the
released files of VTAB-1k tasks. What `suite=classify` measures is therefore searched for a better order
(suites/heads/label_order.py).

Feeding: both releases test on images resized straight to a square without a crop, bilinear without antialiasing
(tf.image.resize), scaled to [-1, 1]; at the size of the last training. Of BiT that is the HyperRule's
(suites/training/bit_hyperrule.py). Its public code, later, says 480 for all: suite.image_size=480.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..images.transforms import View
from ..protocol import Task
from ..tasks import tasks
from ..training.bit_hyperrule import image_sizes

if TYPE_CHECKING:
    from ...models.provenance import Head
    from ...models.spec import Model
    from ...models.weights_choice import WeightsChoice

OTHERS = {"ImageNet-21k": 21_843}  # classes of data sets that no task asks about


def _data_of(head: Head) -> str:
    """Whose classes a head tells apart, in small letters. A sidecar may name a task in place of its data set."""
    return next((task.head for task in tasks().values() if task.head and task.name == head.data), head.data).lower()


def tasks_of(head: Head) -> list[Task]:
    """The tasks of this package that ask for exactly the classes of a head, in their order."""
    data = _data_of(head)
    return [task for task in tasks().values() if task.head and task.head.lower() == data]


def answers(head: Head, task: Task) -> bool:
    """Whether a head tells apart exactly the classes of a task."""
    return _data_of(head) in (word.lower() for word in (task.head, task.name, *task.aliases) if word)


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
    asked = [other.name for other in tasks_of(head)]
    if not asked and head.data not in OTHERS:
        asked = [head.data]
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
    number = next((task.num_classes for task in tasks_of(head)), OTHERS.get(head.data))
    return f"{number} classes" if number else f"as {head.origin} says"


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
    size = head.image_size
    if size is None and model.architecture.tested_by_hyper_rule:
        _, size = image_sizes(model.name, small=any(task.small for task in tasks_of(head)))
    return View(resize=head.resize, antialias=head.antialias, image_size=size, crop_pct=head.crop_pct)
