"""Weights from files: strictness, heads, position embeddings, and everything that can be wrong with a file."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy import ndimage
from vit_bench.models import catalog, create_model
from vit_bench.models.weights import resize_grid
from vit_bench.registry import UsageError

SMALL = ["ViT-mini", "BiT-mini", "R+ViT-mini"]


def drawn(name: str = "ViT-mini", num_classes: int | None = 5) -> dict[str, torch.Tensor]:
    """Weights that no initialisation gives, head included."""
    state = create_model(name, num_classes=num_classes).state_dict()
    generator = torch.Generator().manual_seed(9)
    return {key: value + 0.1 * torch.randn(value.shape, generator=generator) for key, value in state.items()}


def save(state: object, path: Path) -> Path:
    if path.suffix == ".safetensors":
        save_file(state, path)  # type: ignore[arg-type]
    else:
        torch.save(state, path)
    return path


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth"])
def test_a_saved_model_comes_back(name: str, suffix: str, tmp_path: Path) -> None:
    state = drawn(name)
    path = save(state, tmp_path / f"w{suffix}")
    network = create_model(name, weights=str(path))
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())
    x = torch.zeros(1, 3, 64, 64)
    assert network(x).shape == (1, 5)
    path.unlink()
    assert network(x).isfinite().all()
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_heads(tmp_path: Path) -> None:
    headed, headless = save(drawn(), tmp_path / "a.pt"), save(drawn(num_classes=None), tmp_path / "b.pt")
    assert create_model("ViT-mini", headed).head.out_features == 5
    assert not create_model("ViT-mini", headed, num_classes=5).head.weight.eq(0).all()
    new = create_model("ViT-mini", headed, num_classes=7)
    assert new.head.weight.shape == (7, 128)
    assert new.head.weight.eq(0).all()
    assert new.head.bias.eq(0).all()
    assert create_model("ViT-mini", headless).head is None
    assert create_model("ViT-mini", headless, num_classes=3).head.weight.eq(0).all()


@pytest.mark.parametrize(
    ("old", "new"), [((7, 7), (12, 12)), ((14, 14), (7, 7)), ((4, 4), (3, 9)), ((1, 5), (4, 2)), ((6, 6), (1, 1))]
)
def test_position_embeddings_are_zoomed_as_scipy_does(old: tuple[int, int], new: tuple[int, int]) -> None:
    grid = torch.randn(1, *old, 6, generator=torch.Generator().manual_seed(0))
    zoom = (new[0] / old[0], new[1] / old[1], 1)
    expected = ndimage.zoom(grid[0].numpy(), zoom, order=1)
    np.testing.assert_allclose(resize_grid(grid, *new)[0].numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("name", ["ViT-mini", "R+ViT-mini"])
def test_a_file_at_another_resolution(name: str, tmp_path: Path) -> None:
    state = drawn(name)
    network = create_model(name, save(state, tmp_path / "w.pt"), image_size=(96, 32))
    ours = network.state_dict()
    assert ours["position.grid"].shape == (1, 6, 2, 128)
    assert torch.equal(ours["position.grid"][0, 0, 0], state["position.grid"][0, 0, 0])  # corners are aligned
    assert torch.equal(ours["position.grid"][0, 5, 1], state["position.grid"][0, 3, 3])
    assert all(torch.equal(ours[key], state[key]) for key in ours if key != "position.grid")
    assert network(torch.zeros(1, 3, 96, 32)).shape == (1, 5)


def test_as_many_tokens_in_another_shape_are_resized_too(tmp_path: Path) -> None:
    path = save(drawn(), tmp_path / "w.pt")
    resized = create_model("ViT-mini", path, image_size=(32, 128)).state_dict()["position.grid"]
    assert resized.shape == (1, 2, 8, 128)


def test_half_precision_files_are_read_as_float32(tmp_path: Path) -> None:
    state = {key: value.bfloat16() for key, value in drawn().items()}
    network = create_model("ViT-mini", save(state, tmp_path / "w.safetensors"))
    assert {value.dtype for value in network.state_dict().values()} == {torch.float32}


def test_a_mismatch_names_both_sides(tmp_path: Path) -> None:
    state = drawn()
    del state["norm.bias"]
    state |= {f"more.{i}": torch.zeros(i) for i in range(11)}
    state["embedding.bias"] = torch.zeros(3)
    state["class_token"] = torch.zeros(1, 1, 128, dtype=torch.int64)
    with pytest.raises(UsageError) as caught:
        create_model("ViT-mini", save(state, tmp_path / "w.pt"))
    message = str(caught.value)
    assert "w.pt' does not hold the weights of ViT-mini:" in message
    assert "not in the file (1): norm.bias" in message
    assert "only in the file (11): more.0 (0,), more.1 (1,)" in message
    assert "more.7 (7,), … and 3 more" in message
    assert "of another shape (1): embedding.bias is (3,) in the file, (128,) in the model" in message
    assert "of another type (1): class_token is torch.int64 in the file, torch.float32 in the model" in message


def test_a_mismatch_of_the_tanh_layer_says_so(tmp_path: Path) -> None:
    row = catalog()["ViT-mini"].derive(pre_logits=16)
    path = save(create_model(row).state_dict(), tmp_path / "w.pt")
    with pytest.raises(UsageError, match=r"derive the model with pre_logits=16"):
        create_model("ViT-mini", path)
    with pytest.raises(UsageError, match=r"build the model with pre_logits=None"):
        create_model(row, save(drawn(num_classes=None), tmp_path / "v.pt"))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_must_be_finite(value: float, tmp_path: Path) -> None:
    state = drawn()
    state["norm.weight"][3] = value
    with pytest.raises(UsageError, match=r"not finite, in 1 tensors: norm.weight"):
        create_model("ViT-mini", save(state, tmp_path / "w.pt"))


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_damaged_files(suffix: str, tmp_path: Path) -> None:
    path = save(drawn(), tmp_path / f"w{suffix}")
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"not weights at all", whole[:9]):
        path.write_bytes(content)
        with pytest.raises(UsageError, match=f"w{suffix}' cannot be read as {suffix}; it may be cut short"):
            create_model("ViT-mini", path)


def test_files_that_hold_something_else(tmp_path: Path) -> None:
    state = drawn()
    with pytest.raises(
        UsageError, match=r"not a state dict, names to tensors: it also holds 'model' \(dict\), 'epoch'"
    ):
        create_model("ViT-mini", save({"model": state, "epoch": 3}, tmp_path / "a.pt"))
    with pytest.raises(UsageError, match=r"holds a list, not a state dict: save model.state_dict"):
        create_model("ViT-mini", save([1], tmp_path / "b.pt"))
    with pytest.raises(UsageError, match=r"c.pt' holds no tensors"):
        create_model("ViT-mini", save({}, tmp_path / "c.pt"))
    torch.save(create_model("ViT-mini"), tmp_path / "d.pt")  # a pickled module would run code
    with pytest.raises(UsageError, match=r"d.pt' cannot be read"):
        create_model("ViT-mini", tmp_path / "d.pt")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.pt", "there is no weights file '.*none.pt'"),
        ("w.bin", "is not a weights file this can read: .safetensors, .pt or .pth"),
        ("w.npz", "released .npz files are not readable yet. Save the weights under this project's names"),
        ("", "is a folder; name a .safetensors, .pt or .pth file in it"),
    ],
)
def test_files_that_are_none(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        create_model("ViT-mini", tmp_path / name)
