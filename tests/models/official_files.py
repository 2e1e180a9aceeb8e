"""What official files look like: their keys and shapes, and files of them with random numbers.

Written from the facts about the releases, apart from the tables that read them. Compared once, by hand, with the keys
and shapes of every released file of these models.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from vit_bench.models import BiT, Hybrid, ViT

Shapes = dict[str, tuple[int, ...]]


def official_shapes(architecture: Any, tokens: int = 0, classes: int | None = 1000) -> Shapes:
    """Keys and shapes of a file as published. `tokens`: position embeddings, the class token's among them."""
    if isinstance(architecture, BiT):
        return bit_shapes(architecture, classes)
    return vit_shapes(architecture, tokens, classes)


def vit_shapes(vit: ViT, tokens: int, classes: int | None) -> Shapes:
    d, heads, hidden = vit.width, vit.heads, vit.mlp_dim or 4 * vit.width
    shapes: Shapes = {}
    for i in range(vit.depth):
        block = f"Transformer/encoderblock_{i}"
        attention, mlp = f"{block}/MultiHeadDotProductAttention_1", f"{block}/MlpBlock_3"
        for norm in ("LayerNorm_0", "LayerNorm_2"):
            shapes |= {f"{block}/{norm}/bias": (d,), f"{block}/{norm}/scale": (d,)}
        for name in ("key", "query", "value"):
            shapes[f"{attention}/{name}/bias"] = (heads, d // heads)
            shapes[f"{attention}/{name}/kernel"] = (d, heads, d // heads)
        shapes |= {f"{attention}/out/bias": (d,), f"{attention}/out/kernel": (heads, d // heads, d)}
        shapes |= {f"{mlp}/Dense_0/bias": (hidden,), f"{mlp}/Dense_0/kernel": (d, hidden)}
        shapes |= {f"{mlp}/Dense_1/bias": (d,), f"{mlp}/Dense_1/kernel": (hidden, d)}
    shapes |= {"Transformer/encoder_norm/bias": (d,), "Transformer/encoder_norm/scale": (d,)}
    shapes["Transformer/posembed_input/pos_embedding"] = (1, tokens, d)
    channels = 3
    if vit.pool == "token":
        shapes["cls"] = (1, 1, d)
    if isinstance(vit, Hybrid):
        root = channels = int(64 * vit.widen)
        shapes |= {"conv_root/kernel": (7, 7, 3, root), "gn_root/bias": (root,), "gn_root/scale": (root,)}
        for stage, units in enumerate(vit.units):
            inner, outer = root * 2**stage, 4 * root * 2**stage
            for unit in range(units):
                top = f"block{stage + 1}/unit{unit + 1}"
                shapes[f"{top}/conv1/kernel"] = (1, 1, channels, inner)
                shapes[f"{top}/conv2/kernel"] = (3, 3, inner, inner)
                shapes[f"{top}/conv3/kernel"] = (1, 1, inner, outer)
                norms = {"gn1": inner, "gn2": inner, "gn3": outer}
                if unit == 0:
                    shapes[f"{top}/conv_proj/kernel"] = (1, 1, channels, outer)
                    norms["gn_proj"] = outer
                for norm, size in norms.items():
                    shapes |= {f"{top}/{norm}/bias": (size,), f"{top}/{norm}/scale": (size,)}
                channels = outer
    shapes |= {"embedding/bias": (d,), "embedding/kernel": (vit.patch_size, vit.patch_size, channels, d)}
    features = d
    if vit.pre_logits:
        features = vit.pre_logits
        shapes |= {"pre_logits/bias": (features,), "pre_logits/kernel": (d, features)}
    if classes is not None:
        shapes |= {"head/bias": (classes,), "head/kernel": (features, classes)}
    return shapes


def bit_shapes(bit: BiT, classes: int | None) -> Shapes:
    root = channels = int(64 * bit.widen)
    conv = "standardized_conv2d/kernel"
    shapes: Shapes = {f"resnet/root_block/{conv}": (7, 7, 3, root)}
    for stage, units in enumerate(bit.units):
        inner, outer = root * 2**stage, 4 * root * 2**stage
        for unit in range(units):
            top = f"resnet/block{stage + 1}/unit{unit + 1:02d}"
            shapes[f"{top}/a/{conv}"] = (1, 1, channels, inner)
            shapes[f"{top}/b/{conv}"] = (3, 3, inner, inner)
            shapes[f"{top}/c/{conv}"] = (1, 1, inner, outer)
            for letter, size in (("a", channels), ("b", inner), ("c", inner)):
                norm = f"{top}/{letter}/group_norm"
                shapes |= {f"{norm}/beta": (size,), f"{norm}/gamma": (size,)}
            if unit == 0:
                shapes[f"{top}/a/proj/{conv}"] = (1, 1, channels, outer)
            channels = outer
    shapes |= {"resnet/group_norm/beta": (channels,), "resnet/group_norm/gamma": (channels,)}
    if classes is not None:
        shapes |= {"resnet/head/conv2d/bias": (classes,), "resnet/head/conv2d/kernel": (1, 1, channels, classes)}
    return shapes


def official_arrays(
    architecture: Any, tokens: int = 0, classes: int | None = 10, seed: int = 0
) -> dict[str, np.ndarray[Any, Any]]:
    """Random float32 numbers of a published file's keys and shapes, of sizes that keep a network's numbers near 1."""
    random = np.random.default_rng(seed)
    arrays = {}
    for name, shape in official_shapes(architecture, tokens, classes).items():
        array = random.standard_normal(shape)
        if name.endswith(("/scale", "/gamma")):
            array = 1 + 0.2 * array
        elif name.endswith("kernel"):
            fan_in = shape[0] if name.endswith(("query/kernel", "key/kernel", "value/kernel")) else np.prod(shape[:-1])
            array /= np.sqrt(fan_in)
        else:
            array *= 0.2
        arrays[name] = array.astype(np.float32)
    return arrays


def newer_names(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """The same under the names that newer code of the ViT release gives an encoder block's parts."""
    new = {"LayerNorm_2": "LayerNorm_1", "MultiHeadDotProductAttention_1": "MultiHeadDotProductAttention_0"}
    new["MlpBlock_3"] = "MlpBlock_0"
    renamed = {}
    for name, array in arrays.items():
        for old, other in new.items():
            name = name.replace(f"/{old}/", f"/{other}/")
        renamed[name] = array
    return renamed


def wide_norms(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """The same with the hybrids' GroupNorm arrays as published files have them: (1, 1, 1, C)."""
    group = ("/gn1/", "/gn2/", "/gn3/", "/gn_proj/", "gn_root/")
    return {
        name: array.reshape(1, 1, 1, -1) if any(part in name for part in group) else array
        for name, array in arrays.items()
    }


def save_npz(path: Path, arrays: Mapping[str, Any]) -> Path:
    np.savez(path, **arrays)
    return path


def derived(architecture: Any, **changes: Any) -> Any:
    return replace(architecture, **changes)
