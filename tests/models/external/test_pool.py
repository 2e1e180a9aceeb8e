"""Which feature a library's model gives: `model.pool=`, its default, and what records say of it."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
import vit_bench
from torch import Tensor, nn
from vit_bench.bench import config
from vit_bench.bench.plan import make_plan
from vit_bench.models import create_model
from vit_bench.models.external.authors import KNOWN, AuthorsPool, authors_pool
from vit_bench.models.external.rows import external_models
from vit_bench.models.external.torchvision import TorchvisionBackbone
from vit_bench.registry import UsageError

pytestmark = pytest.mark.usefixtures("empty_caches")
WITHOUT_CLASSIFIER = {"architecture": "test_vit", "num_classes": 0, "pretrained_cfg": {"input_size": [3, 160, 160]}}


def backbone_of(word: str, **settings: str) -> Any:
    """With random weights that no two layers share."""
    backbone: Any = create_model(external_models(word, settings)[0])
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return backbone


def images(backbone: Any) -> Tensor:
    return torch.randn(2, 3, *backbone.image_size, generator=torch.Generator().manual_seed(0))


def blocks_of(module: Any, batch: Tensor) -> Tensor:
    """The tokens after the last block, before any norm, by timm's own parts."""
    return module.blocks(module.norm_pre(module.patch_drop(module._pos_embed(module.patch_embed(batch)))))


def mean_normed(module: Any, batch: Tensor) -> Tensor:
    return module.forward_features(batch)[:, module.num_prefix_tokens :].mean(dim=1)


CASES: dict[tuple[str, str], Callable[[Any, Tensor], Tensor]] = {
    ("test_vit", "token"): lambda module, batch: module.forward_features(batch)[:, 0],
    ("test_vit", "gap"): mean_normed,
    ("test_vit", "token-before-norm"): lambda module, batch: blocks_of(module, batch)[:, 0],
    ("test_vit", "gap-before-norm"): lambda module, batch: blocks_of(module, batch)[:, 1:].mean(dim=1),
    ("test_vit", "classifier"): lambda module, batch: module.forward_head(
        module.forward_features(batch), pre_logits=True
    ),
    # timm averages and then norms; the first of its tokens is a register, no patch.
    ("test_vit2", "gap"): lambda module, batch: module.fc_norm(blocks_of(module, batch)[:, 1:].mean(dim=1)),
    ("test_vit2", "gap-before-norm"): lambda module, batch: blocks_of(module, batch)[:, 1:].mean(dim=1),
    # timm pools by attention.
    ("test_vit3", "gap"): mean_normed,
    ("test_vit3", "classifier"): lambda module, batch: module.attn_pool(module.forward_features(batch)),
}


@pytest.mark.parametrize(("name", "pool"), CASES)
def test_features_against_timms_own_tokens(name: str, pool: str) -> None:
    backbone = backbone_of(f"timm:{name}", pool=pool, image_size="64")
    batch = images(backbone)
    with torch.no_grad():
        expected = CASES[name, pool](backbone.module, batch)
        torch.testing.assert_close(backbone.features(batch), expected, rtol=0, atol=0)
    assert backbone.num_features == expected.shape[1]
    assert dict(backbone.spec.variant) == {"pool": pool, "image_size": "64"}
    assert backbone.tap == (None if pool == "classifier" else pool)


def test_the_four_tokens_differ_and_the_default_is_what_the_classifier_gets() -> None:
    features = {}
    for pool in ("classifier", "token", "gap", "token-before-norm", "gap-before-norm"):
        backbone = backbone_of("timm:test_vit", pool=pool, image_size="64")
        features[pool] = backbone.features(images(backbone))
    assert torch.equal(features.pop("classifier"), features["token"])  # which timm reads there
    default = backbone_of("timm:test_vit", image_size="64")
    assert torch.equal(default.features(images(default)), features["token"])
    assert default.tap is None
    values = list(features.values())
    assert not any(torch.allclose(one, other, atol=1e-3) for i, one in enumerate(values) for other in values[:i])


def test_torchvisions_transformer() -> None:
    torch.manual_seed(0)
    arguments = {"image_size": 32, "patch_size": 16, "num_layers": 1, "num_heads": 2, "hidden_dim": 16, "mlp_dim": 32}
    module: Any = torchvision.models.VisionTransformer(**arguments, num_classes=3).eval()
    nn.init.normal_(module.heads.head.weight)
    batch = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        logits = module(batch)
        tokens = torch.cat([module.class_token.expand(2, -1, -1), module._process_input(batch)], dim=1)
        last = module.encoder.layers(tokens + module.encoder.pos_embedding)
        normed = module.encoder.ln(last)
        expected = {
            "token": normed[:, 0],
            "gap": normed[:, 1:].mean(dim=1),
            "token-before-norm": last[:, 0],
            "gap-before-norm": last[:, 1:].mean(dim=1),
        }
        for pool, features in expected.items():
            row = external_models("torchvision:vit_b_16", {"pool": pool, "image_size": "32"})[0]
            backbone = TorchvisionBackbone(row, copy.deepcopy(module), 16)
            torch.testing.assert_close(backbone.features(batch), features)
            torch.testing.assert_close(backbone(batch), logits)  # its own head still gets the class token


