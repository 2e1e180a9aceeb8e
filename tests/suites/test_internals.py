"""What is inside a network: distances, rollout, components and similarities, each against a few plain loops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from vit_bench.models import ViT, catalog, create_model, given_model
from vit_bench.models.weights_choice import Random
from vit_bench.registry import UsageError
from vit_bench.suites import internals, suites
from vit_bench.suites.internals import Internals, tokens_of
from vit_bench.suites.probes.attention import (
    Rollout,
    Tokens,
    attention_distance,
    effective_share,
    neighbour_similarity,
    position_similarities,
    principal_components,
)
from vit_bench.suites.protocol import Measurement, Split, Task

RNG = np.random.default_rng(0)


def attention(batch: int, heads: int, tokens: int, seed: int = 0) -> np.ndarray:
    logits = np.random.default_rng(seed).normal(size=(batch, heads, tokens, tokens)) * 2
    share = np.exp(logits)
    return share / share.sum(axis=-1, keepdims=True)


def distance_by_loops(maps: np.ndarray, rows: int, columns: int, spacing: float, first: int, token: str) -> float:
    """Of one head's map."""
    total = 0.0
    for query in range(rows * columns):
        weighed = mass = 0.0
        for key in range(rows * columns):
            down, right = query // columns - key // columns, query % columns - key % columns
            weight = maps[first + query, first + key]
            weighed += weight * spacing * (down**2 + right**2) ** 0.5
            mass += weight
        total += weighed / mass if token == "out" else weighed
    return total / (rows * columns)


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("token", ["out", "zero"])
def test_attention_distance(first: int, token: str) -> None:
    tokens = Tokens(rows=3, columns=4, spacing=16, class_token=bool(first))
    maps = attention(2, 3, 12 + first)
    found = attention_distance(
        torch.from_numpy(maps), torch.from_numpy(tokens.distances()), first=first, class_token=token
    )
    for b in range(2):
        for h in range(3):
            assert found[b, h].item() == pytest.approx(distance_by_loops(maps[b, h], 3, 4, 16, first, token), rel=1e-6)


def test_heads_that_look_at_themselves_at_neighbours_at_everything_and_at_the_class_token_alone() -> None:
    tokens = Tokens(rows=1, columns=3, spacing=10, class_token=True)
    maps = torch.zeros(1, 4, 4, 4)
    maps[0, 0] = torch.eye(4)
    maps[0, 1, :, 2] = 1  # all look at the middle patch
    maps[0, 2] = 0.25
    maps[0, 3, :, 0] = 1
    distances = torch.from_numpy(tokens.distances())
    found = attention_distance(maps, distances, first=1, class_token="out")[0]
    assert found.tolist() == pytest.approx([0, 20 / 3, tokens.uniform_distance(), 0])
    assert tokens.uniform_distance() == pytest.approx((3 * 0 + 4 * 10 + 2 * 20) / 9)
    zero = attention_distance(maps, distances, first=1, class_token="zero")[0]
    assert zero[2].item() == pytest.approx(0.75 * tokens.uniform_distance())


@pytest.mark.parametrize("identity", [True, False])
@pytest.mark.parametrize("token", [True, False])
def test_rollout(identity: bool, token: bool) -> None:
    tokens = Tokens(rows=2, columns=3, spacing=1, class_token=token)
    count = 6 + token
    layers = [attention(2, 4, count, seed) for seed in range(3)]
    rollout = Rollout(identity=identity)
    for maps in layers:
        rollout.add(torch.from_numpy(maps))
    found = rollout.of_output(tokens).numpy()
    for b in range(2):
        reach = np.eye(count)  # reach[q, k]: how much of input k is in token q
        for maps in layers:
            after = np.zeros((count, count))
            for q in range(count):
                for via in range(count):
                    weight = np.mean([maps[b, h, q, via] for h in range(4)])
                    weight = (weight + (q == via)) / 2 if identity else weight
                    after[q] += weight * reach[via]
            reach = after
        output = reach[0, 1:] if token else reach.mean(axis=0)
        assert found[b].reshape(-1) == pytest.approx(output / output.sum(), rel=1e-9)
    assert found.shape == (2, 2, 3)


def test_the_share_of_an_image_that_a_map_is_spread_over() -> None:
    one, half = np.zeros((2, 4)), np.zeros((2, 4))
    one[0, 1] = 3
    half[0] = 0.25
    assert effective_share(np.stack([one, half, np.ones((2, 4))])) == pytest.approx([12.5, 50, 100])


