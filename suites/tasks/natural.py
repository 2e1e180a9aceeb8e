"""VTAB's natural tasks: photographs of everyday things, places and digits.

Sources: VTAB paper (arXiv 1910.04867, Section 2 and Appendix A); label rules, splits and sizes as in its public code.
"train" and "val" are train800 and val200 of VTAB-1k. `present` is from task_adaptation, issue 21.
"""

from __future__ import annotations

from functools import partial

from ..protocol import Task
from . import labels

row = partial(Task, collection="vtab", group="natural")

NATURAL = (
    row(
        name="Caltech101",
        image_set="Caltech101",
        target="class",
        num_classes=102,
        head="VTAB-1k caltech101",
        splits={"train": 800, "val": 200, "test": 6084},
        label="directory name in lower case, alphabetical; background_google is class 4",
        other_sizes={"test": 6085},  # in a copy of the vtab-1k folder
        published_splits={"train": 3060, "test": 6084},
        recipe={"train": "train[:800]", "val": "train[2754:2954]", "test": "test"},
        builder="caltech101",
        unproven="which 30 images of a class are the official train split depends on the file system it was made on; "
        "here they are drawn from the sorted names",
        majority=12.66,
        present={"val": 86},
        aliases=("caltech101", "vtab/caltech101"),
    ),
    row(
        name="CIFAR-100",
        image_set="CIFAR-100",
        target="class",
        num_classes=100,
        head="VTAB-1k cifar100",
        small=True,
        splits={"train": 800, "val": 200, "test": 10000},
        label="fine label",
        published_splits={"train": 50000, "test": 10000},
        recipe={"train": "train[:800]", "val": "train[45000:45200]", "test": "test"},
        builder="cifar100",
        majority=1,
        present={"val": 90},
        aliases=("cifar", "vtab/cifar100", "cifar100", "cifar(num_classes=100)"),
    ),
    row(
        name="DTD",
        image_set="DTD",
        target="class",
        num_classes=47,
        head="VTAB-1k dtd",
        splits={"train": 800, "val": 200, "test": 1880},
        label="texture, alphabetical",
        published_splits={"train": 1880, "validation": 1880, "test": 1880},
        recipe={"train": "train[:800]", "val": "validation[:200]", "test": "test"},
        builder="dtd",
        majority=2.128,
        aliases=("dtd", "vtab/dtd"),
    ),
    row(
        name="Flowers102",
        image_set="Flowers102",
        target="class",
        num_classes=102,
        head="VTAB-1k oxford_flowers102",
        splits={"train": 800, "val": 200, "test": 6149},
        label="value of imagelabels.mat minus 1",
        rule=labels.flowers_class,
        published_splits={"train": 1020, "validation": 1020, "test": 6149},
        recipe={"train": "train[:800]", "val": "validation[:200]", "test": "test"},
        builder="oxford_flowers102",
        majority=3.871,  # 238 of 6149: the largest class has 258 images, 20 of them elsewhere
        present={"val": 90},
        aliases=("oxford_flowers102", "vtab/flowers", "flowers"),
    ),
    row(
        name="Pets",
        image_set="Pets",
        target="class",
        num_classes=37,
        head="VTAB-1k oxford_iiit_pet",
        splits={"train": 800, "val": 200, "test": 3669},
        label="breed: CLASS-ID minus 1",
        rule=labels.pets_breed,
        published_splits={"train": 3680, "test": 3669},
        recipe={"train": "train[:800]", "val": "train[2944:3144]", "test": "test"},
        builder="oxford_iiit_pet",
        majority=2.726,
        aliases=("oxford_iiit_pet", "vtab/pets", "pets"),
    ),
    row(
        name="Sun397",
        image_set="Sun397",
        target="class",
        num_classes=397,
        head="VTAB-1k sun397",
        splits={"train": 800, "val": 200, "test": 21750},
        label="scene directory, alphabetical",
        published_splits={"train": 76128, "validation": 10875, "test": 21750},
        recipe={"train": "train[:800]", "val": "validation[:200]", "test": "test"},
        builder="sun397/tfds",
        majority=2.018,
        present={"train": 309},
        aliases=("sun397", "sun397/tfds"),
    ),
    row(
        name="SVHN",
        image_set="SVHN",
        target="class",
        num_classes=10,
        head="VTAB-1k svhn",
        small=True,
        splits={"train": 800, "val": 200, "test": 26032},
        label="digit; the stored label 10 means 0",
        rule=labels.svhn_digit,
        published_splits={"train": 73257, "test": 26032},
        recipe={"train": "train[:800]", "val": "train[65931:66131]", "test": "test"},
        builder="svhn_cropped",
        classes=("0", "1", "2", "3", "4", "5", "6", "7", "8", "9"),
        majority=19.6,
        aliases=("svhn", "vtab/svhn", "svhn_cropped"),
    ),
)