def test_a_new_head_reads_the_feature_and_the_librarys_stays_what_it_is(on_hub: Callable[..., Path]) -> None:
    torch.manual_seed(1)
    module = timm.create_model("test_vit").eval()
    on_hub("timm/test_vit.r160_in1k", model=module.state_dict())
    row = external_models("timm:test_vit.r160_in1k", {"pool": "gap"})[0]
    kept, new = create_model(row, "pretrained"), create_model(row, "pretrained", num_classes=1000)
    batch = images(kept)
    with torch.no_grad():
        assert torch.equal(kept(batch), module(batch))
        torch.testing.assert_close(kept.features(batch), mean_normed(module, batch))
        assert torch.equal(new(batch), torch.zeros(2, 1000))  # timm's was trained on the class token
        nn.init.eye_(new.head.weight)  # type: ignore[union-attr]
        torch.testing.assert_close(new(batch)[:, :64], mean_normed(module, batch))


@pytest.mark.parametrize(
    ("word", "settings", "message"),
    [
        ("timm:test_vit", {"pool": "tokn"}, "timm:test_vit: model.pool=tokn. Did you mean 'token'"),
        ("timm:test_vit", {"pool": "gap", "tap": "norm"}, "model.pool and model.tap both say what the features are"),
        ("timm:test_vit", {"pool": "gap", "global_pool": "avg"}, "model.pool and model.global_pool both say"),
        ("timm:test_vit2", {"pool": "token"}, "test_vit2 has no class token, and model.pool=token asks for it"),
        (
            "timm:pit_ti_224",
            {"pool": "gap"},
            "pit_ti_224 has no sequence of tokens",
        ),  # its norm sees the class token alone
        ("timm:test_resnet", {"pool": "gap"}, "test_resnet has no sequence of tokens, and model.pool=gap asks for it"),
        ("torchvision:resnet18", {"pool": "token"}, "no sequence of tokens.*model.tap=LAYER takes a layer's output"),
    ],
)
def test_what_cannot_be_had(word: str, settings: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        create_model(external_models(word, settings)[0])


# The default


def named(word: str) -> Any:
    return external_models(word)[0].architecture


def test_the_default_is_the_authors_choice_where_the_library_differs() -> None:
    for word in ("timm:vit_small_patch16_dinov3", "timm:vit_small_patch16_dinov3.lvd1689m"):
        assert named(word).pool == "token"
    assert named("hf:timm/vit_small_patch16_dinov3.lvd1689m@abc").pool == "token"
    for word in ("timm:vit_small_patch14_dinov2.lvd142m", "timm:convnext_tiny.dinov3_lvd1689m", "torchvision:vit_b_16"):
        assert named(word).pool is None
    row = external_models("timm:vit_small_patch16_dinov3", {"pool": "classifier"})[0]
    assert row.architecture.pool == "classifier"  # type: ignore[attr-defined]
    for other in ({"tap": "norm"}, {"global_pool": "avg"}):
        assert external_models("timm:vit_small_patch16_dinov3", other)[0].architecture.pool is None  # type: ignore[attr-defined]


def test_dinov3_gives_its_class_token() -> None:
    backbone = backbone_of("timm:vit_small_patch16_dinov3", image_size="32")
    batch = images(backbone)
    with torch.no_grad():
        expected = backbone.module.norm(_last_of_eva(backbone.module, batch))[:, 0]
        torch.testing.assert_close(backbone.features(batch), expected)
    assert (backbone.tap, backbone.module.global_pool) == ("token", "avg")


def _last_of_eva(module: Any, batch: Tensor) -> Tensor:
    (tokens,) = module.forward_intermediates(
        batch, indices=1, norm=False, output_fmt="NLC", intermediates_only=True, return_prefix_tokens=True
    )
    patches, prefix = tokens
    return torch.cat([prefix, patches], dim=1)


def pooling(module: Any) -> str:
    """What timm gives the classifier of this module, in this project's words."""
    words = {"token": "token", "avg": "gap", "map": "classifier"}
    return words[module.global_pool]


@pytest.mark.parametrize("known", KNOWN, ids=lambda known: known.models)
def test_what_is_said_of_authors_fits_timms_models(known: AuthorsPool) -> None:
    """Without a note that they differ, timm's own pooling is the authors', so nothing but a record changes."""
    names = [name for name in timm.list_pretrained() if re.fullmatch(known.models, name)]
    if not names:
        pytest.skip(f"timm {timm.__version__} has none of these")
    assert all(authors_pool(name) == known for name in names)
    sizes = ("_tiny_", "_small_", "_base_", "_large_")
    names.sort(key=lambda name: next((i for i, size in enumerate(sizes) if size in name), len(sizes)))
    with torch.device("meta"):
        module: Any = timm.create_model(names[0].partition(".")[0])
    if known.differs:
        assert (pooling(module), known.pool) == ("gap", "token")
    elif "clip" in known.models:
        assert (pooling(module), known.pool) == ("token", "classifier")
    else:
        assert pooling(module) == known.pool


def test_records_say_whose_choice_it_is(on_hub: Callable[..., Path]) -> None:
    torch.manual_seed(1)
    module = timm.create_model("test_vit", num_classes=0).eval()
    for repository in ("someone/net", "someone/vit_small_test.mae"):
        on_hub(repository, config=WITHOUT_CLASSIFIER, model=module.state_dict())
    unknown = "features are what enters the library's classifier; which feature its authors evaluate is not known here"
    assert create_model("hf:someone/net").notes == (unknown,)
    known = "features are the class token after the last norm, as in MAE's linear probes"
    assert create_model("hf:someone/vit_small_test.mae").notes == (known,)
    assert create_model(external_models("hf:someone/net", {"pool": "gap"})[0]).notes == ()
    assert create_model("hf:someone/net", "random").notes == ()


def test_the_treatment_of_a_record_names_the_feature(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = ("suite=fewshot", "task=digits", "shots=1", "seed=0", "model=timm:test_vit", "weights=random")
    frame = vit_bench.run(*words, "model.image_size=32", "model.pool=gap", out="r")
    assert set(frame["variant"]) == {"image_size=32 pool=gap"}
    assert {json.loads(text)["tap"] for text in frame.loc[frame["metric"] == "top1", "treatment"]} == {"gap"}


@pytest.mark.slow
def test_a_kept_head_reads_the_feature_that_it_was_trained_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = ("task=digits", "model=timm:test_vit", "model.image_size=32")
    words = ("weights=random", "recipe=vit", "lr=0.03", "batch=8", "steps=4", "seed=0", "save=weights")
    tuned = vit_bench.run("suite=finetune", *model, "model.pool=gap", *words, out="tuned")
    (kept,) = Path("tuned/kept").glob("*/*seed0.safetensors")
    sidecar = kept.with_name(f"{kept.name}.yaml")
    assert "pool: gap\n" in sidecar.read_text()

    scored = ("suite=classify", *model, f"weights={kept}", "resize=square")
    alone = vit_bench.run(*scored, out="alone")
    typed = vit_bench.run(*scored, "model.pool=gap", out="typed")
    for frame in (alone, typed):
        assert set(frame["status"]) == {"ok"}, frame["error"].tolist()
        assert frame["value"].iloc[0] == tuned["value"].iloc[0]
    treatment = json.loads(alone["treatment"].iloc[0])
    reads = "the head reads the mean of the patches' tokens after the last norm, as its sidecar file says"
    assert reads in treatment["weights_notes"]
    with pytest.raises(UsageError, match=r"its head reads the feature gap, as its sidecar file says\. Leave"):
        vit_bench.run(*scored, "model.pool=token", out="other")

    def row(**settings: str) -> Any:
        return external_models("timm:test_vit", {"image_size": "32", **settings})[0]

    def head(network: Any, feature: Tensor) -> Tensor:
        return network.head(feature)

    network: Any = create_model(row(), kept)
    batch = images(network)
    with torch.no_grad():
        gap, token = mean_normed(network.module, batch), network.module.forward_features(batch)[:, 0]
        torch.testing.assert_close(network(batch), head(network, gap))
        torch.testing.assert_close(network.features(batch), token)  # which are as ever, what the classifier gets
        assert not torch.allclose(network(batch), head(network, token), atol=1e-3)
        assert torch.equal(create_model(row(), kept, num_classes=10)(batch), torch.zeros(2, 10))  # type: ignore[operator]
        again: Any = create_model(row(pool="gap"), kept, num_classes=10)
        torch.testing.assert_close(again(batch), network(batch))
        sidecar.write_text(sidecar.read_text().replace("pool: gap\n", ""))  # as files were kept before
        for settings in ({}, {"pool": "gap"}):
            before: Any = create_model(row(**settings), kept)
            torch.testing.assert_close(before(batch), head(before, token))
        sidecar.write_text("pool: gab")
        with pytest.raises(UsageError, match=r"pool='gab'\. Did you mean 'gap'"):
            create_model(row(), kept)


def test_the_identity_of_a_job_names_the_feature_only_where_it_is_chosen(tmp_path: Path) -> None:
    def architecture(*words: str) -> dict[str, Any]:
        asked = ("suite=fewshot", "task=digits", "weights=random", f"out={tmp_path}", *words)
        (job,) = make_plan(config.read(list(asked))).jobs
        return job.identity["architecture"]

    assert set(architecture("model=timm:test_vit")) == {
        "arguments",
        "library",
        "name",
        "settled",
        "tag",
        "tap",
        "version",
    }
    assert architecture("model=timm:test_vit", "model.pool=gap")["pool"] == "gap"
    assert architecture("model=timm:vit_small_patch16_dinov3")["pool"] == "token"
