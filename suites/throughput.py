"""How fast a model is and what it costs, measured so that it can be trusted (ViT paper, Figure 12; Table 2's cost).

Everything is measured with random weights (a trained model takes the same time) and random images that are on the
device already: no decoding, no transfer. Each model runs in a process of its own.

One row is one of each of: image size, batch size, precision, mode, compiled or not, memory format, timing, scenario.

1. A fresh copy of the network with a head of `classes` classes is made as the row says. Its first pass on the batch
   that is to be timed, compiling included, is compared with eager float32, of a training step the gradients, too. If
   it is further away than eight times what rounding the weights to the precision does to this network
   (suites/timing/numerics.py), the row is `suspect`. fp32 has TF32 off; TF32 is a precision of its own name.
2. Warm-up: `warm_up_steps` steps and `warm_up_seconds` of them after the first, which compiles. None of them counts.
3. Timed steps, every one of them: `timing=pipelined` gives steps to the device one behind the other and takes its own
   time of each (CUDA events); `timing=sync` waits after every step and takes the host's time, as timm does. On a CPU
   there is no difference. At least `min_samples` steps and `min_seconds`, and then until the 95 % interval of the
   median is at most `interval` of the median wide, or `max_seconds` are over, which makes the row `suspect`.
4. Reported: median, quartiles and interval of images a second, the number of timed and of warm-up steps. Every timed
   step is kept beside the records (array "samples", in seconds). A fixed batch never changes: if it does not fit, the
   row fails and says so.

Scenarios are MLPerf Inference's: `offline` asks for images a second at the given batch; `single_stream` for the
latency of one image at a time, synchronised: median and p95. The p95 has an interval only from 72 samples on, which is
the least taken (`latency_samples`); sampling stops for the median's interval, and the p95's is reported. MLPerf's own
rule for a p95 (margin (1 - 0.95) / 20 = 0.25 %, confidence 99 %) asks for 2.576² 0.95 0.05 / 0.0025² = 50 425 samples
and 600 s: `latency_samples=50425 min_seconds=600 max_seconds=600`.

`mode=train` is a whole step of SGD with momentum 0.9 on the cross-entropy of the model's own head, of which
`forward_time`, `backward_time` and `optimizer_time` are the parts; half precision is autocast there, while inference
casts the weights.

`find=largest` tries batches 1, 2, 4, … up to `batch_limit` (1024, the top of the paper's sweep) until one does not fit,
with a clean-up between tries; `find=exact` goes on to the image; `find=fastest` times every power of two that fits.

`against=MODEL` runs the two in turn in one process, both in memory, and reports how many times as fast ours is;
`against=timm` is timm's network of the same row. `compile_at` and `against_at` keep these two, which take long, to
some image sizes. Eager rows come first; `budget` is the seconds of a model after which no further row begins: those
that are left say so.

Ceilings are measured in the same run: `share_of_matmul_rate` is the achieved FLOP/s over the device's best matrix
product in this precision, `share_of_roofline` the time that rate and memory bandwidth would allow the model's products
over the step's (data that stays in a cache can be faster than the bandwidth, which is main memory's), and
`share_of_products` the time of the model's own matrix products and attention, each timed alone as eager code does them,
over the step's. A share above 100 % by more than the steps' quartiles says that the ceiling was disturbed, or is none
of a compiled step, whose products are others: `suspect`. A GMAC is 1e9 multiply-accumulates, a GFLOP 1e9 operations:
two a multiply-accumulate.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

from .protocol import Context, Measurement, Task, Work
from .timing.duration import seconds_of
from .timing.settings import ThroughputSettings

if TYPE_CHECKING:
    from ..models.spec import Model
    from ..models.weights_choice import WeightsChoice

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
        """Nothing that images count: it is bound by time."""
        return Work()

    def seconds(self, model: Model, on_gpu: bool) -> tuple[float, float]:
        return seconds_of(self, model, on_gpu)

    def run(self, context: Context) -> Iterator[Measurement]:
        from .timing.session import Session

        settled = self.settled(context.device.type)
        session = Session(settled, context)
        for variant, timing, scenario in settled.cases():
            at = asdict(variant) | {"timing": timing, "scenario": scenario}
            if not context.enter(at):
                continue
            yield from session.part(at, partial(session.row, variant, timing, scenario))
            against = asdict(variant) | {"scenario": "offline", "against": self.against}
            duels = settled.duels(variant, timing, scenario) and not session.late
            if duels and context.enter(against):  # the row again: a part of its own, which the row survives
                yield from session.part(against, partial(session.duel, variant))
        for variant, timing in settled.searches().items():
            at = asdict(variant) | {"timing": timing, "scenario": "search"}
            del at["batch_size"]
            if context.enter(at):
                yield from session.part(at, partial(session.search, variant, timing))


throughput = Throughput()
