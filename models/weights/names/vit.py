"""The names of ViT's and the hybrids' weights (official, big_vision's, libraries'), and the fields that shapes show.

timm's `fc_norm` has no counterpart: it follows the mean of the tokens, while the release's final norm precedes it.
transformers' names are those of its ViTModel and ViTForImageClassification, torchvision's those of its vit_b_16.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cache
from typing import Any

from ...catalog.hybrid import Hybrid
from ...catalog.vit import ViT
from ..layout import (
    NO_RULES,
    FamilyWeights,
    Kernel,
    NameRule,
    NameTable,
    PatchPositions,
    PositionEmbeddings,
    Projection,
    Shape,
    Stacked,
    count,
    flax_layer,
    flax_norm,
    renamed_layers,
    resnet_units,
    rule,
)

KERNEL = Kernel()
LINEAR, QUERIES, QUERIES_BIAS, HEADS_OUT = map(Projection, ("io", "ihd", "hd", "hdo"))


def _encoder_block(norm1: str, attention: str, norm2: str, mlp: str) -> tuple[NameRule, ...]:
    """An encoder layer of the ViT release, whose submodules have other numbers in files of newer code."""
    ours, theirs = "blocks.{block}", "Transformer/encoderblock_{block}"
    heads = tuple(f"{theirs}/{attention}/{part}" for part in ("query", "key", "value"))
    return (
        *flax_norm(f"{ours}.norm1", f"{theirs}/{norm1}"),
        NameRule(ours=(f"{ours}.attention.qkv.weight",), theirs=tuple(f"{h}/kernel" for h in heads), layout=QUERIES),
        NameRule(ours=(f"{ours}.attention.qkv.bias",), theirs=tuple(f"{h}/bias" for h in heads), layout=QUERIES_BIAS),
        *flax_layer(f"{ours}.attention.out", f"{theirs}/{attention}/out", HEADS_OUT),
        *flax_norm(f"{ours}.norm2", f"{theirs}/{norm2}"),
        *flax_layer(f"{ours}.mlp.expand", f"{theirs}/{mlp}/Dense_0", LINEAR),
        *flax_layer(f"{ours}.mlp.contract", f"{theirs}/{mlp}/Dense_1", LINEAR),
    )


PUBLISHED = _encoder_block("LayerNorm_0", "MultiHeadDotProductAttention_1", "LayerNorm_2", "MlpBlock_3")
NEWER = _encoder_block("LayerNorm_0", "MultiHeadDotProductAttention_0", "LayerNorm_1", "MlpBlock_0")

STEM, STEM_OFFICIAL = "stem.stages.{stage}.{unit}", "block{stage+1}/unit{unit+1}"
HYBRID = (
    rule("stem.root.weight", "conv_root/kernel", KERNEL),
    *flax_norm("stem.root_norm", "gn_root"),
    *(rule(f"{STEM}.conv{i}.weight", f"{STEM_OFFICIAL}/conv{i}/kernel", KERNEL) for i in (1, 2, 3)),
    *(norm for i in (1, 2, 3) for norm in flax_norm(f"{STEM}.norm{i}", f"{STEM_OFFICIAL}/gn{i}")),
    rule(f"{STEM}.projection.0.weight", f"{STEM_OFFICIAL}/conv_proj/kernel", KERNEL),
    *flax_norm(f"{STEM}.projection.1", f"{STEM_OFFICIAL}/gn_proj"),
)

TOKEN = rule("class_token", "cls")
VIT = (
    *flax_layer("embedding", "embedding", KERNEL),
    *HYBRID,
    *flax_norm("norm", "Transformer/encoder_norm"),
    *flax_layer("pre_logits", "pre_logits", LINEAR),
    *flax_layer("head", "head", LINEAR),
)

BACKBONE = "patch_embed.backbone.stages.{stage}.blocks.{unit}"
TIMM_VIT = (
    rule("class_token", "cls_token"),
    *renamed_layers(
        ("embedding", "patch_embed.proj"),
        ("blocks.{block}.norm1", "blocks.{block}.norm1"),
        ("blocks.{block}.attention.qkv", "blocks.{block}.attn.qkv"),
        ("blocks.{block}.attention.out", "blocks.{block}.attn.proj"),
        ("blocks.{block}.norm2", "blocks.{block}.norm2"),
        ("blocks.{block}.mlp.expand", "blocks.{block}.mlp.fc1"),
        ("blocks.{block}.mlp.contract", "blocks.{block}.mlp.fc2"),
        ("norm", "norm"),
        ("pre_logits", "pre_logits.fc"),  # until timm 0.5
        ("head", "head"),
    ),
    *(
        name_rule
        for stem in ("patch_embed.backbone.stem", "patch_embed.backbone")  # the second where there are no stages
        for name_rule in (
            rule("stem.root.weight", f"{stem}.conv.weight"),
            *renamed_layers(("stem.root_norm", f"{stem}.norm")),
        )
    ),
    *(rule(f"{STEM}.conv{i}.weight", f"{BACKBONE}.conv{i}.weight") for i in (1, 2, 3)),
    *renamed_layers(*((f"{STEM}.norm{i}", f"{BACKBONE}.norm{i}") for i in (1, 2, 3))),
    rule(f"{STEM}.projection.0.weight", f"{BACKBONE}.downsample.conv.weight"),
    *renamed_layers((f"{STEM}.projection.1", f"{BACKBONE}.downsample.norm")),
)


def _transformers(model: str) -> tuple[NameRule, ...]:
    """The names of transformers' ViTModel, which is `model` of its ViTForImageClassification."""
    ours, theirs = "blocks.{block}", f"{model}encoder.layer.{{block}}"
    stacked = (
        NameRule(
            ours=(f"{ours}.attention.qkv.{kind}",),
            theirs=tuple(f"{theirs}.attention.attention.{part}.{kind}" for part in ("query", "key", "value")),
            layout=Stacked(),
        )
        for kind in ("weight", "bias")
    )
    return (
        rule("class_token", f"{model}embeddings.cls_token"),
        *stacked,
        *renamed_layers(
            ("embedding", f"{model}embeddings.patch_embeddings.projection"),
            (f"{ours}.norm1", f"{theirs}.layernorm_before"),
            (f"{ours}.attention.out", f"{theirs}.attention.output.dense"),
            (f"{ours}.norm2", f"{theirs}.layernorm_after"),
            (f"{ours}.mlp.expand", f"{theirs}.intermediate.dense"),
            (f"{ours}.mlp.contract", f"{theirs}.output.dense"),
            ("norm", f"{model}layernorm"),
            ("pre_logits", f"{model}pooler.dense"),
        ),
    )


