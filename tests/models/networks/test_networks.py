"""The three networks: shapes, initialisation, errors, and independence of the batch."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from vit_bench import memory
from vit_bench.models import Model, catalog, create_model
from vit_bench.models.networks.base import TRUNCATED_DEVIATION, lecun_normal_
from vit_bench.models.networks.convolution import StdConv
from vit_bench.registry import UsageError

pytestmark = pytest.mark.contract

SMALL = ["ViT-mini", "BiT-mini", "R+ViT-mini"]


def images(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def variant(name: str, **changes: Any) -> Model:
    return catalog()[name].derive(**changes)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("size", [None, 32, (32, 48)])
def test_shapes(name: str, size: Any) -> None:
    network = create_model(name, num_classes=7, image_size=size)
    height, width = network.image_size
    assert (height, width) == {None: (64, 64), 32: (32, 32)}.get(size, size)
    x = images(2, 3, height, width)
    assert network.features(x).shape == (2, network.num_features)
    assert network(x).shape == (2, 7)
    assert network(x).eq(0).all()  # the head starts at zero
    assert network.spec is catalog()[name]


@pytest.mark.parametrize("name", SMALL)
def test_without_a_head_calling_gives_the_features(name: str) -> None:
    network = create_model(name)
    x = images(1, 3, 64, 64)
    assert torch.equal(network(x), network.features(x))


def test_bit_takes_any_size_and_hybrids_odd_ones() -> None:
    network = create_model("BiT-mini")
    for size in ((1, 1), (37, 50), (64, 96)):
        assert network(images(1, 3, *size)).shape == (1, 512)
    assert create_model("R+ViT-mini", image_size=(61, 35))(images(1, 3, 61, 35)).shape == (1, 128)


@pytest.mark.parametrize("changes", [{"pool": "gap"}, {"pre_logits": 40}, {"mlp_dim": 96}, {"dropout": 0.1}])
@pytest.mark.parametrize("name", ["ViT-mini", "R+ViT-mini"])
def test_variants(name: str, changes: dict[str, Any]) -> None:
    network = create_model(variant(name, **changes))
    features = network.features(images(2, 3, 64, 64))
    assert features.shape == (2, changes.get("pre_logits", 128))
    if "pre_logits" in changes:
        assert features.abs().max() < 1  # tanh
    assert ("class_token" in network.state_dict()) == (changes.get("pool") != "gap")


def test_dropout_only_while_training() -> None:
    network = create_model(variant("ViT-mini", dropout=0.5))
    x = images(1, 3, 64, 64)
    assert torch.equal(network(x), network(x))
    network.train()
    assert not torch.equal(network(x), network(x))


def test_vit_against_numpy() -> None:
    network = create_model(
        variant("ViT-mini", width=8, depth=2, heads=2, mlp_dim=12, pre_logits=5), image_size=(16, 32)
    )
    network.double()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    weights = {name: value.detach().numpy() for name, value in network.state_dict().items()}
    x = images(2, 3, 16, 32).double()
    ours = network.features(x).detach().numpy()

    def linear(x: Any, name: str) -> Any:
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(x: Any, name: str) -> Any:
        centred = x - x.mean(-1, keepdims=True)
        centred = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6)
        return centred * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def gelu(x: Any) -> Any:
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))

    patches = np.stack([x.numpy()[:, :, :, :16], x.numpy()[:, :, :, 16:]], axis=1).reshape(2, 2, -1)
    embedded = patches @ weights["embedding.weight"].reshape(8, -1).T + weights["embedding.bias"]
    tokens = np.concatenate([np.repeat(weights["class_token"], 2, axis=0), embedded], axis=1)
    tokens = tokens + np.concatenate([weights["position.token"], weights["position.grid"].reshape(1, 2, 8)], axis=1)
    for layer in ("blocks.0", "blocks.1"):
        queries, keys, values = np.split(linear(norm(tokens, f"{layer}.norm1"), f"{layer}.attention.qkv"), 3, axis=-1)
        heads = []
        for head in (slice(0, 4), slice(4, 8)):
            scores = np.exp(queries[..., head] @ keys[..., head].transpose(0, 2, 1) / 2)  # sqrt of 4 dimensions a head
            heads.append(scores / scores.sum(-1, keepdims=True) @ values[..., head])
        tokens = tokens + linear(np.concatenate(heads, axis=-1), f"{layer}.attention.out")
        hidden = gelu(linear(norm(tokens, f"{layer}.norm2"), f"{layer}.mlp.expand"))
        tokens = tokens + linear(hidden, f"{layer}.mlp.contract")
    expected = np.tanh(linear(norm(tokens, "norm")[:, 0], "pre_logits"))
    np.testing.assert_allclose(ours, expected, atol=1e-9)


@pytest.mark.parametrize("name", SMALL)
def test_same_seed_same_weights_and_the_global_state_is_left_alone(name: str) -> None:
    before = torch.get_rng_state()
    first, second = (create_model(name, num_classes=3).state_dict() for _ in range(2))
    other = create_model(name, "random:1", num_classes=3).state_dict()
    seeded = create_model(name, num_classes=3, seed=1).state_dict()
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert all(torch.equal(other[key], seeded[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize("name", SMALL)
def test_every_parameter_is_filled(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    allocate = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *shape, **options: allocate(*shape, **options).fill_(float("nan")))
    network = create_model(variant(name, pre_logits=8) if name != "BiT-mini" else name, num_classes=3)
    assert all(parameter.isfinite().all() for parameter in network.parameters())


@pytest.mark.parametrize("name", ["ViT-mini", "R+ViT-mini"])
def test_a_seed_gives_the_same_weights_at_every_size_but_for_the_grid(name: str) -> None:
    small, large = (create_model(name, image_size=size).state_dict() for size in (64, 96))
    assert {key for key in small if not torch.equal(small[key], large[key])} == {"position.grid"}


def test_initialisation_of_a_vit() -> None:
    network = create_model("ViT-Ti/16")
    state = {key: value.double() for key, value in network.state_dict().items()}
    embedding = state["embedding.weight"]
    assert embedding.std().item() == pytest.approx(math.sqrt(1 / 768), rel=0.01)
    assert embedding.abs().max() <= 2 * math.sqrt(1 / 768) / 0.8796
    assert state["position.grid"].std().item() == pytest.approx(0.02, rel=0.02)
    for part in state["blocks.3.attention.qkv.weight"].chunk(3):  # each a (D, D) matrix of its own
        assert part.abs().max().item() == pytest.approx(math.sqrt(6 / (192 + 192)), rel=1e-3)
        assert part.std().item() == pytest.approx(math.sqrt(2 / (192 + 192)), rel=0.02)
    assert state["blocks.3.mlp.expand.weight"].abs().max().item() == pytest.approx(math.sqrt(6 / 960), rel=1e-3)
    assert state["blocks.3.mlp.expand.bias"].std().item() == pytest.approx(1e-6, rel=0.1)
    for key in ("class_token", "embedding.bias", "blocks.3.attention.qkv.bias", "blocks.3.attention.out.bias"):
        assert state[key].eq(0).all()
    assert state["norm.weight"].eq(1).all()


def test_initialisation_of_the_resnets() -> None:
    hybrid = create_model("R+ViT-mini")
    scales = {key: value for key, value in hybrid.state_dict().items() if "stem" in key and "norm" in key}
    assert all(value.eq(0).all() for key, value in scales.items() if key.endswith("norm3.weight"))
    assert all(value.eq(1).all() for key, value in scales.items() if key.endswith(("norm1.weight", "norm2.weight")))
    for network, gain in ((hybrid, 1), (create_model("BiT-mini"), 2)):
        convolutions = [module for module in network.modules() if isinstance(module, StdConv)]
        assert len(convolutions) == 13
        for conv in convolutions:
            expected = math.sqrt(gain / conv.weight[0].numel())
            assert conv.weight.std().item() == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("name", SMALL)
def test_an_image_does_not_see_the_rest_of_its_batch(name: str) -> None:
    network = create_model(name)
    x = images(5, 3, 64, 64)
    with torch.no_grad():
        together = network(x)
        alone = torch.cat([network(x[i : i + 1]) for i in range(5)])
    torch.testing.assert_close(together, alone, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("name", SMALL)
def test_gradients_reach_every_parameter(name: str) -> None:
    network = create_model(name, num_classes=3)
    nn.functional.cross_entropy(network(images(2, 3, 64, 64)), torch.tensor([0, 1])).backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


@pytest.mark.parametrize("name", SMALL)
def test_compiles_in_one_graph(name: str) -> None:
    network = create_model(name, num_classes=3)
    x = images(2, 3, 64, 64)
    with torch.no_grad():
        compiled = torch.compile(network, backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(x), network(x))


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (
            torch.zeros(3, 64, 64),
            r"takes images of shape \(B, 3, 64, 64\), floats .*given \(3, 64, 64\).*images\[None\]",
        ),
        (torch.zeros(2, 1, 64, 64), r"was given \(2, 1, 64, 64\) of torch.float32"),
        (torch.zeros(2, 64, 64, 3), r"Channels come first: images.permute\(0, 3, 1, 2\)"),
        (torch.zeros(2, 3, 64, 64, dtype=torch.uint8), r"torch.uint8. Scale integers first"),
        (torch.zeros(2, 3, 32, 64), r"chosen when it is built: create_model\(..., image_size=\(32, 64\)\)"),
        (torch.zeros(4), r"was given \(4,\)"),
    ],
)
def test_wrong_images(batch: torch.Tensor, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        create_model("ViT-mini")(batch)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (torch.zeros(2, 4, 64, 64), r"BiT-mini takes images of shape \(B, 3, H, W\)"),
        (torch.zeros(2, 3, 0, 64), r"was given \(2, 3, 0, 64\)"),
        (torch.zeros(2, 3, 9, 9, dtype=torch.int64), "Scale integers first"),
    ],
)
def test_wrong_images_for_bit(batch: torch.Tensor, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        create_model("BiT-mini")(batch)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("ViT-mini", {"heads": 3}, "ViT-mini: width=128 is not a multiple of heads=3"),
        ("ViT-mini", {"depth": 0}, "depth=0 must be above zero"),
        ("ViT-mini", {"mlp_dim": 0}, "mlp_dim=0 must be above zero"),
        ("ViT-mini", {"pre_logits": -1}, "pre_logits=-1 must be above zero"),
        ("ViT-mini", {"pool": "map"}, "pool='map' is neither 'token' nor 'gap'"),
        ("ViT-mini", {"dropout": 1.0}, r"dropout=1.0 is not in \[0, 1\)"),
        ("BiT-mini", {"units": ()}, "leaves no stage"),
        ("BiT-mini", {"units": (1, 0)}, "at least one residual unit for every stage"),
        ("BiT-mini", {"widen": 0.75}, "makes 48 channels, which 32 norm groups do not divide"),
        ("R+ViT-mini", {"widen": 0.0}, "widen=0.0 must be above zero"),
        ("R+ViT-mini", {"widen": 0.001}, "use a multiple of 0.5"),
    ],
)
def test_architectures_that_cannot_be(name: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        create_model(variant(name, **changes))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 0}, "num_classes=0: a head needs at least one class"),
        ({"image_size": 0}, "image_size=0: give one whole number"),
        ({"image_size": (1, 2, 3)}, "give one whole number of pixels, or"),
        ({"image_size": 64.0}, "image_size=64.0: give one whole number of pixels, or"),
        ({"image_size": "64"}, "image_size='64': give one whole number of pixels, or"),
        ({"image_size": True}, "image_size=True: give one whole number of pixels, or"),
        ({"num_classes": "10"}, "num_classes='10': give a whole number of classes"),
        ({"num_classes": 10.0}, "num_classes=10.0: give a whole number of classes"),
        ({"image_size": 15}, "a patch of 16x16 does not fit an image of 15x15 pixels"),
        ({"weights": "random:x"}, "weights=random:x: the seed after 'random:' is a whole number from 0"),
        (
            {"weights": "in21k"},
            "there are no weights 'in21k' of ViT-mini: no released file fits it. Choose 'random'",
        ),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        create_model("ViT-mini", **options)


def test_a_model_larger_than_memory_is_refused_before_it_is_allocated() -> None:
    with pytest.raises(
        UsageError, match=r"ViT-mini has [\d,]+ parameters, \d+\.\d GB as float32, and this machine has"
    ):
        create_model(variant("ViT-mini", width=2**20, depth=2))


def test_a_containers_memory_is_what_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit, used, parts = (tmp_path / name for name in ("max", "current", "stat"))
    monkeypatch.setattr(memory, "GROUP_FILES", ((str(limit), str(used), str(parts)),))
    alone = memory.free_memory()
    limit.write_text("max\n")
    used.write_text("1000\n")
    parts.write_text("anon 500\ninactive_file 200\nactive_file 100\n")
    assert (memory.free_memory() or 0) == pytest.approx(alone or 0, rel=0.5)
    limit.write_text("3000000\n")
    assert memory.free_memory() == 2999300
    with pytest.raises(UsageError, match=r"ViT-mini has [\d,]+ parameters, 0.0 GB as float32"):
        create_model("ViT-mini")


def test_unknown_name() -> None:
    with pytest.raises(UsageError, match=r"(?i)there is no model 'ViT-B/15'. Did you mean 'ViT-B/16'"):
        create_model("ViT-B/15")


def test_whole_numbers_of_numpy_are_taken() -> None:
    network = create_model("ViT-mini", num_classes=np.int64(3), image_size=[np.int32(48), 64])  # pyright: ignore[reportArgumentType]
    assert network.image_size == (48, 64)
    assert network(torch.zeros(1, 3, 48, 64)).shape == (1, 3)


@pytest.mark.parametrize("name", ["ViT-mini", "R+ViT-mini"])
def test_what_no_patch_covers_is_left_out_and_said(name: str) -> None:
    row = variant(name, patch_size=8 if name == "ViT-mini" else 3)
    network = create_model(row, image_size=(61, 57))
    batch = images(2, 3, 61, 57)
    assert network.notes[0].endswith("are in no patch, as in the official code")
    assert network.features(batch).shape == (2, 128)
    if name == "ViT-mini":
        whole = create_model(row, image_size=(56, 56))
        assert torch.equal(network.features(batch), whole.features(batch[:, :, :56, :56].contiguous()))
        assert whole.notes == ()


def test_images_that_are_no_tensor() -> None:
    message = "ViT-mini takes a torch tensor of images and was given a numpy.ndarray"
    with pytest.raises(UsageError, match=message):
        create_model("ViT-mini")(np.zeros((1, 3, 64, 64), np.float32))


def test_truncated_draws_are_the_same_on_every_version_of_pytorch() -> None:
    weight = torch.nn.Parameter(torch.empty(8, 16))
    lecun_normal_(weight, torch.Generator().manual_seed(0))
    assert weight.detach()[0, :4].tolist() == pytest.approx([-0.31998, -0.32751, -0.07122, -0.12331], abs=1e-5)
    assert weight.sum().item() == pytest.approx(0.4794, abs=1e-3)
    assert weight.abs().max() <= 0.5 / TRUNCATED_DEVIATION