def test_principal_components_are_the_eigenvectors_of_the_covariance_up_to_sign() -> None:
    filters = RNG.normal(size=(20, 3, 4, 4)) * np.linspace(3, 0.1, 48).reshape(3, 4, 4) + 5
    components, explained = principal_components(filters, 6)
    covariance = np.cov(filters.reshape(20, -1).T)
    values, vectors = np.linalg.eigh(covariance)  # the smallest first
    for found, theirs in zip(components.reshape(6, -1), vectors.T[::-1], strict=False):
        assert abs(found @ theirs) == pytest.approx(1, abs=1e-5)
        assert found[np.abs(found).argmax()] > 0
    assert explained == pytest.approx(100 * values[::-1][:6] / np.trace(covariance), rel=1e-5)
    assert principal_components(filters[:5], 28)[0].shape == (4, 3, 4, 4)  # five filters span no more
    assert principal_components(np.ones((4, 3, 2, 2)), 2)[1].tolist() == [0, 0]


def test_position_similarities() -> None:
    vectors = RNG.normal(size=(2, 3, 8))
    vectors[1, 2] = 0
    found = position_similarities(vectors)
    for r in range(2):
        for c in range(3):
            for i in range(2):
                for j in range(3):
                    a, b = vectors[r, c], vectors[i, j]
                    length = np.linalg.norm(a) * np.linalg.norm(b)
                    assert found[r, c, i, j] == pytest.approx(a @ b / length if length else 0, abs=1e-6)
    line = position_similarities(np.array([[[1.0, 0], [1, 0], [0, 1]]]))
    assert neighbour_similarity(line) == pytest.approx(0.5)
    assert np.isnan(neighbour_similarity(line[:1, :1, :1, :1]))


class Here:
    """A Context on the CPU with four random images."""

    rank, processes = 0, 1
    device = torch.device("cpu")
    weights = Random()

    def __init__(self, name: str, images: int = 4, **changes) -> None:
        self.model = catalog()[name].derive(**changes)
        self.task = Task(name="noise", collection="", group="", image_set="noise", target="", num_classes=2,
                         splits={"test": images}, label="")  # fmt: skip
        pixels = np.random.default_rng(3).integers(0, 256, (images, 70, 80, 3), dtype=np.uint8)
        self.split = Split(images=pixels, labels=np.zeros(images, dtype=np.int64), digest="d")
        self.said: list[str] = []
        self.done = 0
        self.work = self.keep = self.curves = Path()

    def say(self, text: str) -> None:
        self.said.append(text)

    def advance(self, images: int, note: str = "") -> None:  # noqa: ARG002
        self.done += images

    def build(self, num_classes: int | None = None, image_size: tuple[int, int] | None = None):
        return create_model(self.model, num_classes=num_classes, image_size=image_size).eval()

    def images(self, task: Task, split: str) -> Split:  # noqa: ARG002
        return self.split

    def features(self, *_, **__):
        raise AssertionError("internals asks for no features")


def measured(here: Here, **settings) -> dict[str, list[Measurement]]:
    found: dict[str, list[Measurement]] = {}
    for one in Internals(**settings).run(here):  # pyright: ignore[reportArgumentType]
        found.setdefault(one.metric, []).append(one)
    return found


