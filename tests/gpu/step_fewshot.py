"""Few-shot: from JPEG files to features beside the smaller of two ceilings, decoding alone and the network alone, all
three in turn in this process; the features themselves beside float64's; and the probe at ImageNet's scale.

The probe has no code of its own for a GPU: it runs on the host, in float64 where it decides. Its scores and decisions
are held against the normal equations solved in float64 by torch on the device, whose time is told, too.
"""

from __future__ import annotations

import copy
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jpeg_files import make_files
from rows import TINY, Row, going_on, judged, needs_cuda, write
from step_exactness import SAFETY, rounded
from vit_bench.bench.environment import keep_freed_memory, pick_device
from vit_bench.models import create_model
from vit_bench.suites.fewshot import ridge_probe
from vit_bench.suites.images.decode import read_image
from vit_bench.suites.images.decoded import Decoded
from vit_bench.suites.images.features import extract
from vit_bench.suites.images.transforms import Transform
from vit_bench.suites.probes.ridge import BIAS, STD_FLOOR, Ridge
from vit_bench.suites.probes.support import shuffled_by_class

SHARE, SECONDS = 0.9, 3.0  # goals: of the smaller ceiling; of the probe at ImageNet's scale
MODEL, SIDE, BATCH = ("ViT-mini", 64, 16) if TINY else ("ViT-B/16", 224, 256)
FILES, ROUNDS = (64, 2) if TINY else (4096, 3)
CHECKED = 8  # images whose features are compared with float64's
CLASSES, SHOTS, TEST, WIDTHS = (50, 10, 1000, (96,)) if TINY else (1000, 10, 50_000, (768, 1024))
L2 = 2.0**10  # the authors'
SCORES_APART = 1e-9  # of the largest score; what suites/probes/ridge.py says of its solutions
# Resizing places its weights at centres in pixels, up to 500, which float32 rounds by up to 2^-16 of a pixel; another
# device may round them the other way. So pixels differ by up to 2^-15 of the contrast between neighbours, which is at
# most the whole range, and that is 2 in normalised pixels.
RESIZED = 2.0**-14


def seconds_of(work: Callable[[], Any], device: torch.device) -> float:
    begun = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - begun


def features(device: torch.device, scratch: Path) -> None:
    paths = make_files(scratch / "files", FILES)
    network: Any = create_model(MODEL, image_size=SIDE)
    transform = Transform.for_input(network.spec.input, "resize_crop", (SIDE, SIDE))
    images_64 = transform.apply(
        [torch.from_numpy(read_image(path)[None]) for path in paths[:CHECKED]], torch.device("cpu")
    )
    with torch.inference_mode():
        expected = copy.deepcopy(network).double().features(images_64.double())
        noisy = rounded(network, 2.0**-24).features(images_64.double())
    network = network.to(device)
    decoded = [read_image(path) for path in paths[:CHECKED]]
    got = torch.from_numpy(extract(network, decoded, transform, batch_size=BATCH)).double()
    largest = float(expected.abs().max())
    bound = SAFETY * float((noisy - expected).abs().max()) / largest
    found = float((got - expected).abs().max()) / largest
    write(judged("JPEG to features, fp32, from float64", found, at_most=bound + RESIZED, must=True))
    if device.type == "cuda":  # as a script of the user's may have done before
        torch.set_float32_matmul_precision("high")
        got = torch.from_numpy(extract(network, decoded, transform, batch_size=BATCH)).double()
        torch.set_float32_matmul_precision("highest")
        found = float((got - expected).abs().max()) / largest
        write(judged("the same, TF32 switched on before", found, at_most=bound + RESIZED))
    precision = "bf16" if device.type == "cuda" else "fp32"
    ready = transform.apply([torch.from_numpy(decoded[0][None])], device).expand(BATCH, -1, -1, -1).contiguous()

    def fresh() -> Decoded:
        return Decoded(lambda i: read_image(paths[i]), FILES)

    def decode() -> None:
        images = fresh()
        for start in range(0, FILES, BATCH):
            images[start : start + BATCH]

    def forward() -> None:
        autocast = torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")
        with torch.inference_mode(), autocast:
            for _ in range(FILES // BATCH):
                network.features(ready)

    def both() -> None:
        extract(network, fresh(), transform, batch_size=BATCH, precision=precision)

    both()
    ways = {"decoding alone": decode, "the network alone": forward, "JPEG to features": both}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, work in ways.items():
            times[name].append(seconds_of(work, device))
    for name, values in times.items():
        rate = FILES / statistics.median(values)
        write(Row(what=f"{MODEL} {SIDE} px {precision}: {name}", value=rate, unit="images/s"))
    alone, network_alone, together = times.values()
    shares = [max(a, b) / c for a, b, c in zip(alone, network_alone, together, strict=True)]
    write(judged("share of the smaller ceiling", statistics.median(shares), at_least=SHARE))


def problem(width: int) -> tuple[np.ndarray, ...]:
    """Support and test features, with labels, of classes that overlap."""
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(CLASSES, width))
    mixing = np.logspace(0, -1.5, width)
    labels = np.arange(CLASSES * SHOTS) % CLASSES
    truth = generator.integers(0, CLASSES, TEST)
    x, y = ((3 * generator.normal(size=(len(one), width)) + centres[one]) * mixing for one in (labels, truth))
    return x.astype(np.float32), labels, y.astype(np.float32), truth


