"""timm's state dicts of the same models load by their names, and give timm's outputs but for its known differences."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from vit_bench.models import catalog, create_model
from vit_bench.registry import UsageError

timm = pytest.importorskip("timm", reason="timm is not installed; its networks are only an independent check")

WIDTH = {"embed_dim": 96, "depth": 2, "num_heads": 3}
VIT = catalog()["ViT-mini"].derive(width=96, depth=2, heads=3)
HYBRID = catalog()["R+ViT-mini"].derive(width=96, depth=2, heads=3, widen=1)


def filled(network: nn.Module) -> nn.Module:
    """With numbers that no initialisation gives, and timm's known differences taken out.

    timm has the exact GELU (set by the caller), 1e-5 in the hybrids' GroupNorm, and other epsilons of standardisation,
    which large weights hide.
    """
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator) + (parameter.ndim == 1))
        for module in network.modules():
            if type(module).__name__.startswith("StdConv"):
                module.weight.mul_(1000)  # type: ignore[operator]
    return network.eval()


def agree(ours: Any, theirs: nn.Module, size: tuple[int, int]) -> None:
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        expected = theirs.double()(x)
        difference = (ours.double()(x) - expected).abs().max() / expected.abs().max()
    assert expected.abs().max() > 0.1
    assert difference < 1e-6


def test_the_callers_image_size_says_which_grid_a_square_number_of_patches_forms(tmp_path: Path) -> None:
    from timm.models.vision_transformer import VisionTransformer

    gelu = partial(nn.GELU, approximate="tanh")
    theirs = filled(VisionTransformer(img_size=(64, 256), num_classes=10, act_layer=gelu, **WIDTH))  # 4x16, not 8x8
    torch.save(theirs.state_dict(), tmp_path / "w.pth")
    ours: Any = create_model(VIT, tmp_path / "w.pth", image_size=(64, 256))
    assert ours.notes == ("its 64 position embeddings are taken as 4x16, as the image size says, and not as a square",)
    agree(ours, theirs, (64, 256))
    other: Any = create_model(VIT, tmp_path / "w.pth", image_size=(64, 64))  # which has 16: so they are a square
    assert any("resized 8x8 -> 4x4" in note for note in other.notes)


@pytest.mark.parametrize("pool", ["token", "gap"])
def test_vit(pool: str, tmp_path: Path) -> None:
    from timm.models.vision_transformer import VisionTransformer

    theirs = filled(
        VisionTransformer(
            img_size=(48, 64),
            num_classes=10,
            act_layer=partial(nn.GELU, approximate="tanh"),
            global_pool="token" if pool == "token" else "avg",
            class_token=pool == "token",
            fc_norm=False,
            **WIDTH,
        )
    )
    torch.save({"state_dict": theirs.state_dict()}, tmp_path / "w.pth")
    ours: Any = create_model(VIT.derive(pool=pool), tmp_path / "w.pth", image_size=(48, 64))
    agree(ours, theirs, (48, 64))


def test_a_norm_behind_the_mean_is_refused(tmp_path: Path) -> None:
    from timm.models.vision_transformer import VisionTransformer

    for token in (True, False):
        theirs = VisionTransformer(img_size=64, num_classes=10, global_pool="avg", class_token=token, **WIDTH)
        torch.save(theirs.state_dict(), tmp_path / "w.pth")
        with pytest.raises(UsageError) as caught:
            create_model(VIT.derive(pool="gap"), tmp_path / "w.pth")
        assert "fc_norm.weight (96,)" in str(caught.value)
        assert "timm's `fc_norm` follows the mean of the tokens" in str(caught.value)
        assert ("cls_token (here class_token)" in str(caught.value)) == token


def test_old_tanh_layers(tmp_path: Path) -> None:
    state = dict(create_model(VIT.derive(pre_logits=96), num_classes=3).state_dict())
    old = {name.replace("pre_logits.", "pre_logits.fc."): value for name, value in state.items()}
    positions = (old.pop("position.token"), old.pop("position.grid").flatten(1, 2))
    old |= {"pos_embed": torch.cat(positions, dim=1), "cls_token": old.pop("class_token")}
    torch.save(old, tmp_path / "w.pth")
    network: Any = create_model(VIT, tmp_path / "w.pth")
    assert network.spec.architecture.pre_logits == 96
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize(("units", "patch"), [((1, 2, 1), 1), ((), 4)])
def test_hybrids(units: tuple[int, ...], patch: int, tmp_path: Path) -> None:
    from timm.layers import StdConv2dSame
    from timm.models.resnetv2 import ResNetV2, create_resnetv2_stem
    from timm.models.vision_transformer import VisionTransformer
    from timm.models.vision_transformer_hybrid import HybridEmbed

    convolution = partial(StdConv2dSame, eps=1e-8)
    backbone: nn.Module
    if units:
        backbone = ResNetV2(
            layers=units, num_classes=0, global_pool="", preact=False, stem_type="same", conv_layer=convolution
        ).float()
    else:
        norm = partial(timm.layers.GroupNormAct, num_groups=32)
        backbone = create_resnetv2_stem(3, stem_type="same", preact=False, conv_layer=convolution, norm_layer=norm)
    theirs = VisionTransformer(
        img_size=64,
        num_classes=10,
        patch_size=patch,
        act_layer=partial(nn.GELU, approximate="tanh"),
        embed_layer=partial(HybridEmbed, backbone),
        **WIDTH,
    )
    for module in theirs.modules():
        if isinstance(module, nn.GroupNorm):
            module.eps = 1e-6
    save_file(filled(theirs).state_dict(), tmp_path / "w.safetensors")
    ours: Any = create_model(HYBRID.derive(units=units, patch_size=patch), tmp_path / "w.safetensors")
    agree(ours, theirs, (64, 64))


def test_bit(tmp_path: Path) -> None:
    from timm.layers import StdConv2d
    from timm.models.resnetv2 import ResNetV2

    row = catalog()["BiT-mini"].derive(units=(1, 2, 1), widen=1)
    convolution = partial(StdConv2d, eps=1e-8)
    theirs = filled(ResNetV2(layers=(1, 2, 1), num_classes=7, stem_type="fixed", conv_layer=convolution).float())
    torch.save(theirs.state_dict(), tmp_path / "w.pt")
    ours: Any = create_model(row, tmp_path / "w.pt")
    for size in ((64, 64), (49, 70)):
        agree(ours, theirs, size)


@pytest.mark.parametrize(
    ("timms", "name"),
    [
        ("vit_tiny_patch16_224", "ViT-Ti/16"),
        ("vit_base_patch16_gap_224", "ViT-B/16-gap"),
        ("vit_tiny_r_s16_p8_224", "R+ViT-Ti/16"),
        ("vit_small_r26_s32_224", "R26+ViT-S/32"),
        ("vit_base_r50_s16_224", "R50+ViT-B/16"),
        ("vit_large_r50_s32_224", "R50+ViT-L/32"),
        ("resnetv2_50x3_bit", "BiT-R50x3"),
        ("resnetv2_152x4_bit", "BiT-R152x4"),
    ],
)
def test_every_key_of_timms_models_is_known(timms: str, name: str) -> None:
    """By names and shapes alone: nothing is allocated."""
    from vit_bench.models.build_native import empty_network
    from vit_bench.models.weights.conventions import under_our_names
    from vit_bench.models.weights.load import check_names
    from vit_bench.models.weights.stored import Contents, StoredTensor

    with torch.device("meta"):
        state = timm.create_model(timms, num_classes=9).state_dict()
    tensors = {
        key: StoredTensor(shape=tuple(value.shape), dtype=value.dtype, read=value.detach, names=(key,))
        for key, value in state.items()
    }
    row = catalog()[name]
    weights = under_our_names(Contents(path=Path(timms), tensors=tensors, metadata={}))
    check_names(weights, empty_network(row, 9, row.input.size).state_dict(), row)
    assert weights.convention == "timm"
