"""VTAB: 19 tasks in three groups, 1000 training images each; and `vtab-mini`, the built-in miniature.

Both follow VTAB-1k's protocol (VTAB paper, arXiv 1910.04867, Section 3): hyperparameters are chosen by fitting on 800
images and scoring on 200; the final model is fitted on all 1000 and scored once on the whole test set.

`protocol=finetune`, the paper's own and the default of `vtab`, trains the whole network (suites/finetune.py).
`recipe=auto` is the ViT paper's single setting for all tasks (Table 4: learning rate 0.01, 2500 steps, 384 pixels;
three seeds). For ResNets and hybrids the BiT-HyperRule is a second candidate, and the validation images choose; small
untrained networks use `short`. `recipe=vtab-sweep` chooses among the VTAB paper's four settings.

`protocol=probe` fits the closed-form probe of suites/probes/ridge.py on frozen features:

1. Images are resized to the model's square input, without a crop and without antialiasing as in the ViT release, to
   compute features of training and test images.
2. For each value of `l2` the probe is fitted on the 800 images; the best on the 200 wins (ties: the larger l2).
3. The probe with this l2 is fitted on all 1000 and scored once on every test image.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

from ..registry import UsageError
from .finetune import FineTune
from .images.transforms import VIT_RELEASE, ResizeSettings, followed
from .metrics import accuracy_measurements, majority_measurement
from .probes.ridge import L2, classify_by_ridge
from .probes.support import check_classes
from .protocol import Context, Measurement, Precision, Suite, Task, Work, fingerprint, task_question

if TYPE_CHECKING:
    from ..models.spec import Model
    from ..models.weights_choice import WeightsChoice

# Settings of both protocols; seed= may be for other suites.
SHARED = {"protocol", "image_size", "precision", "seed", *(item.name for item in fields(ResizeSettings))}


@dataclass(frozen=True, kw_only=True)
class Vtab(FineTune):
    """VTAB-1k: the 19 published tasks and nothing else, each from 1000 training images."""

    name: ClassVar[str] = "vtab"
    default_models: ClassVar[tuple[str, ...]] = ("ViT-B/16", "BiT-R50x1", "R50+ViT-B/16")
    default_tasks: ClassVar[str] = "vtab"
    only_default_tasks: ClassVar[bool] = True
    fallback: ClassVar[str] = "vtab-mini"
    how_to_get_data: ClassVar[str] = (
        "`data prepare TASK` downloads what may be downloaded and says how to get the rest. Data sets are read as "
        "torchvision and their publishers lay them out, and from the vtab-1k folder of NOAH, SSF and RepAdapter "
        "(vtab-1k/<task>/test.txt)."
    )

    protocol: Literal["finetune", "probe"] = "finetune"  # the paper's fine-tuning, or the probe on frozen features
    l2: tuple[float, ...] = L2  # probe: candidates to choose from

    def check(self) -> None:
        super().check()
        self.require_positive("l2")
        for item in fields(self):
            owner = "probe" if item.name == "l2" else "finetune"
            shared = item.name in SHARED
            if not shared and owner != self.protocol and getattr(self, item.name) != item.default:
                other = f"changes nothing in protocol={self.protocol}"
                raise UsageError(f"suite.{item.name} is a setting of protocol={owner} and {other}")
        invalid = self.protocol == "probe" and self.precision not in ("fp32", "bf16")
        self.refuse("precision", invalid, ": protocol=probe has fp32 and bf16")

    def resolved(self, model: Model, weights: WeightsChoice, task: Task) -> Mapping[str, Any]:
        return super().resolved(model, weights, task) if self.protocol == "finetune" else {}

    def fed(self, model: Model, weights: WeightsChoice, task: Task) -> Mapping[str, Any]:
        if self.protocol == "finetune":
            return super().fed(model, weights, task)
        library = model.architecture.resizes_by_pillow
        return followed(self.typed_resize, VIT_RELEASE, model.input, library=library).resizing(model)

    def modules(self) -> tuple[str, ...]:
        """The modules of the chosen protocol alone: the probe's numbers do not depend on training."""
        probe = ("suites.probes.ridge", "suites.probes.support", "suites.metrics", "suites.images.features")
        return probe if self.protocol == "probe" else ("suites.finetune",)

    def auto_recipe(self, model: Model, *, untrained: bool) -> str:
        if untrained and model.small:
            return "short"
        return "vtab+bit" if model.architecture.has_resnet and not untrained else "vtab"

    def size(self, model: Model, weights: WeightsChoice) -> tuple[int, int]:
        base = FineTune if self.protocol == "finetune" else Suite
        return base.size(self, model, weights)

    def estimate(self, model: Model, task: Task, weights: WeightsChoice) -> Work:
        base = FineTune if self.protocol == "finetune" else Suite
        return base.estimate(self, model, task, weights)

    def run(self, context: Context) -> Iterator[Measurement]:
        return super().run(context) if self.protocol == "finetune" else self._probe(context)

    def _probe(self, context: Context) -> Iterator[Measurement]:
        """The closed-form probe: l2 chosen with 800 and 200 images, fitted on all 1000, scored once."""
        view = replace(self.typed_resize, image_size=self.image_size)
        precision = cast(Precision, self.precision)
        predictions, parts, treatment = classify_by_ridge(context, self.l2, view, precision=precision)
        train, val, test = parts
        check_classes(train)
        question = {
            **task_question(context.task),
            "protocol": f"{self.name}, ridge probe",
            **fingerprint(*parts),
            "budget": f"{len(train)} + {len(val)} images",
            "selection": "l2 on the validation images",
        }
        yield from accuracy_measurements(predictions, test, question, treatment, n_train=len(train) + len(val))
        yield majority_measurement(test, question)


@dataclass(frozen=True, kw_only=True)
class VtabMini(Vtab):
    """Nine small tasks that ship with this package, in VTAB's three groups: to try things out, never "VTAB"."""

    name: ClassVar[str] = "vtab-mini"
    # Untrained, and trained ones that come with this package.
    default_models: ClassVar[tuple[str, ...]] = (
        "ViT-mini",
        "BiT-mini",
        "BiT-mini-fractals",
        "R+ViT-mini",
    )
    default_tasks: ClassVar[str] = "vtab-mini"
    fallback: ClassVar[str] = ""

    protocol: Literal["finetune", "probe"] = "probe"  # fast, and meaningful with random weights


VTAB = Vtab()
VTAB_MINI = VtabMini()
