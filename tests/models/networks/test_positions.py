"""The variants of Table 8, attention maps, and what figures look at."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from vit_bench.models import Model, catalog, create_model
from vit_bench.registry import UsageError

TABLE_8 = [
    {"posembed": "none"},
    {"posembed": "1d"},
    {"posembed": "1d", "posembed_at": "layers"},
    {"posembed": "1d", "posembed_at": "shared"},
    {"posembed": "2d"},
    {"posembed": "2d", "posembed_at": "layers"},
    {"posembed": "2d", "posembed_at": "shared"},
    {"posembed": "relative"},
]


def variant(name: str = "ViT-mini", **changes: Any) -> Model:
    return catalog()[name].derive(**changes)


def perturbed(row: Model, image_size: tuple[int, int] = (32, 48), seed: int = 1) -> Any:
    network: Any = create_model(row, image_size=image_size).double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return network


def images(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def shuffled(x: torch.Tensor) -> torch.Tensor:
    """The image with its two 16x16 patches of the first row exchanged."""
    return torch.cat([x[..., 16:32], x[..., :16], x[..., 32:]], dim=-1)


@pytest.mark.parametrize("pool", ["token", "gap"])
@pytest.mark.parametrize("name", ["ViT-mini", "R+ViT-mini"])
@pytest.mark.parametrize("changes", TABLE_8, ids=lambda changes: "-".join(changes.values()))
def test_every_variant_runs_trains_and_is_recorded(changes: dict[str, str], name: str, pool: str) -> None:
    row = variant(name, pool=pool, **changes)
    network: Any = create_model(row, num_classes=3, image_size=(32, 48))
    torch.nn.functional.cross_entropy(network(images(2, 3, 32, 48).float()), torch.tensor([0, 1])).backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    said = {key: value for key, value in changes.items() if (key, value) not in {("posembed", "1d")}}
    assert dict(row.variant) == said | ({"pool": "gap"} if pool == "gap" else {})


@pytest.mark.parametrize(("changes", "count"), list(zip(TABLE_8, (0, 7, 28, 7, None, None, None, None), strict=True)))
def test_parameter_counts(changes: dict[str, str], count: int | None) -> None:
    """On 2x3 patches with a class token, D = 128, 4 layers of 4 heads."""
    bare = sum(p.numel() for p in perturbed(variant(posembed="none")).parameters())
    vectors = (sum(p.numel() for p in perturbed(variant(**changes)).parameters()) - bare) / 128
    per_place = {"2d": 1 + 2 / 2 + 3 / 2, "relative": 4 * (2 * 7 - 1)}
    repeats = {"layers": 4}.get(changes.get("posembed_at", "stem"), 1)
    expected = count if count is not None else per_place[changes["posembed"]] * repeats
    assert vectors == expected


def test_a_bag_of_patches_does_not_see_their_order() -> None:
    x = images(1, 3, 16, 48)
    for changes in TABLE_8:
        network = perturbed(variant(**changes), (16, 48))
        same = torch.allclose(network(x), network(shuffled(x)), atol=1e-9)
        assert same == (changes["posembed"] == "none"), changes


def test_two_dimensional_is_columns_then_rows() -> None:
    network = perturbed(variant(posembed="2d"))
    embeddings = network.position_embeddings
    assert embeddings.shape == (2, 3, 128)
    assert torch.equal(embeddings[0, 1, :64], embeddings[1, 1, :64])  # X: the same column
    assert torch.equal(embeddings[1, 0, 64:], embeddings[1, 2, 64:])  # Y: the same row
    assert not torch.equal(embeddings[0, 0, :64], embeddings[0, 1, :64])
    assert not torch.equal(embeddings[0, 0, 64:], embeddings[1, 0, 64:])


def test_shared_is_layers_with_equal_vectors_and_stem_is_not() -> None:
    shared, layers = (perturbed(variant(posembed_at=place)) for place in ("shared", "layers"))
    state = shared.state_dict()
    for key in list(state):
        if key.startswith("position."):
            value = state.pop(key)
            state |= {f"positions.{layer}.{key.removeprefix('position.')}": value for layer in range(4)}
    layers.load_state_dict(state)
    x = images(2, 3, 32, 48)
    torch.testing.assert_close(shared(x), layers(x))
    stem = perturbed(variant())
    stem.load_state_dict(shared.state_dict())
    assert not torch.allclose(stem(x), shared(x), atol=1e-3)


def test_the_first_layer_alone_is_the_stem() -> None:
    stem, layers = perturbed(variant(depth=1)), perturbed(variant(depth=1, posembed_at="layers"))
    layers.load_state_dict({key.replace("position.", "positions.0."): v for key, v in stem.state_dict().items()})
    x = images(2, 3, 32, 48)
    torch.testing.assert_close(stem(x), layers(x))


def test_relative_attention_against_numpy() -> None:
    network = perturbed(variant(posembed="relative", depth=1, width=8, heads=2))
    attention = network.blocks[0].attention
    x = images(2, 7, 8)
    ours = attention(x).detach().numpy()
    qkv = x.numpy() @ attention.qkv.weight.detach().numpy().T + attention.qkv.bias.detach().numpy()
    distances = attention.relative.distances.detach().numpy()  # 2 13 4
    queries, keys, values = np.split(qkv, 3, axis=-1)
    heads = []
    for head in range(2):
        part = slice(4 * head, 4 * head + 4)
        logits = np.empty((2, 7, 7))
        for q in range(7):
            for k in range(7):
                query = queries[:, q, part]
                content = (query * keys[:, k, part]).sum(-1)
                place = query @ distances[head, k - q + 6]
                logits[:, q, k] = (content + place) / math.sqrt(4)
        weights = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        heads.append(weights @ values[..., part])
    out = np.concatenate(heads, axis=-1) @ attention.out.weight.detach().numpy().T
    np.testing.assert_allclose(ours, out + attention.out.bias.detach().numpy(), atol=1e-9)


@pytest.mark.parametrize("name", ["ViT-mini", "R+ViT-mini"])
@pytest.mark.parametrize("changes", [{}, {"posembed": "relative", "pool": "gap"}, {"posembed_at": "layers"}])
def test_attention_maps(name: str, changes: dict[str, str]) -> None:
    network = perturbed(variant(name, **changes), (32, 48))
    vit = network.spec.architecture
    rows, columns = vit.grid((32, 48))
    tokens = rows * columns + (vit.pool == "token")
    x = images(2, 3, 32, 48)
    maps = network.attention_maps(x)
    assert maps.shape == (vit.depth, 2, vit.heads, tokens, tokens)
    torch.testing.assert_close(maps.sum(-1), torch.ones_like(maps[..., 0]))
    assert maps.min() >= 0
    # The maps are what the forward pass mixes the values with: the last layer, done again by hand.
    seen: list[torch.Tensor] = []
    last = network.blocks[-1]
    handle = last.attention.register_forward_hook(lambda _module, inputs, output: seen.extend([*inputs, output]))
    network(x)
    handle.remove()
    normed, output = seen
    values = last.attention.qkv(normed)[..., 2 * vit.width :].unflatten(-1, (vit.heads, -1)).transpose(1, 2)
    torch.testing.assert_close(last.attention.out((maps[-1] @ values).transpose(1, 2).flatten(2)), output)


def test_filters_and_embeddings() -> None:
    network: Any = create_model("ViT-mini", image_size=(32, 48))
    assert network.patch_filters.shape == (128, 3, 16, 16)
    assert network.position_embeddings.shape == (2, 3, 128)
    assert torch.equal(network.position_embeddings[1, 2], network.state_dict()["position.grid"][0, 1, 2])
    hybrid: Any = create_model("R+ViT-mini")
    assert hybrid.patch_filters.shape == (128, 512, 1, 1)
    layers = create_model(variant(posembed_at="layers"))
    assert torch.equal(layers.position_embeddings, layers.state_dict()["positions.0.grid"][0])
    for posembed in ("none", "relative"):
        with pytest.raises(UsageError, match=f"ViT-mini with posembed={posembed} adds no position embeddings"):
            _ = create_model(variant(posembed=posembed)).position_embeddings


def test_patches_on_a_feature_map() -> None:
    row = variant("R+ViT-mini", patch_size=2)
    network: Any = create_model(row, image_size=(64, 96))
    assert network.position_embeddings.shape == (2, 3, 128)
    assert network.patch_filters.shape == (128, 512, 2, 2)
    assert network(images(1, 3, 64, 96).float()).shape == (1, 128)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"posembed": "3d"}, "ViT-mini: posembed='3d'. Choose from: none, 1d, 2d, relative, bicubic"),
        ({"posembed_at": "everywhere"}, "ViT-mini: posembed_at='everywhere'. Choose from: stem, layers, shared"),
        ({"posembed": "none", "posembed_at": "layers"}, "adds nothing to the tokens, so posembed_at=layers has no"),
        ({"posembed": "relative", "posembed_at": "shared"}, "leave it out, or use posembed=1d or 2d"),
        ({"posembed": "2d", "width": 127, "heads": 1}, "needs an even width, half for X, half for Y, not 127"),
    ],
)
def test_positions_that_cannot_be(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        create_model(variant(**changes))
