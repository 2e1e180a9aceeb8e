"""Files in the official formats give the official outputs: against forward passes in NumPy, by the official keys."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from scipy import ndimage, special
from vit_bench.models import catalog, create_model

pytestmark = pytest.mark.contract

Arrays = dict[str, Any]


def same(size: int, kernel: int, stride: int) -> tuple[int, int]:
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def windows(x: Any, kernel: int, stride: int) -> Any:
    """(B, H, W, C) -> (B, rows, columns, C, kernel, kernel)."""
    return sliding_window_view(x, (kernel, kernel), axis=(1, 2))[:, ::stride, ::stride]


def convolve(x: Any, kernel: Any, stride: int, padding: Any = ((0, 0), (0, 0))) -> Any:
    x = np.pad(x, ((0, 0), *padding, (0, 0)))
    return np.einsum("bijchw,hwco->bijo", windows(x, kernel.shape[0], stride), kernel, optimize=True)


def group_norm(x: Any, scale: Any, bias: Any, eps: float) -> Any:
    b, h, w, c = x.shape
    groups = x.reshape(b, h, w, 32, c // 32)
    mean, var = groups.mean((1, 2, 4), keepdims=True), groups.var((1, 2, 4), keepdims=True)
    return ((groups - mean) / np.sqrt(var + eps)).reshape(x.shape) * scale.reshape(-1) + bias.reshape(-1)


def layer_norm(x: Any, scale: Any, bias: Any) -> Any:
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6) * scale + bias


def gelu(x: Any) -> Any:
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def relu(x: Any) -> Any:
    return np.maximum(x, 0)


def vit_stem(p: Arrays, x: Any) -> Any:
    """The hybrids' ResNet."""

    def conv(x: Any, kernel: Any, stride: int = 1) -> Any:
        standard = (kernel - kernel.mean((0, 1, 2))) / (kernel.std((0, 1, 2)) + 1e-5)
        padding = [same(side, kernel.shape[0], stride) for side in x.shape[1:3]]
        return convolve(x, standard, stride, padding)

    def norm(x: Any, name: str) -> Any:
        return group_norm(x, p[f"{name}/scale"], p[f"{name}/bias"], 1e-6)

    x = relu(norm(conv(x, p["conv_root/kernel"], 2), "gn_root"))
    padding = [same(side, 3, 2) for side in x.shape[1:3]]
    x = windows(np.pad(x, ((0, 0), *padding, (0, 0)), constant_values=-np.inf), 3, 2).max((-1, -2))
    for stage in range(1, 5):
        unit = 1
        while f"block{stage}/unit{unit}/conv1/kernel" in p:
            top = f"block{stage}/unit{unit}"
            stride = 2 if stage > 1 and unit == 1 else 1
            shortcut = x
            if f"{top}/conv_proj/kernel" in p:
                shortcut = norm(conv(x, p[f"{top}/conv_proj/kernel"], stride), f"{top}/gn_proj")
            y = relu(norm(conv(x, p[f"{top}/conv1/kernel"]), f"{top}/gn1"))
            y = relu(norm(conv(y, p[f"{top}/conv2/kernel"], stride), f"{top}/gn2"))
            x = relu(shortcut + norm(conv(y, p[f"{top}/conv3/kernel"]), f"{top}/gn3"))
            unit += 1
    return x


def vit_features(p: Arrays, x: Any) -> Any:
    if "conv_root/kernel" in p:
        x = vit_stem(p, x)
    kernel = p["embedding/kernel"]
    x = convolve(x, kernel, kernel.shape[0]) + p["embedding/bias"]
    grid, token = x.shape[1:3], "cls" in p
    x = x.reshape(len(x), -1, x.shape[-1])
    positions = p["Transformer/posembed_input/pos_embedding"]
    table = positions[0, token:]
    side = round(len(table) ** 0.5)
    if (side, side) != grid:
        zoom = (grid[0] / side, grid[1] / side, 1)
        single = table.astype(np.float32)  # as in the file; what is resized is rounded to the same
        table = ndimage.zoom(single.reshape(side, side, -1), zoom, order=1).reshape(-1, x.shape[-1])
    x = x + table
    if token:
        x = np.concatenate([np.broadcast_to(p["cls"] + positions[:, :1], (len(x), 1, x.shape[-1])), x], axis=1)
    i = 0
    while f"Transformer/encoderblock_{i}/LayerNorm_0/scale" in p:
        q = {key.removeprefix(f"Transformer/encoderblock_{i}/"): value for key, value in p.items()}
        y = layer_norm(x, q["LayerNorm_0/scale"], q["LayerNorm_0/bias"])
        parts = {}
        for name in ("query", "key", "value"):
            kernel, bias = (q[f"MultiHeadDotProductAttention_1/{name}/{part}"] for part in ("kernel", "bias"))
            parts[name] = np.einsum("bnd,dhk->bhnk", y, kernel) + bias[:, None]
        scores = parts["query"] @ parts["key"].swapaxes(-1, -2) / np.sqrt(parts["query"].shape[-1])
        mixed = special.softmax(scores, axis=-1) @ parts["value"]
        out = "MultiHeadDotProductAttention_1/out"
        x = x + np.einsum("bhnk,hkd->bnd", mixed, q[f"{out}/kernel"]) + q[f"{out}/bias"]
        y = layer_norm(x, q["LayerNorm_2/scale"], q["LayerNorm_2/bias"])
        y = gelu(y @ q["MlpBlock_3/Dense_0/kernel"] + q["MlpBlock_3/Dense_0/bias"])
        x = x + y @ q["MlpBlock_3/Dense_1/kernel"] + q["MlpBlock_3/Dense_1/bias"]
        i += 1
    assert i > 0
    x = layer_norm(x, p["Transformer/encoder_norm/scale"], p["Transformer/encoder_norm/bias"])
    x = x[:, 0] if token else x.mean(1)
    if "pre_logits/kernel" in p:
        x = np.tanh(x @ p["pre_logits/kernel"] + p["pre_logits/bias"])
    return x


