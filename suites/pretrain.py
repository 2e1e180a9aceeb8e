"""Pre-training from random weights on growing data, probed as the ViT paper does (Section 4.3, Figures 3 to 5).

A job is one model, one pre-training task, one number of images and one objective:

1. Every candidate, of learning rates and with `rule=regularised` of regularisation, is trained on the first `images`
   images of the task's training set. So the sets of growing numbers are nested.
2. Each run is visited `visits` times, at equal distances, the last time at its end: the validation images of the task,
   the minival, are scored, and every task of `probe` by the closed-form few-shot probe (suites/fewshot.py).
3. The candidate with the best minival score wins; ties go to the smaller learning rate. Of each run the weights of the
   visit with the best score count: early stopping, as in the paper's Figure 4. Neither choice sees a probe's task.

The weights are kept in `kept/<key>/seed<seed>.safetensors` of the run directory, with a sidecar that says on which
images they were trained, for how long and at what cost. Every suite takes them: `weights=FILE`.

`rule=fixed` has the same regularisation for every number of images (the paper's Figure 4), `rule=regularised` chooses
weight decay, dropout and label smoothing for each on the minival (its Figure 3). For Figure 5, `exaflops=` trains every
model for the same compute.

`until=` makes a race of it (docs/speedrun.md): each run ends at its first visit at which the mean of the probes has
reached so many percent, and the seconds of training until then are its result. The weights that are kept are chosen on
the minival here, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from ..registry import UsageError
from ..stable import sha
from .finetune import BigVision, FineTune, Table3
from .images.decoded import usual_size
from .metrics import top1
from .protocol import Context, Measurement, Split, Task, Work, fingerprint, task_question
from .training import paper_recipes
from .training.contract import sharding_asked
from .training.recipe import Recipe
from .training.runs import Candidate, Trainer, Visits

if TYPE_CHECKING:
    from ..models.spec import Model
    from ..models.weights_choice import WeightsChoice
    from .training.probe import FewShotProbe

LENGTHS = ("steps", "epochs", "samples", "exaflops")  # settings of how long a run is
Found = dict[tuple[Candidate, int], list[dict[str, Any]]]  # of each candidate and seed, what the visits found
REGULARISATIONS = tuple(product((0.03, 0.1, 0.3), (0.0, 0.1), (0.0, 0.1)))  # weight decay, dropout, label smoothing


@dataclass(frozen=True, kw_only=True)
class Pretrain(FineTune):
    """Pre-training on the first images of a set, chosen on held-out ones, with few-shot probes as it goes."""

    name: ClassVar[str] = "pretrain"
    needs: ClassVar[frozenset[Literal["task", "weights"]]] = frozenset({"task"})
    default_tasks: ClassVar[str] = "fractals:200"
    splits: ClassVar[tuple[str, ...]] = ("train", "val")
    added: ClassVar[frozenset[str]] = FineTune.added | {"until"}

    recipe: Literal["auto", Table3, BigVision, "short"] = "auto"  # short: our own, for small models
    save: Literal["nothing", "weights"] = "weights"  # those of each seed's best visit, in kept/<key>/
    images: int | None = None  # train on the first ones of the training set; None: all
    # How long a run is; at most one of these and `steps` is typed. None: as the recipe says.
    epochs: float | None = None  # passes over these images
    samples: int | None = None  # images seen
    exaflops: float | None = None  # the same compute for every model, at 6 operations a multiply-accumulate and image
    # supervised: the task's classes. masked_patch: no labels; the colours of hidden patches (ViT paper, Appendix B.1.2)
    objective: Literal["supervised", "masked_patch"] = "supervised"
    rule: Literal["fixed", "regularised"] = "fixed"  # regularisation: the recipe's, or chosen for these images
    visits: int = 4  # how often a run is scored and probed
    probe: tuple[str, ...] = ("vtab-mini",)  # tasks of the few-shot probe; none: there is no probe
    probe_shots: int = 5  # images a class
    until: float | None = None  # percent, the mean of the probes: a run ends at the first visit that reaches it

    def check(self) -> None:
        super().check()
        if sharding_asked():
            raise UsageError(
                "suite=pretrain looks at its network in the middle of training, which a network in pieces (FSDP) does "
                "not allow. Leave out --use_fsdp, or type: torchrun --nproc-per-node 2 -m bench run suite=pretrain …"
            )
        typed = [name for name in LENGTHS if getattr(self, name) is not None]
        self.refuse(
            typed[-1] if typed else "steps", len(typed) > 1, f" beside suite.{typed[0]}=: type one" if typed else ""
        )
        for name in ("images", "epochs", "samples", "exaflops", "visits", "probe_shots"):
            value = getattr(self, name)
            self.refuse(name, value is not None and not 0 < value < float("inf"), ": a number above 0")
        self.refuse("until", self.until is not None and not 0 < self.until <= 100, ": percent, above 0 and up to 100")
        self.refuse("until", self.until is not None and not self.tasks_beside(), " is of the probes: type suite.probe=")
        choosing = any(name in self.given() for name in ("weight_decay", "dropout"))
        self.refuse(
            "rule", self.rule == "regularised" and choosing, " chooses weight_decay and dropout; do not type them"
        )

    def unfit(self, model: Model, weights: WeightsChoice, task: Task) -> str:  # noqa: ARG002
        if not task.splits.get("val"):
            return f"{task.name} has no validation images, which pre-training holds out to choose on"
        if self.images is not None and self.images > task.splits["train"]:
            return f"suite.images={self.images}: {task.name} has {task.splits['train']} images to train on"
        if self.objective == "masked_patch" and not model.architecture.attends:
            return f"suite.objective=masked_patch predicts patches of transformers and hybrids; {model.name} has none"
        if self.exaflops is not None and model.architecture.macs(model.input.size) is None:
            return f"suite.exaflops={self.exaflops:g}: the compute of {model.name} is not known; type suite.samples="
        return ""

    def tasks_beside(self) -> tuple[str, ...]:
        return () if self.probe == ("none",) else self.probe

    def auto_recipe(self, model: Model, *, untrained: bool) -> str:  # noqa: ARG002
        return "short" if model.small else "scratch"

    def estimate(self, model: Model, task: Task, weights: WeightsChoice) -> Work:
        candidates = self.candidates(model, weights, task, task.splits["train"], model.input.size)
        each = [(recipe.steps * recipe.batch, recipe) for _, recipe in candidates for _ in recipe.lr]
        runs = [images for images, recipe in each for _ in recipe.seed]
        weights_bytes, seeds = self._weights_bytes(model, task), len(candidates[0][1].seed)
        kept = seeds if self.save == "weights" else 0
        return Work(
            images=self.visits * task.splits["val"] * len(runs),
            trained=sum(runs),
            kept=kept * weights_bytes,
            # The best visit of every run is kept until the candidate is chosen; of one, two while it is being written.
            scratch=weights_bytes * (len(runs) + 1 - kept + max(recipe.copies for _, recipe in candidates)),
        )

    def passes_beside(self, model: Model, task: Task, weights: WeightsChoice) -> int:
        candidates = self.candidates(model, weights, task, task.splits["train"], model.input.size)
        return self.visits * sum(len(recipe.seed) * len(recipe.lr) for _, recipe in candidates)

    def candidates(
        self, model: Model, weights: WeightsChoice, task: Task | None, images: int, size: tuple[int, int]
    ) -> list[tuple[str, Recipe]]:
        images = min(images, self.images or images)
        name = self.auto_recipe(model, untrained=True) if self.recipe == "auto" else self.recipe
        timed = replace(self, steps=self._steps(model, images, self.batch or (128 if name == "short" else 4096)))
        named = super(Pretrain, timed).candidates(model, weights, task, images, size)
        if self.rule == "fixed":
            return named
        transformer = "dropout" in model.settable()
        smooths = self.objective == "supervised" and all(recipe.loss == "softmax" for _, recipe in named)
        return [
            (
                f"{name}, weight decay {decay:g}, dropout {dropout:g}, label smoothing {smoothing:g}",
                replace(recipe, weight_decay=decay, dropout=dropout, label_smoothing=smoothing),
            )
            for name, recipe in named
            for decay, dropout, smoothing in REGULARISATIONS
            if (transformer or not dropout) and (smooths or not smoothing)
        ]

    def _steps(self, model: Model, images: int, batch: int) -> int | None:
        """How many steps a run has, where it is typed in some unit."""
        if self.exaflops is not None:
            macs = model.architecture.macs(
                model.input.size if self.image_size is None else (self.image_size, self.image_size)
            )
            assert macs is not None
            return max(1, round(self.exaflops * 1e18 / (6 * macs * batch)))
        seen = self.samples if self.epochs is None else self.epochs * images
        return self.steps if seen is None else max(1, round(seen / batch))

    def _recipe(self, name: str, model: Model, task: Task | None, images: int, size: tuple[int, int]) -> Recipe:
        if name == "short":
            return paper_recipes.short_pretraining(images, steps=self.steps)
        return super()._recipe(name, model, task, images, size)

    def run(self, context: Context) -> Iterator[Measurement]:
        from .images.feeding import first_images
        from .training.probe import FewShotProbe

        task = context.task
        train, minival = first_images(context.images(task, "train"), self.images), context.images(task, "val")
        size = usual_size(minival.images)
        candidates = Candidate.of(self.candidates(context.model, context.weights, task, len(train), size))
        trainer, side = self.trainer(context), candidates[0].recipe.image_size
        probes = [FewShotProbe(context, task, self.probe_shots, side) for task, _ in context.beside.values()]
        seeds = candidates[0].recipe.seed
        found: Found = {}
        for candidate, seed in product(candidates, seeds):
            looks = self._visits(context, candidate, train, minival, probes)
            result = trainer.run("choose", candidate, seed, [train], minival, looks)
            found[candidate, seed] = result.facts["visits"]
            score = self._in_words(_best(found[candidate, seed])["score"])
            done = f"{len(train):,} images, candidate {candidate.place} ({candidate}), seed {seed}"
            context.say(f"{done}: {score} on the minival")
        scores = {
            candidate: float(np.mean([_best(found[candidate, seed])["score"] for seed in seeds]))
            for candidate in candidates
        }
        best = max(scores, key=lambda candidate: (scores[candidate], -candidate.lr))
        if len(candidates) > 1:
            score = self._in_words(scores[best])
            context.say(f"chose {best.name}, learning rate {best.lr:g}: {score} on the minival")
        if context.rank == 0:
            self._keep(trainer, best, found, context.keep)
        question = self._asked(task, train, minival)
        for candidate, seed in sorted(found, key=lambda run: run[0] != best):  # the chosen one first
            treatment = self._treatment(context, candidate, candidates)
            measured = partial(Measurement, n_train=len(train), treatment=treatment)
            at = {"images": len(train), "seed": seed, "lr": candidate.lr, "recipe": candidate.name}
            one = _Measured(measured, question, at, probes)
            visits = found[candidate, seed]
            yield from one.numbers("_val", _best(visits))
            yield from one.probed("top1_probe", _best(visits)) if candidate == best else ()
            for visit in visits:
                samples = {"samples": visit["step"] * candidate.recipe.batch}
                yield from one.numbers("_val_visit", visit, samples)
                yield from one.probed("top1_probe_visit", visit, samples)
                yield one.seconds(visit, samples)
            if self.until is not None:
                yield from one.race(self.until, visits[-1], reached=self._enough(visits[-1]))

    def _enough(self, visit: Mapping[str, Any]) -> bool:
        return self.until is not None and float(np.mean(list(visit["probes"].values()))) >= self.until

    def _in_words(self, score: float) -> str:
        return f"{score:.2f} %" if self.objective == "supervised" else f"a loss of {-score:.3f} nats"

    def _visits(
        self, context: Context, candidate: Candidate, train: Split, minival: Split, probes: Sequence[FewShotProbe]
    ) -> Visits:
        from .training import masked_patches

        recipe = candidate.recipe
        macs = context.model.architecture.macs(self.size(context.model, context.weights))

        def measure(network: Any, logits: np.ndarray) -> dict[str, Any]:
            if self.objective == "masked_patch":
                found = masked_patches.summary(logits)
                found, network = {**found, "score": -found["loss"]}, network.network
            else:
                right = top1(logits.argmax(axis=1), minival.labels, minival.label_sets)
                found = {"top1": right, "score": right}
            return {**found, "probes": {probe.task.name: probe.top1(network) for probe in probes}}

        def provenance(visit: Mapping[str, Any]) -> dict[str, Any]:
            seen = visit["step"] * recipe.batch
            by = "" if self.objective == "supervised" else f", {self.objective}"
            known = {"pretrain": f"{context.task.name}{by}", "images": len(train), "images_sha": sha(train.digest)}
            known |= {"epochs": seen / len(train), "recipe": str(candidate), "commit": context.commit}
            known |= {"device_hours": visit["seconds"] * context.processes / 3600}
            return known | ({} if macs is None else {"exaflops": 6 * macs * seen / 1e18})

        steps = frozenset(round(recipe.steps * part / self.visits) for part in range(1, self.visits + 1)) - {0}
        masked = masked_patches.MaskedPatches if self.objective == "masked_patch" else None
        return Visits(steps=steps, measure=measure, enough=self._enough, self_supervised=masked, provenance=provenance)

    def _keep(self, trainer: Trainer, best: Candidate, found: Found, keep: Path) -> None:
        """Give the weights of the best candidate's runs and their sidecars names, and delete those of the others."""
        for candidate, seed in found:
            path = trainer.kept(candidate, seed, _best(found[candidate, seed])["step"])
            for end in ("", ".yaml") if candidate == best and self.save == "weights" else ():
                kept = path.with_name(path.name + end)
                if kept.exists():  # it has its name if this job was killed here before
                    kept.replace(keep / f"seed{seed}.safetensors{end}")
        for path in sorted(keep.glob(trainer.kept_files)):
            path.unlink()

    def _asked(self, task: Task, train: Split, minival: Split) -> dict[str, Any]:
        return {
            **task_question(task),
            "protocol": f"{self.name}, {self.rule}",
            **fingerprint(train, minival),
            "budget": f"{len(train)} images",
            "objective": self.objective,
            "select_on": "the minival: the validation images, early stopping",
            **({} if self.until is None else {"until": f"the mean of the probes is {self.until:g} %"}),
        }


