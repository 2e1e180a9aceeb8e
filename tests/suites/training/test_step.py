"""One step of training: micro-batches are exact, the update is PyTorch's own, nothing leaks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from vit_bench import create_model
from vit_bench.registry import UsageError
from vit_bench.suites.training.contract import TrainingError, Watch
from vit_bench.suites.training.loop import kept_by_averaging, train
from vit_bench.suites.training.order import indices, mixing, split
from vit_bench.suites.training.recipe import Recipe
from vit_bench.suites.training.step import is_kernel, multi_hot

from .toys import CPU, Noisy, Toy, recipe, same, state


def test_every_image_comes_once_an_epoch_and_small_sets_come_around() -> None:
    row = np.concatenate([indices(10, 4, 7, step) for step in range(5)])
    assert sorted(row[:10]) == sorted(row[10:]) == list(range(10))
    assert not np.array_equal(row[:10], row[10:])
    assert not np.array_equal(indices(10, 10, 7, 0), indices(10, 10, 8, 0))
    assert sorted(indices(3, 7, 0, 0)) == [0, 0, 0, 1, 1, 2, 2] or np.bincount(indices(3, 7, 0, 0)).max() == 3
    assert all(np.bincount(indices(3, 6, 0, step)).tolist() == [2, 2, 2] for step in range(4))


@pytest.mark.parametrize(("processes", "micro_batch"), [(1, 10), (1, 3), (2, 3), (3, 1), (4, 100)])
def test_a_batch_is_dealt_out_whole(processes: int, micro_batch: int) -> None:
    parts = [split(10, processes, rank, micro_batch) for rank in range(processes)]
    assert np.concatenate([part for mine in parts for part in mine]).tolist() == list(range(10))
    assert len({len(mine) for mine in parts}) == 1
    assert max(len(part) for mine in parts for part in mine) <= micro_batch


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_micro_batches_make_the_same_weights(optimizer: str) -> None:
    how = recipe(optimizer=optimizer, lr=0.05, mixup=0.5, label_smoothing=0.1, weight_decay=0.01, polyak=0.5)
    found = [
        state(train(Toy(), Noisy(), how, seed=3, compute=replace(CPU, micro_batch=size)).network) for size in (8, 3, 1)
    ]
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("model", ["ViT-mini", "BiT-mini"])
def test_micro_batches_are_exact_for_our_networks(model: str) -> None:
    class Images(Noisy):
        def batch(self, indices, part, generator, device) -> torch.Tensor:  # noqa: ARG002
            noise = torch.randn((len(indices), 3, 32, 32), generator=generator)
            return noise[part] + torch.from_numpy(self.labels[indices[part]]).float().view(-1, 1, 1, 1) - 1

    found = []
    for size in (4, 3):
        network = create_model(model, num_classes=3, image_size=32)
        how = recipe(batch=4, steps=3, lr=0.03, optimizer="sgd")
        found.append(state(train(network, Images(), how, seed=0, compute=replace(CPU, micro_batch=size)).network))
    torch.testing.assert_close(found[1], found[0], rtol=1e-3, atol=2e-5)
    assert not same(found[0], state(create_model(model, num_classes=3, image_size=32)))


def by_hand(how: Recipe, data: Noisy, seed: int) -> dict[str, torch.Tensor]:
    """The same training in the words of a PyTorch tutorial, augmentation aside."""
    from vit_bench.suites.training.order import AUGMENT, stream

    network, averaged = Toy().train(), None
    if how.optimizer == "sgd":
        optimizer = torch.optim.SGD(network.parameters(), momentum=0.9, weight_decay=how.weight_decay)
    else:
        optimizer = torch.optim.AdamW(network.parameters(), weight_decay=how.weight_decay)
    if how.polyak:
        from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

        averaged = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(how.polyak))
        averaged.update_parameters(network)
    for step in range(how.steps):
        chosen = indices(len(data), how.batch, seed, step)
        generator = torch.Generator().manual_seed(stream(seed, AUGMENT, step))
        images = data.batch(chosen, np.arange(how.batch), generator, torch.device("cpu"))
        targets = F.one_hot(torch.from_numpy(data.labels[chosen]), 3).float()
        share = mixing(how.mixup, seed, step)
        images = share * images + (1 - share) * images.roll(1, 0)
        targets = share * targets + (1 - share) * targets.roll(1, 0)
        optimizer.zero_grad()
        F.cross_entropy(network(images), targets, label_smoothing=how.label_smoothing).backward()
        if how.clip_norm:
            torch.nn.utils.clip_grad_norm_(network.parameters(), how.clip_norm)
        for group in optimizer.param_groups:
            group["lr"] = how.learning_rate(step)
        optimizer.step()
        if averaged is not None:
            averaged.update_parameters(network)
    return state(network if averaged is None else averaged.module)


@pytest.mark.parametrize(
    "how",
    [
        recipe(),
        recipe(clip_norm=0.0, weight_decay=0.1, label_smoothing=0.2),
        recipe(mixup=0.4, clip_norm=0.1),
        recipe(optimizer="adam", weight_decay=0.3, schedule="linear"),
        recipe(polyak=0.7, steps=8),
    ],
    ids=["sgd", "decay", "mixup", "adam", "polyak"],
)
def test_training_is_what_the_words_of_pytorch_say(how: Recipe) -> None:
    found = state(train(Toy(), Noisy(), how, seed=1, compute=CPU).network)
    torch.testing.assert_close(found, by_hand(how, Noisy(), seed=1), rtol=1e-4, atol=1e-6)


def test_a_network_learns_and_is_handed_back_ready_to_score() -> None:
    data = Noisy(60)
    trained = train(Toy(), data, recipe(steps=60, batch=30, lr=0.3), seed=0, compute=replace(CPU, micro_batch=30))
    everything = np.arange(60)
    images = data.batch(everything, everything, torch.Generator(), torch.device("cpu"))
    assert not trained.network.training
    assert (trained.network(images).argmax(1).numpy() == data.labels).mean() > 0.9
    assert all(parameter.grad is None for parameter in trained.network.parameters())


def test_nothing_of_the_process_is_changed(tmp_path: Path) -> None:
    import signal

    torch.manual_seed(5)
    before = torch.get_rng_state(), torch.get_num_threads(), signal.getsignal(signal.SIGINT)
    train(Toy(dropout=0.5), Noisy(), recipe(), seed=0, compute=replace(CPU, threads=2), watch=Watch(work=tmp_path))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (torch.get_num_threads(), signal.getsignal(signal.SIGINT)) == before[1:]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_one_process_trains_in_several_precisions_in_turn(precision: str) -> None:
    trained = train(Toy(), Noisy(), recipe(), seed=0, compute=replace(CPU, precision=precision))
    assert {parameter.dtype for parameter in trained.network.parameters()} == {torch.float32}
    exact = state(train(Toy(), Noisy(), recipe(), seed=0, compute=CPU).network)
    torch.testing.assert_close(state(trained.network), exact, rtol=0.1, atol=0.05)
    assert same(state(trained.network), exact) == (precision == "fp32")


def test_the_memory_format_changes_rounding_only() -> None:
    plain = state(train(Toy(), Noisy(), recipe(), seed=0, compute=CPU).network)
    compute = replace(CPU, channels_last=True)
    found = state(train(Toy(), Noisy(), recipe(), seed=0, compute=compute).network)
    torch.testing.assert_close(found, plain, rtol=1e-4, atol=1e-5)


def test_a_loss_that_diverges_says_where(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"step \d+ of 40: the loss is \S+ at learning rate 1e\+30 .*gradient norm"):
        train(
            Toy(),
            Noisy(),
            recipe(lr=1e30, clip_norm=0.0, schedule="constant", steps=40),
            seed=0,
            compute=CPU,
            watch=Watch(work=tmp_path, every_steps=1),
        )


def out_of_memory(*calls: int):
    def act(call: int) -> None:
        if call in calls:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 MiB")

    return act


def test_out_of_memory_halves_the_micro_batch_and_says_so() -> None:
    said: list[str] = []
    trained = train(Toy(), Noisy(act=out_of_memory(3)), recipe(), seed=0, compute=CPU, watch=Watch(say=said.append))
    assert trained.micro_batch == 4
    assert said == list(trained.notes)
    assert said[0].startswith("step 3: out of memory; micro-batches of 4 images from here on instead of 8")
    torch.testing.assert_close(
        state(trained.network),
        state(train(Toy(), Noisy(), recipe(), seed=0, compute=CPU).network),
        rtol=1e-4,
        atol=1e-5,
    )


def test_out_of_memory_with_one_image_is_an_error_with_advice() -> None:
    with pytest.raises(TrainingError, match=r"step 1: out of memory with a micro-batch of 1 images\. Type a smaller"):
        train(Toy(), Noisy(act=out_of_memory(*range(100))), recipe(), seed=0, compute=CPU)


def test_other_errors_are_not_taken_for_a_lack_of_memory() -> None:
    def act(call: int) -> None:
        raise RuntimeError(f"bad image {call}")

    with pytest.raises(RuntimeError, match="bad image 1"):
        train(Toy(), Noisy(act=act), recipe(), seed=0, compute=CPU)


@pytest.mark.parametrize(("megabytes", "expected"), [(1000, 8), (0.02, 4), (0.0001, 1)])
def test_the_micro_batch_is_found_from_the_free_memory(megabytes: float, expected: int) -> None:
    compute = replace(CPU, micro_batch=None, free_memory=lambda: int(1e6 * megabytes))
    assert train(Toy(), Noisy(), recipe(steps=1), seed=0, compute=compute).micro_batch == expected


def test_images_with_several_classes_are_trained_on_all_of_them() -> None:
    classes = torch.tensor([[0, 2, 2], [1, -1, -1], [-1, -1, -1]])
    assert multi_hot(classes, 4).tolist() == [[1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    data, one = Noisy(), Noisy()
    data.label_sets = tuple((label, (label + 1) % 3) for label in data.labels.tolist())
    one.label_sets = tuple((label,) for label in data.labels.tolist())
    how = recipe(loss="sigmoid", head_bias=-2.0, mixup=0.5, weight_decay=0.1, decay_on="kernels", optimizer="adam")
    found = [
        state(train(Toy(), data, how, seed=3, compute=replace(CPU, micro_batch=size)).network) for size in (8, 3, 1)
    ]
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-4, atol=1e-5)
    alone = state(train(Toy(), one, how, seed=3, compute=CPU).network)
    assert not same(alone, found[0])
    assert same(alone, state(train(Toy(), Noisy(), how, seed=3, compute=CPU).network))


def test_softmax_takes_one_class_an_image() -> None:
    data = Noisy()
    data.label_sets = tuple((label,) for label in data.labels.tolist())
    plain = state(train(Toy(), Noisy(), recipe(), seed=0, compute=CPU).network)
    assert same(state(train(Toy(), data, recipe(), seed=0, compute=CPU).network), plain)
    data.label_sets = (*data.label_sets[:4], (0, 2), *data.label_sets[5:])
    with pytest.raises(
        UsageError, match=r"training image 4 has 2 classes, and loss=softmax takes one an image: type s"
    ):
        train(Toy(), data, recipe(), seed=0, compute=CPU)


def test_a_run_does_not_go_on_from_one_with_other_classes(tmp_path: Path) -> None:
    data, said = Noisy(), list[str]()
    data.label_sets = tuple((label, 0) for label in data.labels.tolist())
    for labels in (Noisy(), data, data):
        watch = Watch(work=tmp_path, say=said.append)
        train(Toy(), labels, recipe(loss="sigmoid"), seed=0, compute=CPU, watch=watch)
    assert [text for text in said if "going on" in text] == ["going on from the checkpoint of step 5 of 5"]


def test_only_matrices_of_layers_are_kernels() -> None:
    for name, kernels in (("ViT-mini", 4 * 4 + 2), ("BiT-mini", None)):
        network = create_model(name, num_classes=3, image_size=32)
        layers = {id(module.weight) for module in network.modules() if isinstance(module, nn.Linear | nn.Conv2d)}
        found = [value for key, value in network.named_parameters() if is_kernel(key, value)]
        assert {id(value) for value in found} == layers
        assert kernels in (None, len(found))


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_decay_on_kernels_leaves_other_parameters_as_without_decay(optimizer: str) -> None:
    changes: dict[str, Any] = {"optimizer": optimizer, "steps": 1, "warmup": 0, "clip_norm": 0.0}
    none, kernels, everything = (
        state(train(Toy(), Noisy(), recipe(**changes, **one), seed=0, compute=CPU).network)
        for one in ({}, {"weight_decay": 0.5, "decay_on": "kernels"}, {"weight_decay": 0.5})
    )
    for name in none:
        kernel = name in ("first.weight", "head.weight")
        assert torch.equal(kernels[name], (everything if kernel else none)[name])
        at_zero = name in ("group.bias", "norm.bias")  # before the step, so decay takes nothing away
        assert torch.equal(everything[name], none[name]) == at_zero


def test_averaging_that_keeps_the_first_weights_is_warned_of() -> None:
    trained = train(Toy(), Noisy(), recipe(polyak=0.9999), seed=0, compute=CPU)
    assert trained.notes == (
        "polyak=0.9999: after 5 steps the averaged weights are still 100 % the first weights; up to 0.54928 they "
        "would be 5 %",
    )
    assert train(Toy(), Noisy(), recipe(polyak=0.5), seed=0, compute=CPU).notes == ()
    assert "14 % the first" in kept_by_averaging(recipe(polyak=0.9999, steps=20_000))
    assert [bool(kept_by_averaging(recipe(polyak=0.9, steps=steps))) for steps in (28, 29)] == [True, False]


def test_batch_norm_is_warned_of() -> None:
    network = Toy()
    network.group = torch.nn.BatchNorm2d(8)
    trained = train(network, Noisy(), recipe(), seed=0, compute=CPU)
    assert "BatchNorm: each micro-batch is normalised by itself" in trained.notes[0]


@pytest.mark.parametrize("mixup", [0.0, 0.5])
def test_the_next_steps_images_are_announced_before_this_step_asks_for_its_own(mixup: float) -> None:
    """So that they are decoded while the device works; and no image that the steps do not take."""
    told: list[tuple[str, list[int]]] = []

    class Announced(Noisy):
        def batch(self, indices, part, generator, device) -> torch.Tensor:
            told.append(("asked", indices[part].tolist()))
            return super().batch(indices, part, generator, device)

        def ahead(self, indices: np.ndarray) -> None:
            told.append(("announced", indices.tolist()))

    train(Toy(), Announced(), recipe(steps=3, mixup=mixup), seed=0, compute=replace(CPU, micro_batch=4))
    assert [what for what, _ in told] == [
        *(2 * ["announced"] + 2 * ["asked"]),
        *(2 * ["announced"] + 2 * ["asked"]),
        *(1 * ["announced"] + 2 * ["asked"]),  # after the last step there is nothing to decode
    ]
    asked = [told[i][1] + told[i + 1][1] for i in (2, 6, 9)]
    assert [told[i][1] for i in (0, 1, 5)] == asked


def test_a_process_decodes_its_own_part_of_a_batch_alone() -> None:
    from vit_bench.suites.training.parallel import TrainingProcesses
    from vit_bench.suites.training.step import TrainState

    announced: list[int] = []

    class Announced(Noisy):
        def ahead(self, indices: np.ndarray) -> None:
            announced.extend(indices.tolist())

    processes = TrainingProcesses(CPU)
    processes.rank, processes.size = 1, 2
    data, how = Announced(), recipe(steps=9)
    made = TrainState(Toy(), data, how, seed=0, compute=CPU, processes=processes)
    assert made.accumulate(0, 4, lambda: False) == "done"
    expected = [indices(len(data), how.batch, 0, step)[4:] for step in (0, 1)]
    assert announced == np.concatenate(expected).tolist()


@pytest.mark.parametrize("posembed", ["1d", "sincos2d"])
def test_gathered_weights_come_with_what_no_state_dict_holds(posembed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sharded training ends in a copy that never had weights; here a single process takes that way on the CPU."""
    from vit_bench.models import catalog
    from vit_bench.suites.training import loop

    class Gathered(loop.TrainingProcesses):
        def __init__(self, compute: Any) -> None:
            super().__init__(compute)
            self.fsdp = True

    row = catalog()["ViT-mini"].derive(posembed=posembed, depth=1, width=16, heads=2, mlp_dim=16, patch_size=2)
    images, logits = torch.randn(3, 3, 4, 4, generator=torch.Generator().manual_seed(0)), []
    for kind in (loop.TrainingProcesses, Gathered):
        monkeypatch.setattr(loop, "TrainingProcesses", kind)
        network: Any = create_model(row, num_classes=3, image_size=4)
        trained = train(network, Noisy(), recipe(steps=2), seed=0, compute=CPU).network
        assert (trained is network) == (kind is not Gathered)
        assert all(parameter.requires_grad for parameter in trained.parameters())
        with torch.no_grad():
            logits.append(trained(images))
    assert logits[0].any()
    assert torch.equal(*logits)