TRANSFORMERS_VIT = (*_transformers("vit."), *_transformers(""), *renamed_layers(("head", "classifier")))

LAYER = "encoder.layers.encoder_layer_{block}"
TORCHVISION_VIT = (
    *renamed_layers(
        ("embedding", "conv_proj"),
        ("blocks.{block}.norm1", f"{LAYER}.ln_1"),
        ("blocks.{block}.attention.out", f"{LAYER}.self_attention.out_proj"),
        ("blocks.{block}.norm2", f"{LAYER}.ln_2"),
        ("blocks.{block}.mlp.expand", f"{LAYER}.mlp.0"),
        ("blocks.{block}.mlp.contract", f"{LAYER}.mlp.3"),
        ("blocks.{block}.mlp.expand", f"{LAYER}.mlp.linear_1"),  # until torchvision 0.12
        ("blocks.{block}.mlp.contract", f"{LAYER}.mlp.linear_2"),
        ("norm", "encoder.ln"),
        ("pre_logits", "heads.pre_logits"),
        ("head", "heads.head"),
    ),
    *(
        rule(f"blocks.{{block}}.attention.qkv.{kind}", f"{LAYER}.self_attention.in_proj_{kind}")
        for kind in ("weight", "bias")
    ),
)


IN_ENCODER, POSITIONS = "Transformer/posembed_input/pos_embedding", "pos_embedding"  # the release's, big_vision's


def _positions(theirs: str, token: bool, grid: tuple[int, int] | None, prefers_grid: bool = False) -> NameRule:
    ours = ("position.token", "position.grid") if token else ("position.grid",)
    return NameRule(ours=ours, theirs=(theirs,), layout=PositionEmbeddings(token, grid, prefers_grid))


@cache
def _official(token: bool, newer: bool, grid: tuple[int, int] | None) -> NameTable:
    blocks = NEWER + PUBLISHED if newer else PUBLISHED + NEWER
    return NameTable(_positions(IN_ENCODER, token, grid), TOKEN, *VIT, *blocks)