def solved(x: torch.Tensor, labels: torch.Tensor, test: torch.Tensor) -> torch.Tensor:
    """(M, K) float64 scores of the test features, by the normal equations with the constant feature."""
    x, test = x.double(), test.double()
    mean, scale = x.mean(dim=0), x.std(dim=0, correction=0) + STD_FLOOR
    rows, tests = (torch.cat([(part - mean) / scale, part.new_full((len(part), 1), BIAS)], 1) for part in (x, test))
    targets = 2 * torch.nn.functional.one_hot(labels, CLASSES).double() - 1
    gram = rows.T @ rows + L2 * torch.eye(rows.shape[1], dtype=torch.float64, device=rows.device)
    weights = torch.cholesky_solve(rows.T @ targets, torch.linalg.cholesky(gram))
    return tests @ weights


def probe(device: torch.device, width: int) -> None:
    x, labels, test, truth = problem(width)
    what = f"probe, {CLASSES} classes x {SHOTS}, d={width}, {TEST} test"
    table: Any = None

    def ours() -> None:
        nonlocal table
        table = ridge_probe(x, labels, test, truth, CLASSES, (SHOTS,), (0,), (L2,))

    times = [seconds_of(ours, torch.device("cpu")) for _ in range(3)]
    write(judged(f"{what}: on the host", statistics.median(times), "s", at_most=SECONDS))
    chosen = np.concatenate([indices[:SHOTS] for indices in shuffled_by_class(labels, CLASSES, 0)])
    arrays = [torch.from_numpy(array).to(device) for array in (x[chosen], labels[chosen], test)]
    scores = solved(*arrays)
    times = [seconds_of(lambda: solved(*arrays), device) for _ in range(3)]
    write(Row(what=f"{what}: by torch in float64 on {device.type}", value=statistics.median(times), unit="s"))
    theirs = scores.argmax(dim=1).cpu().numpy()
    accuracy = 100 * float((theirs == truth).mean())
    found = float(table["top1"].iloc[0])
    write(judged("its top-1 from that of the device", abs(found - accuracy), "points", at_most=1e-9, must=True))
    mine = Ridge(x[chosen], labels[chosen], CLASSES).solution(L2).scores(test)
    mine, other = (one - one.mean(axis=1, keepdims=True) for one in (mine, scores.cpu().numpy()))  # no common part
    difference = float(np.abs(mine - other).max() / np.abs(mine).max())
    write(judged("its scores from those of the device", difference, at_most=SCORES_APART, must=True))


def main() -> None:
    device = pick_device(os.environ.get("DEVICE") or "auto")
    keep_freed_memory()
    with going_on("features"):
        features(device, Path(os.environ.get("SCRATCH") or "."))
    if device.type != "cuda":
        needs_cuda("bf16 features; float64 on a GPU")
    for width in WIDTHS:
        with going_on(f"probe, d={width}"):
            probe(device, width)


if __name__ == "__main__":
    main()
