"""Speed and cost of a model, with checks on every number (ViT paper, Figure 12; Table 2's cost).

Everything is measured with random weights (a trained model takes the same time) and random images that are already on
the device: no decoding, no transfer. Each model runs in a process of its own.

A row is one combination of image size, batch size, precision, mode, compile, memory format, timing and scenario.

1. A fresh copy of the network with a head of `classes` classes is prepared for the row. Its first pass on the timed
   batch, compilation included, is compared with eager float32; for a training step the gradients are compared, too. If
   the difference is more than eight times the effect of rounding this network's weights to the precision
   (suites/timing/numerics.py), the row is `suspect`. fp32 has TF32 off; TF32 is a precision of its own.
2. Warm-up: at least `warm_up_steps` untimed steps, and `warm_up_seconds` of them after the first.
3. Every following step is timed. `timing=pipelined` queues steps on the device and takes the device's time of each
   (CUDA events); `timing=sync` waits after every step and takes the host's time, as timm does. On a CPU both are the
   same. Sampling takes at least `min_samples` steps and `min_seconds`, and goes on until the width of the median's 95 %
   interval is at most `interval` of the median, or until `max_seconds`, which makes the row `suspect`. Steps that
   depend on each other count as the fewer independent ones that they are worth (autocorrelation.py): sampling goes on
   until these are 50, below which the dependence itself is not known, and below 6 there is no interval.
4. Reported are median, quartiles and interval of images per second, and the numbers of timed and warm-up steps. The
   seconds of every timed step are stored beside the records (array "samples"). The batch size is never reduced: if the
   batch does not fit, the row fails.

Scenarios are MLPerf Inference's. `offline` measures images per second at the given batch size; `single_stream` the
latency of one image at a time, synchronised: median and p95. A p95 has an interval from 72 samples on, the minimum of
`latency_samples`; sampling stops by the median's interval, and the p95's interval is reported. MLPerf's own rule for a
p95 (margin (1 - 0.95) / 20 = 0.25 %, confidence 99 %) needs 2.576² 0.95 0.05 / 0.0025² = 50 425 samples and 600 s:
`latency_samples=50425 min_seconds=600 max_seconds=600`.

`mode=train` times a whole step of SGD with momentum 0.9 on the cross-entropy of the model's own head; `forward_time`,
`backward_time` and `optimizer_time` are its parts. Half precision is autocast in training; in inference the weights are
cast.

`find=largest` tries batches of 1, 2, 4, … up to `batch_limit` (1024, the top of the paper's sweep) until one does not
fit, and frees memory between tries; `find=exact` continues to the exact number; `find=fastest` times every power of two
that fits.

`against=MODEL` runs both models in turn in one process, both in memory, and reports how many times as fast the row's
model is; `against=timm` is timm's network of the same row. Both this and compiling take long: `against_at` and
`compile_at` limit them to some image sizes. Eager rows come first. After `budget` seconds of a model no further row
begins; the rest are not reached, which is no failure.

Ceilings are measured in the same run. `share_of_matmul_rate` is the achieved FLOP/s over that of the device's best
matrix product in this precision. `share_of_roofline` is the least time for the model's products at that rate and the
memory bandwidth, over the step's time (cached data can be faster than the bandwidth, which is main memory's).
`share_of_products` is the time of the model's own matrix products and attention, each timed alone in eager mode, over
the step's. A share above 100 % by more than the steps' quartiles is `suspect`: the measurement of the ceiling was
disturbed, or the step is compiled and computes other products. A GMAC is 1e9 multiply-accumulates, a GFLOP 1e9
operations, two per multiply-accumulate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from .protocol import Context, Measurement, Task, Work
from .timing.duration import parts_of, seconds_of
from .timing.settings import ThroughputSettings

if TYPE_CHECKING:
    from ..models.spec import Model
    from ..models.weights_choice import WeightsChoice
    from .timing.report import Row

SMALL_MODELS = ("ViT-mini", "BiT-mini", "R+ViT-mini", "ViT-Ti/16")
GPU_MODELS = ("ViT-B/32", "ViT-B/16", "ViT-L/16", "BiT-R50x1", "R50+ViT-B/16")


@dataclass(frozen=True, kw_only=True)
class Throughput(ThroughputSettings):
    """Images a second, latency, memory, FLOPs and energy, with a verdict on every number (ViT paper, Figure 12)."""

    name: ClassVar[str] = "throughput"
    version: ClassVar[int] = 2
    aliases: ClassVar[tuple[str, ...]] = ("speed",)
    needs: ClassVar[frozenset[Literal["task", "weights"]]] = frozenset()
    splits: ClassVar[tuple[str, ...]] = ()
    default_tasks: ClassVar[str] = ""
    by_device: ClassVar[bool] = True
    isolated: ClassVar[bool] = True

    @property
    def default_models(self) -> tuple[str, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return SMALL_MODELS if self.scale == "small" else GPU_MODELS

    def size(self, model: Model, weights: WeightsChoice) -> tuple[int, int]:  # noqa: ARG002
        side = max(self.image_size, default=model.input.size[0])
        return side, side

    def estimate(self, model: Model, task: Task, weights: WeightsChoice) -> Work:  # noqa: ARG002
        """No work in images: the settings fix the time."""
        return Work()

    def seconds(self, model: Model, on_gpu: bool) -> tuple[float, float]:
        return seconds_of(self, model, on_gpu)

    def run(self, context: Context) -> Iterator[Measurement]:
        from .timing.session import Session

        suite = self.for_device(context.device.type)
        session = Session(suite, context)
        parts: list[tuple[dict[str, Any], Callable[[Row], Iterator[Measurement]]]] = []
        for variant, timing, scenario in suite.cases():
            at = asdict(variant) | {"timing": timing, "scenario": scenario}
            parts.append((at, partial(session.row, variant, timing, scenario)))
            if suite.compares(variant, timing, scenario):  # a part of its own: a crash in it leaves the row's numbers
                against = asdict(variant) | {"scenario": "offline", "against": self.against}
                parts.append((against, partial(session.compare, variant)))
        for variant, timing in suite.searches().items():
            at = asdict(variant) | {"timing": timing, "scenario": "search"}
            del at["batch_size"]
            parts.append((at, partial(session.search, variant, timing)))
        on_gpu = context.device.type != "cpu"
        planned = parts_of(suite, context.model, on_gpu)
        context.advance(max(suite.seconds(context.model, on_gpu)[1] - sum(planned), 0.0))  # torch is loaded
        for number, ((at, numbers), seconds) in enumerate(zip(parts, planned, strict=True), start=1):
            if ("against" in at and session.over_budget) or not context.enter(at):
                continue
            context.advance(0, f"row {number}/{len(parts)}, {_in_words(at)}")
            yield from session.part(at, numbers)
            context.advance(seconds)


def _in_words(at: Mapping[str, Any]) -> str:
    """A row, for the progress display."""
    batch = [f"batch {at['batch_size']}"] if "batch_size" in at else []
    words = [f"{at['image_size']} px", *batch, at["precision"], at["mode"], at["scenario"]]
    return " ".join([*words, *(["compiled"] if at["compile"] else []), *(["against"] if "against" in at else [])])


throughput = Throughput()