@cache
def _big_vision(token: bool, grid: tuple[int, int] | None) -> NameTable:
    rules = (_positions(POSITIONS, False, grid), TOKEN)
    if token:
        ours = ("position.grid", "position.token", "class_token")
        rules = (NameRule(ours=ours, theirs=(POSITIONS, "cls"), layout=PatchPositions(grid)),)
    return NameTable(*rules, *VIT, *NEWER)


@cache
def _timm(token: bool, grid: tuple[int, int] | None) -> NameTable:
    return NameTable(_positions("pos_embed", token, grid, prefers_grid=True), *TIMM_VIT)


def official_names(names: Collection[str], grid: tuple[int, int] | None) -> NameTable:
    """Files with either numbering of an encoder block's parts are read. Written files have the published one, or
    that of `names`.
    """
    newer = any("/MlpBlock_0/" in name for name in names)
    return _official("cls" in names or "class_token" in names, newer, grid)


def big_vision_names(names: Collection[str], grid: tuple[int, int] | None) -> NameTable:
    """Files of big_vision's own training: position embeddings of the patches alone, at the top level, or none.

    There are no rules for files that the ViT release's code wrote.
    """
    if IN_ENCODER in names or not any("/MlpBlock_0/" in name for name in names):
        return NO_RULES
    return _big_vision("cls" in names and POSITIONS in names, grid)


def timm_names(names: Collection[str], grid: tuple[int, int] | None) -> NameTable:
    return _timm("cls_token" in names or "class_token" in names, grid)


@cache
def _of_transformers(grid: tuple[int, int] | None) -> NameTable:
    places = (_positions(f"{model}embeddings.position_embeddings", True, grid) for model in ("vit.", ""))
    return NameTable(*places, *TRANSFORMERS_VIT)


@cache
def _of_torchvision(grid: tuple[int, int] | None) -> NameTable:
    return NameTable(_positions("encoder.pos_embedding", True, grid), *TORCHVISION_VIT)


def read_shapes(shapes: Mapping[str, Shape]) -> dict[str, Any]:
    """The sizes of the encoder, and of the ResNet below it."""
    embedding, root = shapes.get("embedding.weight", ()), shapes.get("stem.root.weight", ())
    depth = count(r"blocks\.(\d+)\.", shapes)
    if not depth and "embedding.weight" not in shapes:
        return {}
    fields: dict[str, Any] = {"network": (Hybrid if "stem.root.weight" in shapes else ViT).network, "depth": depth}
    width = shapes.get("norm.weight") or shapes.get("embedding.bias") or embedding
    hidden = next((shape for name, shape in shapes.items() if name.endswith("mlp.expand.bias")), ())
    if len(embedding) == 4:
        fields["patch_size"] = embedding[-1]
    if width:
        fields["width"] = width[0]
    if hidden:
        fields["mlp_dim"] = hidden[0]
    fields["pool"] = "token" if "class_token" in shapes else "gap"
    if len(root) == 4:
        fields |= {"units": resnet_units(shapes, r"stem\."), "widen": root[0] / 64}
    return fields


MAP_HEAD = "it pools by attention (big_vision's map head, MAPHead), and no network here does: only token and gap load"
STACKED = "its layers are stacked in one array each (big_vision's scan=True), which is not read"
DISTILLED = "it is a distilled DeiT, with a second token that learns from a teacher, and no network here has one"
HYBRID_OF_TRANSFORMERS = (
    "it is a hybrid under transformers' names, which are not read: the release and timm have the same weights"
)
TOWERS = "it holds an image and a text tower (img/…, txt/…), and the networks here are image classifiers"

VIT_AND_HYBRID = FamilyWeights(
    titles=("a ViT", "a hybrid"),
    first="embedding.weight",
    tables={
        "big_vision": big_vision_names,
        "official": official_names,
        "timm": timm_names,
        "transformers": lambda _names, grid: _of_transformers(grid),
        "torchvision": lambda _names, grid: _of_torchvision(grid),
    },
    read_shapes=read_shapes,
    refused=(
        (r"MAPHead_0/|probe$", MAP_HEAD),  # in older files it is inlined
        (r"Transformer/encoderblock/", STACKED),
        (r"(img|txt)/", TOWERS),
        (r"dist_token|head_dist\.|((deit|vit)\.)?embeddings\.distillation_token|distillation_classifier\.", DISTILLED),
        (r"(vit\.)?embeddings\.patch_embeddings\.backbone\.", HYBRID_OF_TRANSFORMERS),
    ),
)
