"""The names and layouts of the official releases and of timm, beside ours."""

from __future__ import annotations

from functools import cache

from .layout import ConvolutionalHead, HeadsBias, Kernel, Layout, Positions, Projection, Rule, Table, Vector

SAME, VECTOR, KERNEL = Layout(), Vector(), Kernel()
LINEAR, CONVOLUTIONAL = Projection("io"), Projection("11io")  # BiT's head is a 1x1 convolution there
QUERIES, HEADS_OUT = Projection("ihd"), Projection("hdo")


def _rule(ours: str, theirs: str, layout: Layout = SAME) -> Rule:
    return Rule(ours=(ours,), theirs=(theirs,), layout=layout)


def _flax_norm(ours: str, theirs: str) -> tuple[Rule, ...]:
    return _rule(f"{ours}.weight", f"{theirs}/scale", VECTOR), _rule(f"{ours}.bias", f"{theirs}/bias", VECTOR)


def _flax_layer(ours: str, theirs: str, layout: Layout) -> tuple[Rule, ...]:
    return _rule(f"{ours}.weight", f"{theirs}/kernel", layout), _rule(f"{ours}.bias", f"{theirs}/bias", VECTOR)


def _encoder_block(norm1: str, attention: str, norm2: str, mlp: str) -> tuple[Rule, ...]:
    """One encoder layer of the ViT release; its submodules are numbered differently in files of newer code."""
    ours, theirs = "blocks.{block}", "Transformer/encoderblock_{block}"
    heads = tuple(f"{theirs}/{attention}/{each}" for each in ("query", "key", "value"))
    return (
        *_flax_norm(f"{ours}.norm1", f"{theirs}/{norm1}"),
        Rule(ours=(f"{ours}.attention.qkv.weight",), theirs=tuple(f"{h}/kernel" for h in heads), layout=QUERIES),
        Rule(ours=(f"{ours}.attention.qkv.bias",), theirs=tuple(f"{h}/bias" for h in heads), layout=HeadsBias()),
        *_flax_layer(f"{ours}.attention.out", f"{theirs}/{attention}/out", HEADS_OUT),
        *_flax_norm(f"{ours}.norm2", f"{theirs}/{norm2}"),
        *_flax_layer(f"{ours}.mlp.expand", f"{theirs}/{mlp}/Dense_0", LINEAR),
        *_flax_layer(f"{ours}.mlp.contract", f"{theirs}/{mlp}/Dense_1", LINEAR),
    )


PUBLISHED = _encoder_block("LayerNorm_0", "MultiHeadDotProductAttention_1", "LayerNorm_2", "MlpBlock_3")
NEWER = _encoder_block("LayerNorm_0", "MultiHeadDotProductAttention_0", "LayerNorm_1", "MlpBlock_0")

STEM, STEM_OFFICIAL = "stem.stages.{stage}.{unit}", "block{stage+1}/unit{unit+1}"
HYBRID = (
    _rule("stem.root.weight", "conv_root/kernel", KERNEL),
    *_flax_norm("stem.root_norm", "gn_root"),
    *(_rule(f"{STEM}.conv{i}.weight", f"{STEM_OFFICIAL}/conv{i}/kernel", KERNEL) for i in (1, 2, 3)),
    *(rule for i in (1, 2, 3) for rule in _flax_norm(f"{STEM}.norm{i}", f"{STEM_OFFICIAL}/gn{i}")),
    _rule(f"{STEM}.projection.0.weight", f"{STEM_OFFICIAL}/conv_proj/kernel", KERNEL),
    *_flax_norm(f"{STEM}.projection.1", f"{STEM_OFFICIAL}/gn_proj"),
)

VIT = (
    _rule("class_token", "cls"),
    *_flax_layer("embedding", "embedding", KERNEL),
    *HYBRID,
    *_flax_norm("norm", "Transformer/encoder_norm"),
    *_flax_layer("pre_logits", "pre_logits", LINEAR),
    *_flax_layer("head", "head", LINEAR),
)

