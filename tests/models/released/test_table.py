"""The table of released files: every file is one tag of one row, and every name of it leads there."""

from __future__ import annotations

import csv
import re
from collections import Counter
from pathlib import Path

import pytest
from vit_bench.models import Provenance, catalog, create_model, list_models, select_model
from vit_bench.models.released import table as releases
from vit_bench.models.released.table import find_release, locate, matching_releases, of_model, release_named
from vit_bench.registry import UsageError

RELEASES = releases.releases()
SHORT = re.compile(
    r"in21k|in21k-ft-in1k(-\d+)?|sam|augreg-in21k(-ft-(in1k|pets)-\d+)?|augreg-in1k-\d+|bit-[sm]|bit-m-in1k"
    r"|(distilled|teacher)-\d+|vtab-run[012]-[a-z0-9_-]+|fractals"
)


def release(model: str, tag: str) -> releases.Release:
    found = find_release(model, tag)
    assert found is not None and found.tag == tag
    return found


def test_every_file_of_the_table_is_one_tag_of_one_row() -> None:
    with releases.TABLE.open(encoding="utf-8", newline="") as file:
        stated = list(csv.DictReader(file))
    assert len(stated) == 103
    assert all(bool(row["tag"]) == bool(row["file_name"]) for row in stated)
    assert len([row for row in stated if row["file_name"]]) == 96
    assert len(RELEASES) == 95 + 285
    assert max(Counter(one.file_name for one in RELEASES).values()) == 1
    assert max(Counter((one.model, one.tag.lower()) for one in RELEASES).values()) == 1
    assert {one.model for one in RELEASES} <= set(catalog())
    assert all(one.source and one.verification and one.pretrain for one in RELEASES)


def test_a_release_is_found_by_its_tag_and_by_its_stem() -> None:
    for one in RELEASES:
        assert find_release(one.model, one.tag) == one
        assert find_release(one.model, one.tag.upper().replace("-", "_")) == one
        assert SHORT.fullmatch(one.tag) or one.tag == one.stem
        several = [other for other in of_model(one.model) if other.stem == one.stem]
        if len(several) == 1:
            assert find_release(one.model, one.stem) == one
        else:
            assert {other.file_name.split("/")[0] for other in several} == {"vit_models"}
            message = (
                f"is the stem of {len(several)} released files of {re.escape(one.model)}. Type one of the tags: in21k"
            )
            with pytest.raises(UsageError, match=message):
                find_release(one.model, one.stem)


def test_the_recommended_file_has_the_short_tag_and_others_their_stem() -> None:
    upstream = {
        "ViT-L/16": "L_16-i21k-300ep-lr_0.001-aug_strong1-wd_0.1-do_0.0-sd_0.0",
        "ViT-B/16": "B_16-i21k-300ep-lr_0.001-aug_medium1-wd_0.1-do_0.0-sd_0.0",
        "ViT-S/32": "S_32-i21k-300ep-lr_0.001-aug_none-wd_0.1-do_0.0-sd_0.0",
        "R50+ViT-L/32": "R50_L_32-i21k-300ep-lr_0.001-aug_medium1-wd_0.1-do_0.1-sd_0.1",
        "ViT-B/8": "B_8-i21k-300ep-lr_0.001-aug_medium2-wd_0.1-do_0.0-sd_0.0",
    }
    for model, stem in upstream.items():
        assert release(model, "augreg-in21k").stem == stem
    readme = release("ViT-B/16", "augreg-in21k-ft-in1k-384")
    assert readme.stem.endswith("lr_0.03-res_384")
    assert readme.published_top1 == 85.49
    other = find_release("ViT-B/16", "vit_base_patch16_384.augreg_in21k_ft_in1k")
    assert other is not None
    assert other.tag == other.stem != readme.stem
    assert other.timm_top1 == 86.010


