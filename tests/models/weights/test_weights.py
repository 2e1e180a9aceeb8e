"""Weights from files: strictness, heads, position embeddings, and everything that can be wrong with a file."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy import ndimage
from vit_bench.models import Model, catalog, create_model
from vit_bench.models.weights.resize import loses_its_last, resize_grid
from vit_bench.registry import UsageError

SMALL = ["ViT-mini", "BiT-mini", "R+ViT-mini"]


def drawn(name: str | Model = "ViT-mini", num_classes: int | None = 5) -> dict[str, torch.Tensor]:
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
    ("old", "new"),
    [
        ((7, 7), (12, 12)),
        ((14, 14), (7, 7)),
        ((4, 4), (3, 9)),
        ((1, 5), (4, 2)),
        ((6, 6), (1, 1)),
        ((28, 28), (14, 14)),  # SciPy leaves zeros in the last row and column
        ((24, 24), (7, 22)),  # and here in the last column
    ],
)
def test_position_embeddings_are_zoomed_as_scipy_does(old: tuple[int, int], new: tuple[int, int]) -> None:
    grid = torch.randn(1, *old, 6, generator=torch.Generator().manual_seed(0))
    zoom = (new[0] / old[0], new[1] / old[1], 1)
    expected = ndimage.zoom(grid[0].numpy(), zoom, order=1)
    np.testing.assert_allclose(resize_grid(grid, *new)[0].numpy(), expected, atol=1e-6)


def test_the_zoom_loses_its_last_cell_where_scipy_does() -> None:
    for old in range(1, 40):
        for new in range(1, 60):
            last = ndimage.zoom(np.ones(old), new / old, order=1)[-1]
            assert loses_its_last(old, new) == (last == 0), (old, new)


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
    assert "more.2 (2,), … and 8 more" in message
    assert "of another shape (1): embedding.bias is (3,) in the file, (128,) in the model" in message
    assert "of another type (1): class_token is torch.int64 in the file, torch.float32 in the model" in message


def test_the_file_decides_on_the_tanh_layer(tmp_path: Path) -> None:
    row = catalog()["ViT-mini"].derive(pre_logits=128)
    state = drawn(row)
    path = save(state, tmp_path / "w.pt")
    network = create_model("ViT-mini", path)
    assert network.spec == row
    assert dict(network.spec.variant) == {"pre_logits": 128}
    assert torch.equal(network.state_dict()["pre_logits.weight"], state["pre_logits.weight"])
    assert create_model(row, path).spec == row
    assert network.notes == ()


def test_a_tanh_layer_is_dropped_only_when_asked_and_its_head_with_it(tmp_path: Path) -> None:
    path = save(drawn(catalog()["ViT-mini"].derive(pre_logits=128)), tmp_path / "w.pt")
    row = catalog()["ViT-mini"].derive(pre_logits=0)
    note = "left out the file's tanh layer of width 128 and the head of 5 classes that was trained on its output"
    bare = create_model(row, path)
    assert bare.notes == (note,)
    assert bare.head is None
    assert bare.num_features == 128
    headed = create_model(row, path, num_classes=5)
    assert headed.notes == (note, "new zero head of 5 classes (the file has none)")
    assert headed.head.weight.eq(0).all()
    plain = save(drawn(), tmp_path / "v.pt")
    assert create_model(row, plain).head.out_features == 5
    assert create_model(row).pre_logits is None


def test_another_tanh_layer_than_the_one_asked_for(tmp_path: Path) -> None:
    row = catalog()["ViT-mini"].derive(pre_logits=16)
    with pytest.raises(UsageError, match=r"'.*v.pt' has no tanh layer .* ViT-mini is asked for one.*pre_logits=None"):
        create_model(row, save(drawn(num_classes=None), tmp_path / "v.pt"))
    path = save(drawn(catalog()["ViT-mini"].derive(pre_logits=24)), tmp_path / "w.pt")
    with pytest.raises(UsageError, match=r"layer of width 24 .* pre_logits=16: leave it out, or say pre_logits=24"):
        create_model(row, path)
    with pytest.raises(UsageError, match=r"pre_logits=-1 must be above zero"):
        create_model(catalog()["ViT-mini"].derive(pre_logits=-1))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_must_be_finite(value: float, tmp_path: Path) -> None:
    state = drawn()
    state["norm.weight"][3] = value
    with pytest.raises(UsageError, match=r"not finite, in 1 tensors: norm.weight"):
        create_model("ViT-mini", save(state, tmp_path / "w.pt"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.pt", "there is no weights file '.*none.pt'"),
        ("w.h5", "is not a weights file this can read: .npz, .safetensors, .pt, .pth, .bin or .ckpt"),
        ("", r"is a folder; name a weights file in it \(.npz, .* or .ckpt\). There are none"),
    ],
)
def test_files_that_are_none(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        create_model("ViT-mini", tmp_path / name)


def test_a_folder_names_the_weights_files_below_it(tmp_path: Path) -> None:
    (tmp_path / "kept" / "key").mkdir(parents=True)
    save(drawn(), tmp_path / "kept" / "key" / "w.pt")
    with pytest.raises(UsageError, match=r"is a folder; .*There is 1 weights file: kept/key/w\.pt"):
        create_model("ViT-mini", tmp_path)


def test_notes_say_what_was_done(tmp_path: Path) -> None:
    path = save(drawn(), tmp_path / "w.pt")
    assert create_model("ViT-mini").notes == create_model("ViT-mini", path).notes == ()
    network = create_model("ViT-mini", path, num_classes=7, image_size=(96, 32))
    assert network.notes == (
        "new zero head of 7 classes (the file's has 5)",
        "position embeddings resized 4x4 -> 6x2 (spline)",
    )
    bicubic = catalog()["ViT-mini"].derive(posembed="bicubic")
    network = create_model(bicubic, path, image_size=96)
    assert network.notes == ("position embeddings resized 4x4 -> 6x6 (bicubic)",)
    assert network.spec.variant == (("posembed", "bicubic"),)


@pytest.mark.parametrize(("old", "new"), [((4, 4), (7, 7)), ((14, 14), (7, 5)), ((3, 5), (5, 3))])
def test_bicubic_is_timms(old: tuple[int, int], new: tuple[int, int]) -> None:
    layers = pytest.importorskip("timm.layers", reason="timm is not installed; it is only an independent check")
    grid = torch.randn(1, *old, 6, generator=torch.Generator().manual_seed(0))
    theirs = layers.resample_abs_pos_embed(grid.flatten(1, 2), list(new), list(old), num_prefix_tokens=0)
    assert torch.equal(resize_grid(grid, *new, how="bicubic").flatten(1, 2), theirs)


def test_shapes_of_another_row_are_recognised(tmp_path: Path) -> None:
    hybrid = save(drawn("R+ViT-mini"), tmp_path / "w.pt")
    with pytest.raises(UsageError, match=r"hold the weights of ViT-mini: these look like R\+ViT-mini\n"):
        create_model("ViT-mini", hybrid)
    with pytest.raises(UsageError, match=r"BiT-R50x1: these look like BiT-mini\n"):
        create_model("BiT-R50x1", save(drawn("BiT-mini"), tmp_path / "b.pt"))
    deep = save(drawn(catalog()["ViT-mini"].derive(depth=5, pool="gap")), tmp_path / "d.pt")
    with pytest.raises(UsageError, match=r"a variant of ViT-mini: depth=5 \(not 4\), pool=gap \(not token\)\n"):
        create_model("ViT-mini", deep)
    with pytest.raises(UsageError, match=r"these are not a ViT's, a hybrid's or a BiT's by their names\n"):
        create_model("ViT-mini", save({"layer.weight": torch.zeros(3)}, tmp_path / "l.pt"))


def test_a_variant_that_a_file_does_not_fit_is_named(tmp_path: Path) -> None:
    path = save(drawn(), tmp_path / "w.pt")
    with pytest.raises(UsageError, match=r"the weights of ViT-mini \[pool=gap posembed=2d\]:"):
        create_model(catalog()["ViT-mini"].derive(pool="gap", posembed="2d"), path)