UNIT, UNIT_OFFICIAL = "stages.{stage}.{unit}", "resnet/block{stage+1}/unit{unit+1:02}"
CONVOLUTION = "standardized_conv2d/kernel"
BIT = (
    _rule("root.weight", f"resnet/root_block/{CONVOLUTION}", KERNEL),
    *(_rule(f"{UNIT}.conv{i}.weight", f"{UNIT_OFFICIAL}/{a}/{CONVOLUTION}", KERNEL) for i, a in enumerate("abc", 1)),
    *(_rule(f"{UNIT}.norm{i}.weight", f"{UNIT_OFFICIAL}/{a}/group_norm/gamma", VECTOR) for i, a in enumerate("abc", 1)),
    *(_rule(f"{UNIT}.norm{i}.bias", f"{UNIT_OFFICIAL}/{a}/group_norm/beta", VECTOR) for i, a in enumerate("abc", 1)),
    _rule(f"{UNIT}.projection.weight", f"{UNIT_OFFICIAL}/a/proj/{CONVOLUTION}", KERNEL),
    _rule("norm.weight", "resnet/group_norm/gamma", VECTOR),
    _rule("norm.bias", "resnet/group_norm/beta", VECTOR),
    *_flax_layer("head", "resnet/head/conv2d", CONVOLUTIONAL),
)


def _timm(*pairs: tuple[str, str]) -> tuple[Rule, ...]:
    """Layers that differ in name only, with a weight and a bias, or a norm's scale and bias."""
    return tuple(_rule(f"{ours}.{part}", f"{theirs}.{part}") for ours, theirs in pairs for part in ("weight", "bias"))


BACKBONE = "patch_embed.backbone.stages.{stage}.blocks.{unit}"
TIMM_VIT = (
    _rule("class_token", "cls_token"),
    *_timm(
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
        rule
        for stem in ("patch_embed.backbone.stem", "patch_embed.backbone")  # the second where there are no stages
        for rule in (
            _rule("stem.root.weight", f"{stem}.conv.weight"),
            *_timm(("stem.root_norm", f"{stem}.norm")),
        )
    ),
    *(_rule(f"{STEM}.conv{i}.weight", f"{BACKBONE}.conv{i}.weight") for i in (1, 2, 3)),
    *_timm(*((f"{STEM}.norm{i}", f"{BACKBONE}.norm{i}") for i in (1, 2, 3))),
    _rule(f"{STEM}.projection.0.weight", f"{BACKBONE}.downsample.conv.weight"),
    *_timm((f"{STEM}.projection.1", f"{BACKBONE}.downsample.norm")),
)
BLOCK = "stages.{stage}.blocks.{unit}"
TIMM_BIT = (
    _rule("root.weight", "stem.conv.weight"),
    *(_rule(f"{UNIT}.conv{i}.weight", f"{BLOCK}.conv{i}.weight") for i in (1, 2, 3)),
    *_timm(*((f"{UNIT}.norm{i}", f"{BLOCK}.norm{i}") for i in (1, 2, 3))),
    _rule(f"{UNIT}.projection.weight", f"{BLOCK}.downsample.conv.weight"),
    *_timm(("norm", "norm")),
    _rule("head.weight", "head.fc.weight", ConvolutionalHead()),
    _rule("head.bias", "head.fc.bias"),
)


def _positions(theirs: str, token: bool, grid: tuple[int, int] | None) -> Rule:
    ours = ("position.token", "position.grid") if token else ("position.grid",)
    return Rule(ours=ours, theirs=(theirs,), layout=Positions(token, grid))


@cache
def official_vit(*, token: bool, newer: bool = False, grid: tuple[int, int] | None = None) -> Table:
    """The release of ViT and the hybrids.

    token: there is a class token. newer: what is written has the names of newer code (both are read). grid: rows and
    columns of the patches, should they be no square.
    """
    blocks = NEWER + PUBLISHED if newer else PUBLISHED + NEWER
    return Table(_positions("Transformer/posembed_input/pos_embedding", token, grid), *VIT, *blocks)


@cache
def official_bit() -> Table:
    """The release of BiT."""
    return Table(*BIT)


@cache
def timm_vit(*, token: bool, grid: tuple[int, int] | None = None) -> Table:
    """timm's names of ViT and the hybrids.

    Its `fc_norm` has no counterpart: it is a final norm behind the mean of the tokens, and the release's is before it.
    """
    return Table(_positions("pos_embed", token, grid), *TIMM_VIT)


@cache
def timm_bit() -> Table:
    """timm's names of BiT."""
    return Table(*TIMM_BIT)