@pytest.mark.parametrize(
    ("model", "tags"),
    [
        ("ViT-H/14", "in21k"),
        ("ViT-L/16", "in21k in21k-ft-in1k-384 in21k-ft-in1k-224 sam augreg-in21k augreg-in21k-ft-in1k-384"),
        ("BiT-R50x1", "bit-s bit-m bit-m-in1k distilled-224 distilled-160 vtab-run0-caltech101 vtab-run2-dmlab"),
        ("BiT-R152x2", "bit-s bit-m bit-m-in1k teacher-224 teacher-384"),
        ("R50+ViT-B/16", "in21k in21k-ft-in1k-384"),
        ("R+ViT-Ti/16", "augreg-in21k augreg-in21k-ft-in1k-384 augreg-in21k-ft-in1k-224"),
        ("BiT-R200x3", ""),
        ("BiT-mini", "fractals"),
        ("ViT-mini", ""),
    ],
)
def test_a_row_knows_its_weights(model: str, tags: str) -> None:
    known = catalog()[model].known_weights
    assert set(tags.split()) <= set(known)
    assert bool(tags) == bool(known)


def test_the_files_fine_tuned_on_vtab_are_285_with_their_task() -> None:
    vtab = [one for one in RELEASES if one.tag.startswith("vtab-")]
    assert Counter(one.model for one in vtab) == dict.fromkeys(
        ("BiT-R50x1", "BiT-R101x1", "BiT-R50x3", "BiT-R101x3", "BiT-R152x4"), 57
    )
    assert len({one.finetune for one in vtab}) == 19
    one = release("BiT-R101x3", "vtab-run1-smallnorb-azimuth")
    assert one.file_name == "bit_models/vtab/BiT-M-R101x3-run1-smallnorb-azimuth.npz"
    assert one.finetune == "VTAB-1k smallnorb-azimuth"


def test_facts_of_a_release() -> None:
    one = release("ViT-L/16", "in21k-ft-in1k-384")
    assert (one.resolution, one.published_top1, one.bytes) == (384, 85.15, round(1.14 * 2**30))
    assert one.provenance == Provenance(
        pretrain="ImageNet-21k, fine-tuned on ImageNet at 384 px", images=14_000_000, core_days=230
    )
    assert release("ViT-S/16", "augreg-in1k-224").provenance.epochs == 300
    assert release("ViT-B/16", "sam").provenance == Provenance(pretrain="ImageNet", images=1_300_000)
    pets = release("R26+ViT-S/32", "augreg-in21k-ft-pets-224")
    assert round(pets.published_top1 * 3669 / 100, 2) == 3418  # type: ignore[operator]  # images, as a share is of some
    assert round(release("R26+ViT-S/32", "augreg-in21k-ft-pets-384").published_top1 * 36.69, 2) == 3456  # type: ignore[operator]
    bit = release("BiT-R50x1", "bit-m-in1k")
    assert bit.resolution is None  # the paper and the public code differ
    assert bit.resolution_as_stated == "384 (paper) or 480 (public code)"
    assert release("BiT-R152x2", "bit-m-in1k").resolution == 480
    assert release("BiT-R50x1", "distilled-224").provenance.images is None


def test_the_hub_stands_in_only_where_its_file_is_known_to_be_the_same() -> None:
    same = [one for one in RELEASES if one.hub_same]
    assert {one.file_name.split("/")[1] for one in same} == {"augreg", "sam"}
    assert all(one.hub_timm.startswith("timm/") for one in same)
    assert not any(one.hub_same for one in RELEASES if ".orig_" in one.hub_timm or ".goog_" in one.hub_timm)


@pytest.mark.parametrize(
    ("word", "model", "tag"),
    [
        ("BiT-M-R50x1", "BiT-R50x1", "bit-m"),
        ("BiT-S-R152x4", "BiT-R152x4", "bit-s"),
        ("bit-m-r50x1-ilsvrc2012", "BiT-R50x1", "bit-m-in1k"),
        ("BiT-M-R50x1-run0-caltech101", "BiT-R50x1", "vtab-run0-caltech101"),
        ("vit_base_patch16_224.augreg_in21k", "ViT-B/16", "augreg-in21k"),
        ("resnetv2_101x3_bit.goog_in21k_ft_in1k", "BiT-R101x3", "bit-m-in1k"),
        ("ViT-B_16-224", "ViT-B/16", "in21k-ft-in1k-224"),
        ("vit_base_patch16_224", "ViT-B/16", None),
        ("vit_tiny_r_s16_p8_224", "R+ViT-Ti/16", None),
        ("resnetv2_50x1_bit", "BiT-R50x1", None),
        ("ViT-B_16", "ViT-B/16", None),
        ("ViT-H_14", "ViT-H/14", None),
    ],
)
def test_a_name_says_a_model_and_may_say_weights(word: str, model: str, tag: str | None) -> None:
    selected = select_model(word)
    assert selected.row == catalog()[model]
    assert (selected.weights and str(selected.weights)) == tag
    assert list_models(word) == [model]