def bit_features(p: Arrays, x: Any) -> Any:
    def conv(x: Any, name: str, stride: int = 1) -> Any:
        kernel = p[f"{name}/standardized_conv2d/kernel"]
        standard = (kernel - kernel.mean((0, 1, 2))) / np.sqrt(kernel.var((0, 1, 2)) + 1e-10)
        half = kernel.shape[0] // 2
        return convolve(x, standard, stride, ((half, half), (half, half)))

    def norm(x: Any, name: str) -> Any:
        return relu(group_norm(x, p[f"{name}/group_norm/gamma"], p[f"{name}/group_norm/beta"], 1e-5))

    x = conv(x, "resnet/root_block", 2)
    x = windows(np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))), 3, 2).max((-1, -2))
    for stage in range(1, 5):
        unit = 1
        while f"resnet/block{stage}/unit{unit:02d}/a/group_norm/gamma" in p:
            top = f"resnet/block{stage}/unit{unit:02d}"
            stride = 2 if stage > 1 and unit == 1 else 1
            y = norm(x, f"{top}/a")
            if f"{top}/a/proj/standardized_conv2d/kernel" in p:
                x = conv(y, f"{top}/a/proj", stride)
            y = norm(conv(y, f"{top}/a"), f"{top}/b")
            y = norm(conv(y, f"{top}/b", stride), f"{top}/c")
            x = x + conv(y, f"{top}/c")
            unit += 1
    return norm(x, "resnet").mean((1, 2))


def official_outputs(arrays: Arrays, images: Any) -> tuple[Any, Any]:
    p = {key: np.asarray(value, dtype=np.float64) for key, value in arrays.items()}
    if "resnet/group_norm/gamma" in p:
        features = bit_features(p, images)
        return features, features @ p["resnet/head/conv2d/kernel"][0, 0] + p["resnet/head/conv2d/bias"]
    features = vit_features(p, images)
    return features, features @ p["head/kernel"] + p["head/bias"]


VIT: dict[str, Any] = {"width": 96, "depth": 2, "heads": 3, "patch_size": 8}
SMALL_RESNET: dict[str, Any] = {"units": (1, 2, 1), "widen": 0.5}
HYBRID: dict[str, Any] = {"width": 64, "depth": 1, "heads": 2, **SMALL_RESNET}


@pytest.mark.parametrize(
    ("name", "changes", "tokens", "size"),
    [
        ("ViT-mini", VIT, 17, (32, 32)),
        ("ViT-mini", VIT, 17, (40, 24)),  # another grid
        ("ViT-mini", VIT | {"pool": "gap"}, 16, (32, 32)),
        ("ViT-mini", VIT | {"pool": "gap", "mlp_dim": 100}, 9, (32, 48)),
        ("ViT-mini", VIT | {"pre_logits": 40}, 17, (32, 32)),
        ("R+ViT-mini", HYBRID, 5, (32, 32)),
        ("R+ViT-mini", HYBRID, 10, (47, 61)),  # odd: "SAME" pads otherwise
        ("R+ViT-mini", HYBRID | {"units": (), "patch_size": 2}, 17, (32, 48)),
        ("R+ViT-mini", HYBRID | {"units": (1, 1, 3), "pre_logits": 24}, 5, (32, 32)),
        ("BiT-mini", SMALL_RESNET, 0, (32, 32)),
        ("BiT-mini", SMALL_RESNET, 0, (45, 38)),
        ("BiT-mini", SMALL_RESNET | {"units": (1, 1, 1, 1), "widen": 1}, 0, (35, 33)),
    ],
)
def test_outputs(
    name: str, changes: dict[str, Any], tokens: int, size: tuple[int, int], official: ModuleType, tmp_path: Path
) -> None:
    with_layer = catalog()[name].derive(**changes)
    arrays = official.official_arrays(with_layer.architecture, tokens, classes=7)
    path = official.save_npz(tmp_path / "w.npz", arrays)
    # The file says whether there is a tanh layer.
    row = catalog()[name].derive(**{field: value for field, value in changes.items() if field != "pre_logits"})
    network: Any = create_model(row, path, image_size=size)
    assert network.spec.architecture == with_layer.architecture
    images = np.random.default_rng(1).uniform(-1, 1, (2, *size, 3))
    features, logits = official_outputs(arrays, images)
    assert np.abs(logits).max() > 0.1
    x = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    with torch.no_grad():
        for ours, theirs in ((network(x.float()), logits), (network.features(x.float()), features)):
            assert np.linalg.norm(ours.numpy() - theirs) < 1e-5 * np.linalg.norm(theirs)
        network.double()
        for ours, theirs in ((network(x), logits), (network.features(x), features)):
            assert np.linalg.norm(ours.numpy() - theirs) < 1e-9 * np.linalg.norm(theirs)
