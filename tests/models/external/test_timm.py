"""The same numbers as timm's networks, where those are set to the official details."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import nn
from vit_bench.models import catalog, create_model
from vit_bench.models.networks.convolution import StdConv

timm = pytest.importorskip("timm", reason="timm is not installed; its networks are only an independent check")


def perturbed(network: Any) -> Any:
    """The network with numbers that no initialisation gives, so that a swapped or forgotten parameter shows.

    The convolutions' weights are large, so that the epsilons of standardisation, in which timm differs, do not.
    """
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
        for module in network.modules():
            if isinstance(module, StdConv):
                module.weight.mul_(1000)
    return network


def filled(theirs: nn.Module, state: dict[str, torch.Tensor]) -> nn.Module:
    theirs.load_state_dict(state)
    return theirs.eval()


def renamed(state: dict[str, torch.Tensor], names: dict[str, str]) -> dict[str, torch.Tensor]:
    renamed_state = {}
    for key, value in state.items():
        for old, new in names.items():
            key = key.replace(old, new)
        renamed_state[key] = value
    return renamed_state


TRANSFORMER = {
    "embedding.": "patch_embed.proj.",
    "attention.qkv": "attn.qkv",
    "attention.out": "attn.proj",
    "mlp.expand": "mlp.fc1",
    "mlp.contract": "mlp.fc2",
}


def with_positions(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    state = dict(state)
    grid = state.pop("position.grid").flatten(1, 2)
    state["pos_embed"] = torch.cat([state.pop("position.token"), grid], dim=1)
    state["cls_token"] = state.pop("class_token")
    return state


def agree(ours: Any, theirs: nn.Module, size: tuple[int, int]) -> None:
    """In float64, so that only a difference in what is computed shows."""
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        expected = theirs.double()(x)
        difference = (ours.double()(x) - expected).abs().max() / expected.abs().max()
    assert expected.abs().max() > 0.1
    assert difference < 1e-6


def test_vit() -> None:
    ours = perturbed(create_model("ViT-Ti/16", num_classes=10, image_size=64))
    gelu = partial(nn.GELU, approximate="tanh")
    theirs = timm.create_model("vit_tiny_patch16_224", num_classes=10, img_size=64, act_layer=gelu)
    agree(ours, filled(theirs, renamed(with_positions(ours.state_dict()), TRANSFORMER)), (64, 64))


def test_bit() -> None:
    ours = perturbed(create_model("BiT-R50x1", num_classes=10))
    theirs = timm.create_model("resnetv2_50x1_bit", num_classes=10)
    names = {"root.weight": "stem.conv.weight", "projection": "downsample.conv", "head.": "head.fc."}
    state = renamed(ours.state_dict(), names)
    state = {key.replace("stages.", "stages.#", 1): value for key, value in state.items()}
    state = {_with_blocks(key): value for key, value in state.items()}
    state["head.fc.weight"] = state["head.fc.weight"][:, :, None, None]
    for size in ((64, 64), (49, 70)):
        agree(ours, filled(theirs, state), size)


def _with_blocks(key: str) -> str:
    """stages.#1.2.conv1 is stages.1.blocks.2.conv1 there."""
    if "#" not in key:
        return key
    head, stage, unit, *rest = key.split(".")
    return ".".join([head, stage.removeprefix("#"), "blocks", unit, *rest])


def test_hybrid() -> None:
    from timm.layers import StdConv2dSame
    from timm.models.resnetv2 import ResNetV2
    from timm.models.vision_transformer import VisionTransformer
    from timm.models.vision_transformer_hybrid import HybridEmbed

    row = catalog()["R+ViT-mini"].derive(units=(1, 2, 1), widen=1)
    resnet = ResNetV2(
        layers=(1, 2, 1),
        num_classes=0,
        global_pool="",
        preact=False,
        stem_type="same",
        conv_layer=partial(StdConv2dSame, eps=1e-8),
    )
    for size in ((64, 64), (61, 35)):
        ours = perturbed(create_model(row, num_classes=10, image_size=size))
        theirs = VisionTransformer(
            img_size=size,
            num_classes=10,
            patch_size=1,
            embed_dim=128,
            depth=2,
            num_heads=4,
            act_layer=partial(nn.GELU, approximate="tanh"),
            embed_layer=partial(HybridEmbed, resnet.float()),
        )
        for module in theirs.modules():
            if isinstance(module, nn.GroupNorm):
                module.eps = 1e-6  # timm has 1e-5 there
        names = {
            "stem.root.": "patch_embed.backbone.stem.conv.",
            "stem.root_norm.": "patch_embed.backbone.stem.norm.",
            "projection.0.": "downsample.conv.",
            "projection.1.": "downsample.norm.",
            "stem.stages.": "patch_embed.backbone.stages.#",
        }
        state = renamed(with_positions(ours.state_dict()), names | TRANSFORMER)
        state = {_hybrid_blocks(key): value for key, value in state.items()}
        agree(ours, filled(theirs, state), size)


def _hybrid_blocks(key: str) -> str:
    """patch_embed.backbone.stages.#1.2.conv1 is patch_embed.backbone.stages.1.blocks.2.conv1 there."""
    before, mark, after = key.partition("#")
    if not mark:
        return key
    stage, unit, *rest = after.split(".")
    return before + ".".join([stage, "blocks", unit, *rest])
