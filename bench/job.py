"""A job: one question to one model, and the key that its cell is stored under."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from typing import Any

from ..models import select_model
from ..models.released.table import Release
from ..models.selection import other_name
from ..models.spec import Model
from ..models.weights_choice import WeightsChoice
from ..registry import plain_word
from ..results.record import variant_of
from ..stable import sha
from ..suites.protocol import NO_TASK, Source, Suite, Task, Work
from .fingerprint import called_code, code_sha, imported_modules, is_ours, module_of, network_modules, source_sha
from .words import plain

# A task's part of the identity -> the field it is read from. The other fields of a task only describe it.
TASK_IDENTITY = {
    "name": "name",
    "images": "image_set",
    "target": "target",
    "num_classes": "num_classes",
    "splits": "splits",
    "label": "label",
    "recipe": "recipe",
    "revision": "revision",
}


@dataclass(frozen=True, kw_only=True)
class Job:
    """One question to one model, fully resolved."""

    suite: Suite
    model: Model
    weights: WeightsChoice
    task: Task
    order: tuple[int | str, ...]  # sort key: the place in tables
    missing: str = ""  # why it cannot run here
    swept: str = ""  # the settings of the suite that tell it from other jobs of its plan, in words
    machine: Mapping[str, str] = field(default_factory=dict)  # device and libraries, where the numbers depend on them
    skip_bad: bool = False  # whether unreadable images are left out
    label: str | None = None  # the name to show, "" for none; None: nobody said. No part of the identity
    source: Source | None = field(default=None, compare=False, repr=False)  # None where no source has the task
    # The tasks whose images the suite reads beside its own (`Suite.tasks_beside`), by name
    beside: Mapping[str, tuple[Task, Source]] = field(default_factory=dict, compare=False, repr=False)

    @property
    def source_name(self) -> str:
        return self.source.name if self.source else ""

    @property
    def names(self) -> dict[str, str]:
        """What its records call it, by column."""
        return {
            "suite": self.suite.name,
            "model": self.model.name,
            "variant": self.variant,
            "weights": str(self.weights),
            "task": self.task.name,
            "source": self.source_name,
        }

    @cached_property
    def identity(self) -> dict[str, Any]:
        """All settings that can change the job's numbers, as plain data. No data or weights file is read for it."""
        return {
            "suite": self.suite.name,
            "version": self.suite.version,
            "settings": {
                name: value
                for name, value in _as_plain(self.suite).items()
                if name not in self.suite.incidental
                and not (value is None and name in self.suite.in_fed | self.suite.added)
            },
            "model": self.model.name,
            "network": self.model.architecture.network,
            "architecture": _architecture(self.model),
            **({"kept_empty": list(self.model.kept_empty)} if self.model.kept_empty else {}),
            "input": _as_plain(self.model.input),
            "weights": str(self.weights),
            **({"fed": fed} if (fed := plain(self.suite.fed(self.model, self.weights, self.task))) else {}),
            "task": _task(self.task),
            **({"beside": [_task(task) for task, _ in self.beside.values()]} if self.beside else {}),
            "source": self.source_name,
            **({"skip_bad": True} if self.skip_bad else {}),  # fewer images are another question
            **({"machine": dict(self.machine)} if self.machine else {}),
        }

    @cached_property
    def slot(self) -> str:
        """The digest of the identity without code, source and skip_bad. Of a slot and source the newest cell counts."""
        code = self.model.architecture.code_fields
        architecture = {name: value for name, value in self.identity["architecture"].items() if name not in code}
        asked = {name: value for name, value in self._digested.items() if name != "skip_bad"}
        return sha(asked | {"architecture": architecture, "source": None})

    @cached_property
    def key(self) -> str:
        """The digest of the identity and of the code that computes the numbers."""
        suite = type(self.suite)
        included = {source_sha(thing) for thing in (suite, *self._declared_by) if not is_ours(thing)}  # users' files
        resolved = plain(self.suite.resolved(self.model, self.weights, self.task))
        others = [_architecture(row) for row in self._others]
        return sha(
            self._digested
            | {"code": code_sha(*self.modules, alone=(module_of(suite),) if is_ours(suite) else ())}
            | ({"included": sorted(included)} if included else {})
            | ({"resolved": resolved} if resolved else {})
            | ({"others": others} if others else {})
        )

    @property
    def _digested(self) -> dict[str, Any]:
        """The identity with what settings of resizing come to in their place.

        A user's network says its kernel only once it is built: there they stay beside it, unless they come to nothing.
        """
        architecture, settings = self.model.architecture, self.identity["settings"]
        known = architecture.input_is_known or architecture.resizes_by_pillow or "fed" not in self.identity
        asked = {name: value for name, value in settings.items() if not (known and name in self.suite.in_fed)}
        return self.identity | {"settings": asked}

    @property
    def modules(self) -> tuple[str, ...]:
        """The modules of ours that compute the numbers, besides the suite's own; what they import counts, too."""
        fed = () if self.task is NO_TASK else ("suites.images.feeding",)
        ours = {module_of(thing) for thing in self._declared_by if is_ours(thing)}
        networks = {module for row in (self.model, *self._others) for module in network_modules(row)}
        suite = type(self.suite)
        asked = self.suite.modules() if is_ours(suite) else imported_modules(suite)
        return tuple(sorted({*asked, *fed, *networks, *ours}))

    @cached_property
    def _others(self) -> list[Model]:
        return other_rows(self.suite, self.model)

    @property
    def _declared_by(self) -> list[Any]:
        """The classes and functions that define images and labels: the source, its readers, the task's label rule."""
        things: list[Any] = []
        for task, source in ((self.task, self.source), *self.beside.values()):
            readers = getattr(source, "readers", None)  # a user's source need not have it
            things += [
                called_code(thing) for thing in (source, *(readers(task) if readers else ())) if thing is not None
            ]
            things += [task.rule] if task.rule else []
        return things

    @property
    def title(self) -> str:
        """The job in words, for people."""
        who = [self.label] if self.label else [self.model.name, self.variant and f"[{self.variant}]", str(self.weights)]
        return " ".join(filter(None, [self.suite.name, *who, self.task.name, self.swept]))

    @property
    def variant(self) -> str:
        """The settings in which the model differs from the named row: "depth=8"."""
        return variant_of((name, plain_word(value)) for name, value in self.model.variant)

    @cached_property
    def work(self) -> Work:
        """The images that the job passes and trains on, and the disk that it takes, at most."""
        own = self.suite.estimate(self.model, self.task, self.weights)
        images = sum(sum(task.splits.values()) for task, _ in self.beside.values())
        passes = self.suite.passes_beside(self.model, self.task, self.weights) if images else 0
        return replace(own, images=own.images + passes * images) if passes else own

    @property
    def release(self) -> Release | None:
        """The release of the weights, None for other weights."""
        return self.weights.release

    @property
    def group(self) -> tuple[str, ...]:
        """The same for jobs that share a network and its passes over images."""
        return (self.model.name, self.variant, str(self.weights))