@pytest.mark.parametrize(
    ("name", "changes"),
    [("ViT-mini", {}), ("ViT-mini", {"pool": "gap"}), ("R+ViT-mini", {}), ("ViT-mini", {"posembed": "relative"})],
)
def test_a_network_is_measured_as_its_whole_attention_says(
    name: str, changes: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(internals, "MAPS_BYTES", 4 * 4 * 17**2 * 2)  # batches of two images
    here = Here(name, **changes)
    found = measured(here, images=3, examples=2)
    network = here.build()
    from vit_bench.suites.images.transforms import Transform

    transform = Transform.for_input(here.model.input, "resize_crop", (64, 64))
    with torch.inference_mode():
        maps = network.attention_maps(transform.batch(here.split.images[:3], here.device)).double().numpy()
    tokens = tokens_of(here.model, (64, 64))
    assert (tokens.rows, tokens.columns, tokens.spacing) == (4, 4, 16)  # a hybrid's in pixels of the image
    assert tokens.class_token == (here.model.architecture.pool == "token")  # pyright: ignore
    whole, *by_layer = found["attention_distance"]
    distance = whole.arrays["distance"]
    assert distance.shape == maps.shape[:1] + maps.shape[2:3]
    for layer in range(len(maps)):
        for head in range(4):
            each = [distance_by_loops(maps[layer, b, head], 4, 4, 16, tokens.first, "out") for b in range(3)]
            assert distance[layer, head] == pytest.approx(np.mean(each), rel=1e-4)
            assert whole.arrays["distance_std"][layer, head] == pytest.approx(np.std(each, ddof=1), rel=1e-2)
    assert [one.value for one in by_layer] == pytest.approx(distance.mean(axis=1).tolist(), rel=1e-5)
    assert [one.at["layer"] for one in by_layer] == list(range(len(maps)))
    assert whole.at == {"images": 3} and whole.question["images"] == "the first 3 test images"
    assert whole.question["class_token"] == ("left out" if tokens.class_token else "none")
    (rollout,) = found["attention_rollout"]
    assert rollout.arrays["rollout"].shape == (2, 4, 4)
    assert rollout.arrays["images"].shape == (2, 64, 64, 3)
    oracle = Rollout(identity=True)
    for layer in maps:
        oracle.add(torch.from_numpy(layer[:2]))
    assert rollout.arrays["rollout"] == pytest.approx(oracle.of_output(tokens).numpy(), rel=1e-4)
    assert here.done == 3
    relative = changes.get("posembed") == "relative"
    assert ("position_similarity" in found) != relative
    assert bool(here.said) == relative
    for one in [m for group in found.values() for m in group]:
        assert one.n_test is None and np.isfinite(one.value)


def test_images_are_shown_as_the_network_saw_them() -> None:
    here = Here("ViT-mini")
    shown = measured(here, images=1, examples=1, image_size=80, resize="square")["attention_rollout"][0]
    from torch.nn.functional import interpolate

    pixels = torch.from_numpy(here.split.images[:1]).permute(0, 3, 1, 2).float()
    resized = interpolate(pixels, (80, 80), mode="bilinear", antialias=True).permute(0, 2, 3, 1)
    assert np.abs(shown.arrays["images"].astype(float) - resized.numpy()).max() <= 0.51
    assert shown.arrays["rollout"].shape == (1, 5, 5)


def test_options_change_what_they_say() -> None:
    here = Here("ViT-mini")
    plain, other = measured(here), measured(here, class_token="zero", identity=False)
    far, near = (one["attention_distance"][0] for one in (plain, other))
    assert near.value < far.value
    assert near.question["class_token"] == "at distance 0"
    maps = [one["attention_rollout"][0] for one in (plain, other)]
    assert not np.allclose(maps[0].arrays["rollout"], maps[1].arrays["rollout"])
    assert [one.question["identity"] for one in maps] == [True, False]
    assert far.question["images"] == "the first 4 test images"  # as many as there are
    assert "attention_rollout" not in measured(here, examples=0)


def test_bit_has_filters_alone_and_says_so() -> None:
    here = Here("BiT-mini")
    found = measured(here)
    assert list(found) == ["rgb_filters"]
    assert found["rgb_filters"][0].arrays["components"].shape == (28, 3, 7, 7)
    assert here.said == ["BiT-mini has no attention and no position embeddings: its filters alone are measured"]
    assert Internals().estimate(here.model, here.task, Random()).all == 0


def test_filters_of_resnets_are_taken_as_they_are_applied() -> None:
    for name in ("BiT-mini", "R+ViT-mini"):
        filters = Here(name).build().rgb_filters
        assert filters.mean(dim=(1, 2, 3)).abs().max() < 1e-5
        assert filters.std(dim=(1, 2, 3), correction=0).sub(1).abs().max() < 1e-3


def test_what_cannot_be_measured_is_an_error() -> None:
    with pytest.raises(UsageError, match=r"suite\.examples=9: these are the first of the images=4"):
        Internals(images=4, examples=9).check()
    with pytest.raises(UsageError, match=r"suite\.images=0"):
        Internals(images=0, examples=0).check()
    here = Here("ViT-mini")
    here.model = given_model(torch.nn.Linear(1, 1), {"tap": "0"})
    with pytest.raises(UsageError, match=r"Linear@\w+ does not show what is inside it: suite=internals takes ViT"):
        measured(here)
    with pytest.raises(UsageError, match="ViT-mini has a single patch at this image size: type a larger image_size="):
        measured(Here("ViT-mini"), image_size=16)


def test_nan_weights_are_an_error_that_names_the_image() -> None:
    here = Here("ViT-mini")
    build = here.build

    def broken(num_classes: int | None = None, image_size: tuple[int, int] | None = None):
        network = build(num_classes, image_size)
        with torch.no_grad():
            network.blocks[1].attention.qkv.weight.fill_(float("nan"))
        return network

    here.build = broken
    with pytest.raises(ValueError, match="ViT-mini gives NaN or inf for image 0 of the split"):
        measured(here)


def test_the_suite_is_listed_with_one_task_of_its_own() -> None:
    suite = suites()["internals"]
    from vit_bench.suites.tasks import tasks

    assert suite.default_tasks in tasks()
    assert isinstance(catalog()["ViT-L/16"].architecture, ViT)
    assert suite.estimate(catalog()["ViT-L/16"], tasks()["photos"], Random()).images == 128
