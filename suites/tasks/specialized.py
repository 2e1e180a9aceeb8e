"""VTAB's specialized tasks: images of expert equipment, medical and from above.

Facts: VTAB paper (arXiv 1910.04867, Section 2 and Appendix A); label rules, splits and sizes as in its public code.
"train" and "val" are train800 and val200 of VTAB-1k.
"""

from __future__ import annotations

from ..protocol import Task

SPECIALIZED = (
    Task(
        name="Camelyon",
        collection="vtab",
        group="specialized",
        images="Camelyon",
        target="class",
        num_classes=2,
        splits={"train": 800, "val": 200, "test": 32768},
        label="1 if the centre 32x32 region holds tumour tissue",
        majority=50.02,
        aliases=("Patch Camelyon", "patch_camelyon", "vtab/pcam", "pcam"),
    ),
    Task(
        name="EuroSAT",
        collection="vtab",
        group="specialized",
        images="EuroSAT",
        target="class",
        num_classes=10,
        splits={"train": 800, "val": 200, "test": 5400},
        label="land cover, folder name, alphabetical",
        aliases=("eurosat", "vtab/eurosat"),
    ),
    Task(
        name="Resisc45",
        collection="vtab",
        group="specialized",
        images="Resisc45",
        target="class",
        num_classes=45,
        splits={"train": 800, "val": 200, "test": 6300},
        label="scene, folder name, alphabetical",
        aliases=("resisc45", "vtab/resisc45"),
    ),
    Task(
        name="Retinopathy",
        collection="vtab",
        group="specialized",
        images="Retinopathy",
        target="class",
        num_classes=5,
        splits={"train": 800, "val": 200, "test": 42670},
        label="grade 0 to 4",
        aliases=("Diabetic Retinopathy", "diabetic_retinopathy", "vtab/diabetic_retinopathy", "diabetic-retinopathy"),
    ),
)