def other_rows(suite: Suite, model: Model) -> list[Model]:
    """The rows of the other models that a job builds. Raises UsageError where there is no such model."""
    return [select_model(other_name(model, name)).row for name in suite.other_models()]


def _once_an_object(function: Callable[[Any], dict[str, Any]]) -> Callable[[Any], dict[str, Any]]:
    """Remembers what a function of an object returned, by the object itself: equal ones, 1 and 1.0, may be other text.

    Thousands of jobs share a suite, a model or a task.
    """
    known: dict[int, tuple[Any, dict[str, Any]]] = {}

    def of(thing: Any) -> dict[str, Any]:
        if id(thing) not in known:
            known[id(thing)] = thing, function(thing)  # held, so that no other object gets its id
        return known[id(thing)][1]

    return of


@_once_an_object
def _as_plain(thing: Any) -> dict[str, Any]:
    return plain(asdict(thing))


@_once_an_object
def _task(task: Task) -> dict[str, Any]:
    return {name: plain(getattr(task, kept)) for name, kept in TASK_IDENTITY.items()}


@_once_an_object
def _architecture(row: Model) -> dict[str, Any]:
    """The fields of a row's architecture that are compared, as plain data."""
    architecture = row.architecture
    values = {item.name: getattr(architecture, item.name) for item in fields(architecture) if item.compare}
    return plain(
        {name: value for name, value in values.items() if name not in architecture.later_fields or value is not None}
    )
