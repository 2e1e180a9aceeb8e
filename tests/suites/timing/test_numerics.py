"""The gate: honest variants of a network pass it, by far, and broken ones do not."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from vit_bench.models import create_model
from vit_bench.suites.timing.clock import Clock
from vit_bench.suites.timing.numerics import SAFETY, Deviation, NumericsCheck, difference, distance
from vit_bench.suites.timing.runner import TimedNetwork, precision_flags, randomise_zero_weights
from vit_bench.suites.timing.settings import Variant

CPU = torch.device("cpu")


def variant(**changes: Any) -> Variant:
    fields: dict[str, Any] = {"image_size": 32, "batch_size": 4, "precision": "fp32", "mode": "inference"}
    return Variant(**{**fields, "compile": False, "memory_format": "contiguous", **changes})


@pytest.fixture(scope="module", params=["ViT-mini", "BiT-mini", "R+ViT-mini"])
def network(request: pytest.FixtureRequest) -> Any:
    made = create_model(request.param, num_classes=10, image_size=32)
    randomise_zero_weights(made)
    return made


def away(network: Any, asked: Variant, change: Any = lambda _: None) -> Deviation:
    with precision_flags(asked.precision):
        runner = TimedNetwork(network, asked, CPU)
        change(runner.eager_network)
        return NumericsCheck(lambda _: network, CPU).compare(runner, runner.images(asked.batch_size), Clock())[0]


@pytest.mark.parametrize(
    "changes",
    [
        {"memory_format": "channels_last"},
        {"precision": "bf16"},
        {"precision": "bf16", "memory_format": "channels_last", "batch_size": 6},
        {"precision": "fp16"},
        {"batch_size": 1, "precision": "bf16"},
        {"mode": "train", "memory_format": "channels_last"},
        {"mode": "train", "precision": "bf16"},
    ],
    ids=str,
)
def test_honest_variants_pass(network: Any, changes: dict[str, Any]) -> None:
    found = away(network, variant(**changes))
    assert found.reasons == []
    assert found.outputs is not None
    assert found.outputs < 0.4 * found.outputs_bound  # no close call
    assert (found.gradients is not None) == (changes.get("mode") == "train")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_weights_with_the_wrong_sign_do_not(network: Any, precision: str) -> None:
    def negate(plain: Any) -> None:
        with torch.no_grad():
            plain.head.weight.mul_(-1)

    (reason,) = away(network, variant(precision=precision), negate).reasons
    assert reason.startswith("numerics: outputs are 2.0e+00 of their largest away from eager float32, and ")


def test_another_gelu_is_seen_in_float32_and_lost_in_the_rounding_of_bfloat16() -> None:
    made = create_model("ViT-mini", num_classes=10, image_size=32)
    randomise_zero_weights(made)

    def exact(plain: Any) -> None:  # the network has the tanh form
        for block in plain.blocks:
            linear = torch.nn.Linear(1, 1)
            linear.weight, linear.bias = block.mlp.expand.weight, block.mlp.expand.bias
            block.mlp.expand = torch.nn.Sequential(linear, torch.nn.GELU())

    assert away(made, variant(), exact).reasons
    assert not away(made, variant(precision="bf16"), exact).reasons


def test_wrong_gradients_are_seen_although_outputs_are_right(network: Any) -> None:
    def halve(plain: Any) -> None:
        for parameter in plain.parameters():
            parameter.register_hook(lambda gradient: 0.5 * gradient)

    found = away(network, variant(mode="train"), halve)
    assert found.outputs is not None and found.outputs <= found.outputs_bound
    (reason,) = found.reasons
    assert reason.startswith("numerics: gradients are 5.0e-01 of their length away")


def test_dropout_is_not_compared_and_says_so() -> None:
    made = create_model("ViT-mini", num_classes=10, image_size=32)
    for part in made.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.1
    found = away(made, variant(mode="train"))
    assert found.unknown == "not compared: dropout draws other numbers in every pass"
    assert found.reasons == []
    assert away(made, variant(precision="bf16")).outputs is not None  # in inference there is none


def test_a_reference_that_does_not_fit_makes_the_row_suspect(network: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_large(*_: Any, **__: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(NumericsCheck, "_float32_pass", too_large)
    found = away(network, variant(mode="train"))
    assert found.reasons == ["numerics: not seen, because eager float32 does not fit at batch_size=4"]


def test_outputs_that_are_no_numbers_are_infinitely_far_away() -> None:
    nothing = torch.tensor([float("nan")])
    assert difference(nothing, torch.ones(1)) == float("inf")
    assert distance([nothing], [torch.ones(1)]) == float("inf")
    assert Deviation(outputs=float("inf"), outputs_bound=1.0).reasons
    assert Deviation(outputs=float("nan"), outputs_bound=1.0).reasons


def test_distance_is_relative_to_all_of_the_gradients() -> None:
    assert distance([torch.ones(3), torch.zeros(1)], [torch.ones(3), torch.ones(1)]) == pytest.approx(0.5)
    assert SAFETY == 8.0
