"""Files that big_vision's training writes: what loads, its numbers by the formulas, conversion, and look-alikes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from vit_bench.models import Model, catalog, create_model
from vit_bench.models.weights.convert import convert
from vit_bench.models.weights.inspect import inspect
from vit_bench.registry import UsageError

WIDTH, HEADS, DEPTH, PATCH, SIDE, CLASSES = 24, 3, 2, 16, 48, 5  # 3x3 patches
Arrays = dict[str, np.ndarray[Any, Any]]
KINDS = ("tok", "gap", "tok sincos2d", "gap sincos2d", "gap tanh")


def row_of(kind: str) -> Model:
    changes: dict[str, Any] = {"pool": "token" if kind.startswith("tok") else "gap"}
    if "sincos2d" in kind:
        changes["posembed"] = "sincos2d"
    return catalog()["ViT-mini"].derive(width=WIDTH, heads=HEADS, depth=DEPTH, **changes)


def arrays_of(kind: str, seed: int = 0) -> Arrays:
    """The parameters of big_vision's `models/vit.py`, by its names, nested with slashes, as float32."""
    d, hidden, random = WIDTH, 4 * WIDTH, np.random.default_rng(seed)
    shapes: dict[str, tuple[int, ...]] = {"embedding/kernel": (PATCH, PATCH, 3, d), "embedding/bias": (d,)}
    if "sincos2d" not in kind:
        shapes["pos_embedding"] = (1, (SIDE // PATCH) ** 2, d)
    if kind.startswith("tok"):
        shapes["cls"] = (1, 1, d)
    for layer in range(DEPTH):
        block = f"Transformer/encoderblock_{layer}"
        attention, mlp = f"{block}/MultiHeadDotProductAttention_0", f"{block}/MlpBlock_0"
        for norm in ("LayerNorm_0", "LayerNorm_1"):
            shapes |= {f"{block}/{norm}/scale": (d,), f"{block}/{norm}/bias": (d,)}
        for part in ("query", "key", "value"):
            shapes |= {
                f"{attention}/{part}/kernel": (d, HEADS, d // HEADS),
                f"{attention}/{part}/bias": (HEADS, d // HEADS),
            }
        shapes |= {f"{attention}/out/kernel": (HEADS, d // HEADS, d), f"{attention}/out/bias": (d,)}
        shapes |= {f"{mlp}/Dense_0/kernel": (d, hidden), f"{mlp}/Dense_0/bias": (hidden,)}
        shapes |= {f"{mlp}/Dense_1/kernel": (hidden, d), f"{mlp}/Dense_1/bias": (d,)}
    shapes |= {"Transformer/encoder_norm/scale": (d,), "Transformer/encoder_norm/bias": (d,)}
    features = 16 if "tanh" in kind else d
    if "tanh" in kind:
        shapes |= {"pre_logits/kernel": (d, features), "pre_logits/bias": (features,)}
    shapes |= {"head/kernel": (features, CLASSES), "head/bias": (CLASSES,)}
    return {name: (random.standard_normal(shape) * 0.2).astype(np.float32) for name, shape in sorted(shapes.items())}


def saved(arrays: Arrays) -> Arrays:
    """What the training writes: the parameters, the optimiser's state and the clock's, nested in one file."""
    state = {f"opt/1/mu/{name}": np.zeros_like(value) for name, value in arrays.items()}
    return {
        **{f"params/{name}": value for name, value in arrays.items()},
        **state,
        "opt/0/count": np.array(7),
        "extra/accum_train_time": np.array(1.5),
    }


def write(path: Path, arrays: Mapping[str, Any]) -> Path:
    np.savez(path, **arrays)
    return path


def norm(x: np.ndarray, scale: np.ndarray, bias: np.ndarray) -> np.ndarray:
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6) * scale + bias


def gelu(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def sincos2d(rows: int, columns: int) -> np.ndarray:
    vectors = []
    for y in range(rows):
        for x in range(columns):
            frequencies = [1 / 10_000 ** (k / (WIDTH // 4 - 1)) for k in range(WIDTH // 4)]
            parts = [
                f(side * w) for side, f in ((x, np.sin), (x, np.cos), (y, np.sin), (y, np.cos)) for w in frequencies
            ]
            vectors.append(parts)
    return np.array(vectors)


def forward(arrays: Arrays, kind: str, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Features and logits of (B, H, W, 3) images in float64, written from the paper's equations."""
    p = {name: value.astype(np.float64) for name, value in arrays.items()}
    batch, rows, columns = len(images), images.shape[1] // PATCH, images.shape[2] // PATCH
    cut = (
        images.reshape(batch, rows, PATCH, columns, PATCH, 3)
        .transpose(0, 1, 3, 2, 4, 5)
        .reshape(batch, rows * columns, -1)
    )
    x = cut @ p["embedding/kernel"].reshape(-1, WIDTH) + p["embedding/bias"]
    x = x + (sincos2d(rows, columns) if "sincos2d" in kind else p["pos_embedding"])
    if kind.startswith("tok"):
        x = np.concatenate([np.repeat(p["cls"], batch, axis=0), x], axis=1)
    for layer in range(DEPTH):
        q = {n.split(f"encoderblock_{layer}/")[1]: v for n, v in p.items() if f"encoderblock_{layer}/" in n}
        y, a = norm(x, q["LayerNorm_0/scale"], q["LayerNorm_0/bias"]), "MultiHeadDotProductAttention_0"
        query, key, value = (
            np.einsum("bnd,dhk->bhnk", y, q[f"{a}/{part}/kernel"]) + q[f"{a}/{part}/bias"][:, None]
            for part in ("query", "key", "value")
        )
        weights = np.exp(query @ key.swapaxes(-1, -2) / np.sqrt(WIDTH // HEADS))
        mixed = weights / weights.sum(-1, keepdims=True) @ value
        x = x + np.einsum("bhnk,hkd->bnd", mixed, q[f"{a}/out/kernel"]) + q[f"{a}/out/bias"]
        y = norm(x, q["LayerNorm_1/scale"], q["LayerNorm_1/bias"])
        y = gelu(y @ q["MlpBlock_0/Dense_0/kernel"] + q["MlpBlock_0/Dense_0/bias"])
        x = x + y @ q["MlpBlock_0/Dense_1/kernel"] + q["MlpBlock_0/Dense_1/bias"]
    x = norm(x, p["Transformer/encoder_norm/scale"], p["Transformer/encoder_norm/bias"])
    x = x[:, 0] if kind.startswith("tok") else x.mean(axis=1)  # the mean follows the norm
    if "tanh" in kind:
        x = np.tanh(x @ p["pre_logits/kernel"] + p["pre_logits/bias"])
    return x, x @ p["head/kernel"] + p["head/bias"]


@pytest.mark.parametrize("bare", [False, True], ids=["checkpoint", "bare"])
@pytest.mark.parametrize("kind", KINDS)
def test_features_and_logits_are_those_of_the_formulas(kind: str, bare: bool, tmp_path: Path) -> None:
    arrays = arrays_of(kind)
    file = write(tmp_path / "checkpoint.npz", arrays if bare else saved(arrays))
    network: Any = create_model(row_of(kind), file, image_size=SIDE)
    network.double()
    images = np.random.default_rng(1).uniform(-1, 1, (2, SIDE, SIDE, 3))
    features, logits = forward(arrays, kind, images)
    theirs = torch.from_numpy(images).permute(0, 3, 1, 2)
    with torch.no_grad():
        np.testing.assert_allclose(network.features(theirs), features, atol=2e-6)  # sincos2d is kept as float32
        np.testing.assert_allclose(network(theirs), logits, atol=2e-6)
    state = "left out" in " ".join(network.notes)
    assert state != bare


def test_sines_and_cosines_are_made_for_the_images_size() -> None:
    network: Any = create_model(row_of("gap sincos2d"), image_size=(32, 64))
    np.testing.assert_allclose(network.position_embeddings.reshape(8, WIDTH), sincos2d(2, 4), atol=1e-7)
    assert not any(name.startswith("position") for name in network.state_dict())


@pytest.mark.parametrize("kind", KINDS)
def test_conversion_gives_the_same_bytes_back(kind: str, tmp_path: Path) -> None:
    arrays = arrays_of(kind)
    if "cls" in arrays:
        arrays["cls"][0, 0, 0] = -0.0  # whose sign a sum with zero would lose
    first = write(tmp_path / "a.npz", {f"params/{name}": value for name, value in arrays.items()})
    assert convert(first, tmp_path / "b.safetensors") == ()
    assert convert(tmp_path / "b.safetensors", tmp_path / "c.npz") == ()
    assert (tmp_path / "c.npz").read_bytes() == first.read_bytes()
    one, other = (
        create_model(row_of(kind), tmp_path / name, image_size=SIDE).state_dict() for name in ("a.npz", "b.safetensors")
    )
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_class_tokens_position_that_was_trained_goes_into_the_token(tmp_path: Path) -> None:
    from safetensors import safe_open
    from safetensors.torch import save_file

    convert(write(tmp_path / "a.npz", arrays_of("tok")), tmp_path / "b.safetensors")
    with safe_open(tmp_path / "b.safetensors", framework="pt") as file:
        metadata, state = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    state["position.token"] = torch.linspace(-1, 1, WIDTH).reshape(1, 1, WIDTH)
    save_file(state, tmp_path / "trained.safetensors", metadata=metadata)
    convert(tmp_path / "trained.safetensors", tmp_path / "trained.npz")
    images = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    files = [tmp_path / "trained.safetensors", tmp_path / "trained.npz"]
    one, other = (create_model(row_of("tok"), file, image_size=SIDE)(images) for file in files)
    assert torch.equal(one, other)
    assert not torch.equal(one, create_model(row_of("tok"), tmp_path / "a.npz", image_size=SIDE)(images))


def test_inspecting_names_the_row_and_the_setting_that_is_missing(official: ModuleType, tmp_path: Path) -> None:
    mini = catalog()["ViT-mini"]
    arrays = official.newer_names(official.official_arrays(mini.architecture, 17, classes=5))
    positions = arrays.pop("Transformer/posembed_input/pos_embedding")
    report = inspect(write(tmp_path / "learned.npz", {**arrays, "pos_embedding": positions[:, 1:]}))
    assert (report.convention, report.candidates, report.problems) == ("big_vision", ("ViT-mini",), ())
    assert (report.grid, report.image_size, report.classes) == ((4, 4), (64, 64), 5)
    report = inspect(write(tmp_path / "fixed.npz", arrays))
    assert report.convention == "big_vision"
    assert "sincos2d: type model.posembed=sincos2d" in report.problems[0]


def test_a_file_without_positions_is_loaded_only_as_asked(tmp_path: Path) -> None:
    file = write(tmp_path / "a.npz", saved(arrays_of("gap sincos2d")))
    learned = row_of("gap")
    with pytest.raises(UsageError, match=r"type model.posembed=sincos2d\n  not in the file \(1\): .*pos_embedding"):
        create_model(learned, file, image_size=SIDE)
    with pytest.raises(UsageError, match=r"only in the file \(1\): params/pos_embedding"):
        create_model(row_of("gap sincos2d"), write(tmp_path / "b.npz", saved(arrays_of("gap"))), image_size=SIDE)


def test_a_pooling_that_the_file_has_not_is_refused(tmp_path: Path) -> None:
    token, gap = (write(tmp_path / f"{kind}.npz", saved(arrays_of(kind))) for kind in ("tok", "gap"))
    with pytest.raises(UsageError, match=r"these look like a variant of .*pool=token|pool=gap"):
        create_model(row_of("gap"), token, image_size=SIDE)
    with pytest.raises(UsageError, match=r"not in the file .*params/cls"):
        create_model(row_of("tok"), gap, image_size=SIDE)


def map_head(arrays: Arrays, start: str = "MAPHead_0/") -> Arrays:
    block = "Transformer/encoderblock_0/"
    parts = {name.replace(block, start): value for name, value in arrays.items() if name.startswith(block)}
    kept = {name: value for name, value in parts.items() if "LayerNorm_1" not in name}
    return arrays | kept | {f"{start}probe": np.zeros((1, 1, WIDTH), np.float32)}


REFUSED = {
    "map head": (lambda arrays: map_head(arrays), "it pools by attention (big_vision's map head, MAPHead)"),
    "map head, inlined": (
        lambda arrays: map_head(arrays, ""),
        "it pools by attention (big_vision's map head, MAPHead)",
    ),
    "two towers": (
        lambda arrays: {f"img/{name}": value for name, value in arrays.items()},
        "it holds an image and a text",
    ),
    "stacked": (
        lambda arrays: {
            name.replace("encoderblock_0", "encoderblock"): np.stack([value, value])
            for name, value in arrays.items()
            if "encoderblock_1" not in name
        },
        "its layers are stacked in one array each",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_no_network_here_has_is_named_and_refused(kind: str, tmp_path: Path) -> None:
    change, message = REFUSED[kind]
    file = write(tmp_path / "a.npz", saved(change(arrays_of("gap"))))
    with pytest.raises(UsageError) as loading:
        create_model(row_of("gap"), file, image_size=SIDE)
    assert message in str(loading.value)
    with pytest.raises(UsageError):
        convert(file, tmp_path / "b.safetensors")
    assert not (tmp_path / "b.safetensors").exists()


def test_positions_of_a_class_token_at_the_top_level_are_no_files_of_big_visions(tmp_path: Path) -> None:
    arrays = arrays_of("tok")
    arrays["pos_embedding"] = np.zeros((1, 10, WIDTH), np.float32)
    with pytest.raises(UsageError, match="the file's 10 position embeddings are of 10 patches, no square"):
        create_model(row_of("tok"), write(tmp_path / "a.npz", arrays), image_size=SIDE)


def test_files_of_the_release_stay_official(official: ModuleType, tmp_path: Path) -> None:
    mini = catalog()["ViT-mini"]
    arrays = official.official_arrays(mini.architecture, 17, classes=5)
    for name, names in (("published", arrays), ("newer", official.newer_names(arrays))):
        report = inspect(write(tmp_path / f"{name}.npz", names))
        assert (report.convention, report.problems) == ("official", ())


def test_settings_that_sincos2d_cannot_have() -> None:
    for changes, message in (
        ({"width": 90, "heads": 3}, "posembed=sincos2d needs a width that is a multiple of 4, not 90"),
        ({"posembed_at": "layers"}, "posembed=sincos2d is added once, at the stem"),
    ):
        with pytest.raises(UsageError, match=message):
            create_model(catalog()["ViT-mini"].derive(posembed="sincos2d", **changes))
