"""One question to one model: what is asked, and the key that its answer is kept under."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from ..models import select_model
from ..models.released.table import Release
from ..models.selection import other_name
from ..models.spec import Model
from ..models.weights_choice import WeightsChoice
from ..registry import UsageError
from ..stable import sha
from ..suites.protocol import NO_TASK, Source, Suite, Task, Work
from .fingerprint import (
    behind_call,
    code_sha,
    imported_modules,
    is_ours,
    module_of,
    network_modules,
    source_sha,
)
from .verbs.words import plain_word

TASK_IDENTITY = (
    "name",
    "images",
    "target",
    "num_classes",
    "splits",
    "label",
    "recipe",
    "revision",
)  # the rest of a task's row only describes


@dataclass(frozen=True, kw_only=True)
class Job:
    """One question to one model, fully resolved."""

    suite: Suite
    model: Model
    weights: WeightsChoice
    task: Task
    source: str  # the kind of source, "" where no source has the task
    order: tuple[int | str, ...]  # where it stands in tables
    missing: str = ""  # why it cannot run here
    machine: Mapping[str, str] = field(default_factory=dict)  # device and libraries, where the numbers are theirs
    skip_bad: bool = False  # whether images that cannot be read are left out
    provider: Source | None = field(default=None, compare=False, repr=False)  # the source itself

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Everything declared that can change the job's numbers, as plain data. No file is read for it but code."""
        return {
            "suite": self.suite.name,
            "version": self.suite.version,
            "settings": {
                name: value for name, value in plain(asdict(self.suite)).items() if name not in self.suite.incidental
            },
            "model": self.model.name,
            "network": self.model.architecture.network,
            "architecture": _architecture(self.model),
            "input": plain(asdict(self.model.input)),
            "weights": str(self.weights),
            "task": {name: plain(getattr(self.task, name)) for name in TASK_IDENTITY},
            "source": self.source,
            **({"skip_bad": True} if self.skip_bad else {}),  # a number without them is no number of the whole
            **({"machine": dict(self.machine)} if self.machine else {}),
        }

    @cached_property
    def slot(self) -> str:
        """The short name of the identity without code, source and skipping: of each source, the newest in it counts."""
        code = self.model.architecture.code_fields
        architecture = {name: value for name, value in self.identity["architecture"].items() if name not in code}
        asked = {name: value for name, value in self.identity.items() if name != "skip_bad"}
        return sha(asked | {"architecture": architecture, "source": None})

    @cached_property
    def key(self) -> str:
        """The short name of the identity and of the code behind it."""
        suite = type(self.suite)
        included = {source_sha(thing) for thing in (suite, *self._declared_by) if not is_ours(thing)}  # users' files
        resolved = plain(self.suite.resolved(self.model, self.weights, self.task))
        others = [_architecture(row) for row in self._others]
        return sha(
            self.identity
            | {"code": code_sha(*self.modules, alone=(module_of(suite),) if is_ours(suite) else ())}
            | ({"included": sorted(included)} if included else {})
            | ({"resolved": resolved} if resolved else {})
            | ({"others": others} if others else {})
        )

    @property
    def modules(self) -> tuple[str, ...]:
        """Modules of ours whose code is behind the numbers, besides the suite's own file, with all that they import."""
        fed = () if self.task is NO_TASK else ("suites.images.feeding",)
        ours = {module_of(thing) for thing in self._declared_by if is_ours(thing)}
        networks = {module for row in (self.model, *self._others) for module in network_modules(row)}
        suite = type(self.suite)
        asked = self.suite.modules() if is_ours(suite) else imported_modules(suite)
        return tuple(sorted({*asked, *fed, *networks, *ours}))

    @cached_property
    def _others(self) -> list[Model]:
        """The rows of other models that the job builds beside its own."""
        rows = []
        for name in self.suite.other_models():
            with suppress(UsageError):  # such a job has no number, and says why
                rows.append(select_model(other_name(self.model, name)).row)
        return rows

    @property
    def _declared_by(self) -> list[Any]:
        """What else says how images and labels come about: the source, its readers, and the task's label rule."""
        readers = getattr(self.provider, "readers", None)  # of a source that has several; a user's need not have it
        things = [self.provider, *(readers(self.task) if readers else ())]
        rule = [self.task.rule] if self.task.rule else []
        return [*(behind_call(thing) for thing in things if thing is not None), *rule]

    @property
    def variant(self) -> str:
        """The settings that make the model differ from the named row."""
        return " ".join(f"{name}={plain_word(value)}" for name, value in self.model.variant)

    @cached_property
    def work(self) -> Work:
        """What the job comes to, at most."""
        return self.suite.estimate(self.model, self.task, self.weights)

    @property
    def release(self) -> Release | None:
        """The released file that the weights are, if they are one."""
        return self.weights.release

    @property
    def group(self) -> tuple[str, ...]:
        """Jobs that share a network and its pass over a set of images."""
        return (self.model.name, self.variant, str(self.weights))


def _architecture(row: Model) -> dict[str, Any]:
    """What of a row's architecture tells it from others, as plain data."""
    kept = [item.name for item in fields(row.architecture) if item.compare]
    return plain({name: getattr(row.architecture, name) for name in kept})


def plain(value: Any) -> Any:
    """A value of dataclass fields as JSON has it."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
