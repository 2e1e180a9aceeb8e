"""VTAB's natural tasks: photographs of everyday things, places and digits.

Facts: VTAB paper (arXiv 1910.04867, Section 2 and Appendix A); label rules, splits and sizes as in its public code.
"train" and "val" are train800 and val200 of VTAB-1k.
"""

from __future__ import annotations

from ..protocol import Task

NATURAL = (
    Task(
        name="Caltech101",
        collection="vtab",
        group="natural",
        images="Caltech101",
        target="class",
        num_classes=102,
        splits={"train": 800, "val": 200, "test": 6084},
        label="directory name in lower case, alphabetical; background_google is class 4",
        majority=12.66,
        aliases=("caltech101", "vtab/caltech101"),
    ),
    Task(
        name="CIFAR-100",
        collection="vtab",
        group="natural",
        images="CIFAR-100",
        target="class",
        num_classes=100,
        splits={"train": 800, "val": 200, "test": 10000},
        label="fine label",
        majority=1,
        aliases=("cifar", "vtab/cifar100", "cifar100"),
    ),
    Task(
        name="DTD",
        collection="vtab",
        group="natural",
        images="DTD",
        target="class",
        num_classes=47,
        splits={"train": 800, "val": 200, "test": 1880},
        label="texture, alphabetical",
        majority=2.128,
        aliases=("dtd", "vtab/dtd"),
    ),
    Task(
        name="Flowers102",
        collection="vtab",
        group="natural",
        images="Flowers102",
        target="class",
        num_classes=102,
        splits={"train": 800, "val": 200, "test": 6149},
        label="value of imagelabels.mat minus 1",
        aliases=("oxford_flowers102", "vtab/flowers", "flowers"),
    ),
    Task(
        name="Pets",
        collection="vtab",
        group="natural",
        images="Pets",
        target="class",
        num_classes=37,
        splits={"train": 800, "val": 200, "test": 3669},
        label="breed: CLASS-ID minus 1",
        majority=2.726,
        aliases=("oxford_iiit_pet", "vtab/pets", "pets"),
    ),
    Task(
        name="Sun397",
        collection="vtab",
        group="natural",
        images="Sun397",
        target="class",
        num_classes=397,
        splits={"train": 800, "val": 200, "test": 21750},
        label="scene directory, alphabetical",
        majority=2.018,
        aliases=("sun397",),
    ),
    Task(
        name="SVHN",
        collection="vtab",
        group="natural",
        images="SVHN",
        target="class",
        num_classes=10,
        splits={"train": 800, "val": 200, "test": 26032},
        label="digit; the stored label 10 means 0",
        aliases=("svhn", "vtab/svhn"),
    ),
)