def _best(visits: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The visit whose weights are kept: the first of those with the best score."""
    return max(visits, key=lambda visit: (visit["score"], -visit["step"]))


@dataclass(frozen=True)
class _Measured:
    """Makes measurements of what visits of one run found."""

    make: Callable[..., Measurement]
    question: Mapping[str, Any]
    at: Mapping[str, Any]
    probes: Sequence[FewShotProbe]

    def numbers(self, end: str, visit: Mapping[str, Any], more: Mapping[str, Any] = {}) -> Iterator[Measurement]:
        """Those on the minival; `end` is that of the metrics' names."""
        make = partial(self.make, question={**self.question, "metric": "on the minival"}, at={**self.at, **more})
        yield make(metric=f"top1{end}", value=visit["top1"], unit="percent")
        for name in ("loss", "entropy") if "loss" in visit else ():
            yield make(metric=f"{name}{end}", value=visit[name], unit="nats")

    def probed(self, metric: str, visit: Mapping[str, Any], more: Mapping[str, Any] = {}) -> Iterator[Measurement]:
        for probe in self.probes:
            at = {**self.at, **more, "probe": probe.task.name}
            value, question = visit["probes"][probe.task.name], {**self.question, **probe.question}
            yield self.make(metric=metric, value=value, unit="percent", at=at, question=question)

    def seconds(self, visit: Mapping[str, Any], more: Mapping[str, Any]) -> Measurement:
        """Those of training alone until a visit."""
        question = {**self.question, "metric": "seconds of training"}
        make = partial(self.make, metric="training_seconds", value=visit["seconds"], unit="s")
        return make(at={**self.at, **more}, question=question)

    def race(self, until: float, last: Mapping[str, Any], *, reached: bool) -> Iterator[Measurement]:
        """Whether the probes reached their target, and the seconds of training until then.

        The images of training and how the run ends are no part of the question: they are what races differ in.
        """
        question = {name: self.question[name] for name in ("protocol", "objective")}
        question |= {"target": f"{until:g} %, the mean of the probes", "probes": [one.question for one in self.probes]}
        make = partial(self.make, at={**self.at, "until": until})
        share, seconds = "whether the target was reached", "seconds of training until the target"
        value = 100.0 if reached else 0.0
        yield make(metric="target_reached", value=value, unit="percent", question={**question, "metric": share})
        if reached:
            asked = {**question, "metric": seconds}
            yield make(metric="seconds_to_target", value=last["seconds"], unit="s", question=asked)


PRETRAIN = Pretrain()
