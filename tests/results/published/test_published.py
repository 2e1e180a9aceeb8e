"""Published numbers: every one has its source, and Table 2 is the paper's, cell by cell."""

from __future__ import annotations

import pytest
from vit_bench.registry import UsageError
from vit_bench.results import published
from vit_bench.results.tables import make

RELEASES = ("ViT (original release)", "BiT")  # whose weights the ViT and BiT papers' tables are of
TABLE_2 = """
ImageNet           | 88.55 0.04 | 87.76 0.03 | 85.30 0.02 | 87.54 0.02 | 88.4 / 88.5
ImageNet ReaL      | 90.72 0.05 | 90.54 0.03 | 88.62 0.05 | 90.54      | 90.55
CIFAR-10           | 99.50 0.06 | 99.42 0.03 | 99.15 0.03 | 99.37 0.06 |
CIFAR-100          | 94.55 0.04 | 93.90 0.05 | 93.25 0.05 | 93.51 0.08 |
Oxford-IIIT Pets   | 97.56 0.03 | 97.32 0.11 | 94.67 0.15 | 96.62 0.23 |
Oxford Flowers-102 | 99.68 0.02 | 99.74 0.00 | 99.61 0.02 | 99.63 0.03 |
VTAB (19 tasks)    | 77.63 0.23 | 76.28 0.46 | 72.72 0.21 | 76.29 1.70 |
pre-training, TPUv3-core-days | 2500 | 680  | 230        | 9900       | 12300
"""
COLUMNS = (
    "ViT-H/14, JFT-300M",
    "ViT-L/16, JFT-300M",
    "ViT-L/16, ImageNet-21k",
    "BiT-L (ResNet152x4), JFT-300M",
    "Noisy Student (EfficientNet-L2), JFT-300M unlabeled + ImageNet",
)


def test_table_2_cell_by_cell() -> None:
    (table,) = make("2", None)
    assert table.columns == ("dataset", *COLUMNS)
    wanted = []
    for line in TABLE_2.strip().splitlines():
        name, *cells = (cell.strip() for cell in line.split("|"))
        texts = [cell if "/" in cell else cell.replace(" ", " ± ") for cell in cells]
        accuracy = "core-days" not in name
        marks = ["†" if text and accuracy and i in (0, 1, 3) else "" for i, text in enumerate(texts)]
        wanted.append((name, *(text + mark for text, mark in zip(texts, marks, strict=True))))
    assert list(table.rows) == wanted
    assert "† Weights never released: this number cannot be reproduced." in table.notes


@pytest.mark.parametrize("name", published.names())
def test_every_number_has_a_source_and_says_how_it_was_verified(name: str) -> None:
    rows = published.rows(name)
    assert rows
    for i, row in enumerate(rows, start=2):
        assert row["source"].strip(), f"{name}.csv, row {i}"
        assert row.get("verification", "").strip(), f"{name}.csv, row {i}"


def test_a_frame_has_numbers_where_there_are_numbers() -> None:
    frame = published.frame("table2_sota")
    assert frame["value"].dtype == frame["std"].dtype == "float64"
    assert len(frame) == 39
    assert frame["std"].isna().sum() == sum(not row["std"] for row in published.rows("table2_sota"))
    with pytest.raises(UsageError, match=r"no published numbers 'table2'\. Did you mean 'table2_sota'"):
        published.rows("table2")


def test_models_are_those_of_the_catalog_under_the_papers_names() -> None:
    from vit_bench.models import catalog

    spelled = {
        row["model"] for name in ("table2_sota", "table5_transfer", "table6_scaling") for row in published.rows(name)
    }
    spelled |= {row["model"] for row in published.rows("augreg_table3_imagenet")}
    spelled -= {"ViT-B/16 (masked patch prediction pre-training)"}
    spelled |= {"BiT-L (R152x4)", "BiT-M (R152x4)", "BiT-M-R101x3", "ResNet50x1", "R50x1+ViT-L/16"}
    for spelling in spelled:
        name = published.model_name(spelling)
        assert name in catalog().names(), spelling
        if spelling in catalog():
            assert catalog()[spelling].name == name


@pytest.mark.parametrize(
    ("model", "pretrain", "released"),
    [
        ("ViT-L/16", "ImageNet-21k", True),
        ("ViT-H/14", "ImageNet-21k", True),
        ("ViT-L/16", "JFT-300M", False),
        ("ViT-B/16", "ImageNet", False),  # SAM's and AugReg's are other trainings
        ("BiT-S (R152x4)", "ImageNet", True),
        ("BiT-L (ResNet152x4)", "JFT-300M", False),
        ("Noisy Student (EfficientNet-L2)", "JFT-300M unlabeled + ImageNet", True),
        ("S4L (R50x1)", "ImageNet", True),  # nothing is known of it here
    ],
)
def test_what_was_never_released_cannot_be_reproduced(model: str, pretrain: str, released: bool) -> None:
    assert published.is_reproducible(model, pretrain) is released


def test_what_was_never_released_is_what_no_file_of_the_releases_is_of() -> None:
    from vit_bench.models.released.table import releases

    files = {(one.model, one.pretrain) for one in releases() if one.family in RELEASES}
    for name in ("table2_sota", "table5_transfer", "table6_scaling", "table7_8_ablations", "table9_vtab_tasks"):
        for row in published.rows(name):
            model = published.model_name(row["model"])
            if model.startswith(("ViT-", "BiT-R")) or "+ViT-" in model:
                released = (model, row["pretrain"]) in files
                assert published.is_reproducible(row["model"], row["pretrain"]) is released, row


def test_tags_of_other_papers_trainings_are_told_by_their_beginning() -> None:
    from vit_bench.models.released.table import releases
    from vit_bench.results.tables.measure import OTHER_TRAINING

    for one in releases():
        other = one.family not in (*RELEASES, "this package")
        stem = one.tag == one.stem  # named by its file: only further AugReg files are
        assert one.tag.startswith(OTHER_TRAINING) == (other and not stem), one.tag
