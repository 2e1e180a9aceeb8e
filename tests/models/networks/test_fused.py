"""Evaluation without gradients: the same numbers, weights that are standardised once, compiling and exporting."""

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from vit_bench.models import catalog, create_model
from vit_bench.models.networks.convolution import StdConv
from vit_bench.models.networks.fused import Linear, LinearGELU

pytestmark = pytest.mark.contract
OF_AN_EXPORT = pytest.mark.filterwarnings(  # PyTorch 2.6's own
    "ignore:Attempted to insert a get_attr Node", "ignore:Node lifted_tensor"
)

NAMES = ["ViT-mini", "BiT-mini", "R+ViT-mini"]
RESNETS = ["BiT-mini", "R+ViT-mini"]


def images(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def perturbed(name: str, seed: int = 3) -> Any:
    network: Any = create_model(name, num_classes=4)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return network


def quick(network: Any, x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return network(x)


def agree(ours: torch.Tensor, expected: torch.Tensor, bound: float = 2e-5) -> None:
    assert ((ours - expected).norm() / expected.norm()).item() < bound


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_without_a_gradient_the_numbers_are_the_same(name: str, layout: torch.memory_format) -> None:
    network, x = perturbed(name), images(3, 3, 64, 64).contiguous(memory_format=layout)
    expected = network(x)
    assert expected.requires_grad
    agree(quick(network, x), expected)
    with torch.inference_mode():
        agree(network(x), expected)
    agree(quick(network.to(memory_format=torch.channels_last), x), expected)


@pytest.mark.parametrize("layer", [Linear(24, 40), LinearGELU(24, 40)])
def test_fused_layers(layer: nn.Linear) -> None:
    x = images(2, 5, 24)
    exact = copy.deepcopy(layer).double()
    with torch.no_grad():
        expected = exact(x.double()).float()
        agree(layer(x), expected, 1e-6)
        agree(layer(x[0]), expected[0], 1e-6)
        agree(layer(x.transpose(0, 1)), expected.transpose(0, 1), 1e-6)
        assert layer(x[:0]).shape == (0, 5, 40)
        assert layer.bfloat16()(x.bfloat16()).dtype == torch.bfloat16


def in_place(weight: nn.Parameter) -> None:
    with torch.no_grad():
        weight.mul_(torch.linspace(0.5, 2, weight.numel()).view_as(weight))


def behind_autograd(weight: nn.Parameter) -> None:
    weight.data.mul_(torch.linspace(0.5, 2, weight.numel()).view_as(weight))


def in_numpy(weight: nn.Parameter) -> None:
    weight.detach().numpy()[:] *= np.linspace(0.5, 2, weight.numel(), dtype="f4").reshape(weight.shape)


def replaced_data(weight: nn.Parameter) -> None:
    weight.data = weight.data * torch.linspace(0.5, 2, weight.numel()).view_as(weight)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("change", [in_place, behind_autograd, in_numpy, replaced_data])
def test_a_changed_weight_is_standardised_anew(change: Callable[[nn.Parameter], None], compiled: bool) -> None:
    network, x = perturbed("BiT-mini"), images(2, 3, 64, 64)
    fast = torch.compile(network, backend="aot_eager", fullgraph=True) if compiled else network
    before = quick(fast, x)
    for module in network.modules():
        if isinstance(module, StdConv):
            change(module.weight)
    expected = network(x)  # with a gradient: standardised at this call
    assert (expected - before).norm() > 0.01 * expected.norm()
    agree(quick(fast, x), expected)


def test_other_ways_to_change_weights() -> None:
    network, x = perturbed("BiT-mini"), images(2, 3, 64, 64)
    other = perturbed("BiT-mini", seed=8)
    quick(network, x)
    quick(other, x)
    expected = other(x).detach()
    network.load_state_dict(other.state_dict())
    agree(quick(network, x), expected)
    network = perturbed("BiT-mini")
    quick(network, x)
    network.load_state_dict(copy.deepcopy(other.state_dict()), assign=True)
    agree(quick(network, x), expected)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.5)
    network(x).square().sum().backward()
    optimiser.step()
    agree(quick(network, x), network(x))
    assert (network(x) - expected).norm() > 1e-3
    averaged = torch.optim.swa_utils.AveragedModel(network)
    quick(averaged, x)
    averaged.update_parameters(other)
    averaged.update_parameters(other)
    agree(quick(averaged, x), averaged(x))
    swapped = torch.func.functional_call(network, dict(other.named_parameters()), x)
    agree(swapped, expected)
    agree(quick(network, x), network(x))


def kept(network: nn.Module) -> list[Any]:
    return [module._cached for module in network.modules() if isinstance(module, StdConv)]


def test_weights_are_standardised_once(monkeypatch: pytest.MonkeyPatch) -> None:
    network, x = perturbed("BiT-mini"), images(2, 3, 64, 64)
    calls: list[int] = []
    from vit_bench.models.networks import convolution

    original = convolution.standardise
    monkeypatch.setattr(convolution, "standardise", lambda *arguments: calls.append(1) or original(*arguments))
    for _ in range(3):
        quick(network, x)
    assert len(calls) == 13
    network.train()
    quick(network, x)
    assert len(calls) == 26
    assert kept(network) == [None] * 13


def test_the_kept_weights_are_nobody_elses() -> None:
    network, x = perturbed("R+ViT-mini"), images(1, 3, 64, 64)
    expected = quick(network, x)
    assert None not in kept(network)
    assert not [name for name in network.state_dict() if "kept" in name]
    twin = copy.deepcopy(network)
    assert kept(twin) == [None] * 13
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    agree(quick(twin, x), expected)
    again = pickle.loads(pickle.dumps(twin))
    agree(quick(again, x), expected)
    buffer = io.BytesIO()
    torch.save(again, buffer)
    assert len(buffer.getvalue()) < 1.1 * sum(4 * parameter.numel() for parameter in again.parameters())
    numbers = {
        module._number for each in (network, twin, again) for module in each.modules() if hasattr(module, "_number")
    }
    assert len(numbers) == 39


def test_inputs_with_a_gradient_get_one() -> None:
    for name in NAMES:
        network, x = perturbed(name).requires_grad_(False), images(1, 3, 64, 64)
        with torch.inference_mode():
            network(x)
        x.requires_grad_()
        network(x).sum().backward()
        assert x.grad is not None
        assert x.grad.abs().sum() > 0


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_and_autocast(name: str) -> None:
    network, x = perturbed(name), images(2, 3, 64, 64)
    expected = quick(network, x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = quick(network, x)
        agree(cast.float(), expected, 0.1)
        agree(cast.float(), network(x).float(), 0.05)
    agree(quick(network, x), expected, 1e-6)
    assert quick(network.bfloat16(), x.bfloat16()).dtype == torch.bfloat16


@OF_AN_EXPORT
@pytest.mark.filterwarnings("ignore:There is a performance drop")  # torch's own, of vmap over attention on a CPU
@pytest.mark.parametrize("name", NAMES)
def test_transforms_and_traces(name: str) -> None:
    network, x = perturbed(name), images(2, 3, 64, 64)
    expected = quick(network, x)
    with torch.no_grad():
        mapped = torch.func.vmap(lambda image: network(image[None])[0])(x)
        agree(mapped, expected)
        exported = torch.export.export(network, (x,)).module()
        agree(exported(x), expected)


def test_export_holds_no_operation_of_ours() -> None:
    with torch.no_grad():
        program = torch.export.export(create_model("BiT-mini"), (images(2, 3, 64, 64),))
    assert not [node for node in program.graph.nodes if "vit_bench" in str(node.target) or "mkldnn" in str(node.target)]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_inductor(name: str) -> None:
    network, x = perturbed(name), images(2, 3, 64, 64)
    compiled = torch.compile(network, fullgraph=True)
    agree(quick(compiled, x), network(x))


@OF_AN_EXPORT
@pytest.mark.slow
def test_any_batch_size_can_be_exported() -> None:
    batch = torch.export.Dim("batch", min=2, max=64)
    with torch.no_grad():
        for name in NAMES:
            network = perturbed(name)
            program = torch.export.export(network, (images(2, 3, 64, 64),), dynamic_shapes=({0: batch},))
            x = images(5, 3, 64, 64, seed=4)
            agree(program.module()(x), quick(network, x))


def test_hooks_and_replaced_layers_are_respected() -> None:
    network, x = perturbed("ViT-mini"), images(1, 3, 64, 64)
    seen: list[tuple[int, ...]] = []
    network.blocks[0].mlp.expand.register_forward_hook(lambda _module, _inputs, output: seen.append(output.shape))
    quick(network, x)
    assert seen == [(1, 17, 512)]
    network.blocks[0].mlp.contract = nn.Linear(512, 128)
    assert quick(network, x).shape == (1, 4)


def test_a_row_of_the_paper_without_a_gradient() -> None:
    row = catalog()["R50+ViT-B/16"].derive(depth=1)
    network: Any = create_model(row, image_size=(61, 35))
    x = images(1, 3, 61, 35)
    agree(quick(network, x), network(x), 5e-5)