@pytest.mark.parametrize(
    "word", ["vit_base_patch16_384", "BiT-L-R50x1", "in21k", "vit_base_patch8_224.augreg2_in21k_ft_in1k"]
)
def test_other_words_name_no_model(word: str) -> None:
    with pytest.raises(UsageError, match=f"there is no model '{word}'"):
        select_model(word)


def test_no_word_for_weights_is_a_name_of_another_model() -> None:
    for one in RELEASES:
        found = release_named(one.stem)
        assert found is None or found == one
        if one.stem in catalog():
            assert catalog()[one.stem].name == one.model


def test_globs_look_at_tags() -> None:
    assert [one.tag for one in matching_releases("BiT-R50x1", "bit-*")] == ["bit-s", "bit-m", "bit-m-in1k"]
    assert len(matching_releases("BiT-R50x1", "vtab-run1-*")) == 19
    assert matching_releases("ViT-B/16", "bit-*") == []


def test_a_name_that_says_weights_and_other_weights() -> None:
    with pytest.raises(
        UsageError, match=r"says the weights, bit-m of BiT-R50x1, and weights='bit-s' says others. Take "
    ):
        create_model("BiT-M-R50x1", weights="bit-s")
    with pytest.raises(UsageError, match=r"create_model\('BiT-R50x1', weights='random'\)"):
        create_model("BiT-M-R50x1", weights="random")
    with pytest.raises(UsageError, match=r"BiT-R50x1 weights=bit-m is not on this machine"):
        create_model("BiT-M-R50x1", weights="bit-m")


@pytest.mark.parametrize(
    ("word", "message"),
    [
        (
            "in21",
            r"there are no weights 'in21' of ViT-B/16. Did you mean 'in21k'\? There are: in21k, in21k-ft-in1k-384,",
        ),
        (
            "qqq",
            r"of ViT-B/16. There are: in21k, .* and 1 more \(`weights list ViT-B/16`\). Choose one of them, 'random'",
        ),
        ("bit-m", r"there are no weights 'bit-m' of ViT-B/16"),
        (
            "ViT-B_16",
            r"'ViT-B_16' is the stem of 3 released files of ViT-B/16. Type one of the tags: in21k, in21k-ft-in1k",
        ),
    ],
)
def test_unknown_weights_list_the_tags(word: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        create_model("ViT-B/16", weights=word)


# ------------------------------------------------------------------------------------------------------ where files are


@pytest.mark.parametrize(
    "place", ["vit_models/imagenet21k/ViT-B_16.npz", "imagenet21k/ViT-B_16.npz", "bit_models/BiT-M-R50x1.npz"]
)
def test_files_are_found_in_the_users_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: str) -> None:
    one = release("BiT-R50x1", "bit-m") if "BiT" in place else release("ViT-B/16", "in21k")
    assert locate(one) is None
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path))
    (tmp_path / place).parent.mkdir(parents=True)
    (tmp_path / place).touch()
    assert locate(one) == tmp_path / place


def test_a_bare_name_counts_only_where_one_file_has_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path))
    for name in ("ViT-B_16.npz", "BiT-M-R50x1.npz"):
        (tmp_path / name).touch()
    assert locate(release("BiT-R50x1", "bit-m")) == tmp_path / "BiT-M-R50x1.npz"
    assert not any(locate(release("ViT-B/16", tag)) for tag in ("in21k", "in21k-ft-in1k-384", "sam"))


def test_the_cache_and_the_hubs_cache_are_looked_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    one = release("ViT-S/16", "augreg-in21k")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    repository = tmp_path / "hf" / "hub" / "models--timm--vit_small_patch16_224.augreg_in21k"
    snapshot = repository / "snapshots" / ("0" * 40) / "model.safetensors"
    snapshot.parent.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    assert locate(one) is None
    snapshot.touch()
    assert locate(one) == snapshot
    releases.cached_file(one).parent.mkdir(parents=True)
    releases.cached_file(one).touch()
    assert locate(one) == tmp_path / "weights" / one.file_name


def test_a_folder_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_WEIGHTS", "nowhere")
    with pytest.raises(UsageError, match="BENCH_WEIGHTS=nowhere: there is no such folder"):
        locate(release("ViT-B/16", "in21k"))
