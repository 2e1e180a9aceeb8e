"""Which head fits which task, and the preprocessing of its release.

A head belongs to the data set whose classes it predicts, by the release's name for it. A task's row names the data set
with its classes in the same order (`Task.head`). Label order: the releases were trained on TFDS labels, and our tasks
follow the definition of those labels (ImageNet: WordNet numbers in order). For VTAB-1k tasks this was not tested on
released files, so `suite=classify` looks for a better order in its results (suites/heads/label_order.py).

Preprocessing: both releases test on images resized to a square without a crop, bilinear without antialiasing
(tf.image.resize), scaled to [-1, 1], at the size of the last training. For BiT the HyperRule gives the size
(suites/training/bit_hyperrule.py); its later public code uses 480 for all: suite.image_size=480.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ...models.provenance import Head
from ..images.transforms import View
from ..protocol import Task
from ..tasks import tasks
from ..training.bit_hyperrule import image_sizes

if TYPE_CHECKING:
    from ...models.spec import Model
    from ...models.weights_choice import WeightsChoice

OTHERS = {"ImageNet-21k": 21_843}  # number of classes of data sets without a task


def _data_of(head: Head) -> str:
    """The data set whose classes a head predicts, in lower case. A sidecar may name a task instead of the data set."""
    known = tasks()
    named = head.data in known and known[head.data].name == head.data
    return ((named and known[head.data].head) or head.data).lower()


def tasks_of(head: Head) -> list[Task]:
    """The built-in tasks with exactly the classes of a head."""
    data = _data_of(head)
    return [task for task in tasks().values() if task.head and task.head.lower() == data]


def answers(head: Head, task: Task) -> bool:
    """Whether a head predicts exactly the classes of a task. A folder of images is known at any path."""
    if head.listing and head.listing == task.revision:
        return True
    return _data_of(head) in (word.lower() for word in (task.head, task.name, *task.aliases) if word)


def head_of(weights: WeightsChoice, named: str | None) -> Head | None:
    """What is known of the head of these weights; `named` is the data set whose classes the user says that it has."""
    known = weights.head()
    if named is None:
        return known
    return replace(known or Head(data=named), data=named, listing=None, origin="head=")


def unfit(model: Model, weights: WeightsChoice, task: Task, named: str | None = None) -> str:
    """Why the head of these weights does not fit a task, with what to type instead; "" if it does.

    Also "" if nothing is known: for a file without a sidecar, another library's weights, and a user's model.
    """
    who = f"{model.name} with weights={weights}"
    if weights.random:
        return f"{who} has no trained head to score. Type {_tags_for(model, task)}, or train one: suite=finetune"
    head = head_of(weights, named)
    if head is None:
        return ""
    typed = dict(model.variant).get("pool")
    if head.pool is not None and typed not in (None, head.pool):
        return f"{who}: its head reads the feature {head.pool}, as {head.origin} says. Leave model.pool={typed} out"
    if answers(head, task):
        return ""
    fitting = [other.name for other in tasks_of(head)]
    if not fitting and head.data not in OTHERS:
        fitting = [head.data]
    same = (
        f", or head={task.name} if the head's classes are that folder's, in their order" if not task.published else ""
    )
    others = f" It answers task={','.join(fitting)}." if fitting else ""
    return (
        f"{who}: its head was trained for {head.data} ({_count(head)}), and {task.name} asks about {task.num_classes} "
        f"classes of its own.{others} For {task.name}, type {_tags_for(model, task)}{same}"
    )


def described(weights: WeightsChoice, task: Task, named: str | None = None) -> dict[str, str]:
    """Fields of a record: the head's classes, where that is stated, and what is known about their order."""
    head = head_of(weights, named)
    if head is None:
        return {"head": f"of {task.num_classes} classes; whose is not known", "label_order": "taken to be the task's"}
    vtab = head.data.startswith("VTAB-1k ")
    order = "TFDS's, as the task's; tried on no released file" if vtab else "the task's"
    return {"head": f"{head.data}, as {head.origin} says", "label_order": order}


def _count(head: Head) -> str:
    number = next((task.num_classes for task in tasks_of(head)), OTHERS.get(head.data))
    return f"{number} classes" if number else f"as {head.origin} says"


def _tags_for(model: Model, task: Task) -> str:
    fitting = [str(release) for release in model.releases if (head := release.head()) and answers(head, task)]
    if not fitting:
        return f"weights=FILE (no released file of {model.name} has a head for {task.name})"
    short = sorted(fitting, key=len)
    return f"weights={' or '.join(short[:4])}" + (f" (and {len(short) - 4} more)" if len(short) > 4 else "")


def view_of(model: Model, weights: WeightsChoice) -> View:
    """The preprocessing of the release of these weights; empty if nothing is known about it."""
    head = weights.head()
    if head is None:
        return View()
    size = head.image_size
    if size is None and model.architecture.tested_by_hyper_rule:
        _, size = image_sizes(model.name, small=any(task.small for task in tasks_of(head)))
    how = {"interpolation": head.interpolation, "antialias": head.antialias, "rounding": head.rounding}
    return View(resize=head.resize, image_size=size, crop_pct=head.crop_pct, **how)
