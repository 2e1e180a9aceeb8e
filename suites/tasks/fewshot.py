"""The tasks of big_vision's few-shot evaluator that are no other collection's: full training sets.

Source: data sets and splits as in big_vision's `configs/common_fewshot.py`. "train" and "val" together are its training
split, in the order of TFDS; suite=fewshot draws support sets from both. "val" is the last tenth, for choosing an l2,
which big_vision does not do. Where TFDS keeps a split in several files, big_vision reads them in turns, so its seeds
draw other images of the same split. CIFAR-100-full and Oxford-IIIT Pets, the other two of its list, are in the
collection "transfer". `task=fewshot/*` names all six.
"""

from __future__ import annotations

from functools import partial

from ..protocol import Task
from . import labels

UC_MERCED = """
agricultural airplane baseballdiamond beach buildings chaparral denseresidential forest freeway golfcourse harbor
intersection mediumresidential mobilehomepark overpass parkinglot river runway sparseresidential storagetanks
tenniscourt
"""

row = partial(Task, collection="fewshot", group="fewshot")

FEWSHOT = (
    row(
        name="Caltech101-full",  # VTAB's Caltech101 has 1000 training images
        image_set="Caltech101",
        num_classes=102,
        head="VTAB-1k caltech101",
        splits={"train": 2754, "val": 306, "test": 6084},
        label="directory name in lower case, alphabetical; background_google is class 4",
        published_splits={"train": 3060, "test": 6084},
        recipe={"train": "train[:2754]", "val": "train[2754:]", "test": "test"},
        builder="caltech101",
        unproven="which 30 images of a class are the official train split depends on the file system it was made on; "
        "only the source tfds has it, others draw from the sorted names",
        majority=12.66,
        aliases=("caltech101-full", "fewshot/caltech"),
    ),
    row(
        name="Stanford Cars",
        image_set="Stanford Cars",
        num_classes=196,
        splits={"train": 7330, "val": 814, "test": 8041},
        label="model and year: class minus 1",
        rule=labels.cars_model,
        published_splits={"train": 8144, "test": 8041},
        recipe={"train": "train[:7330]", "val": "train[7330:]", "test": "test"},
        builder="cars196",
        majority=0.846,  # 68 of 8041: GMC Savana Van 2012
        aliases=("Cars", "Stanford-Cars", "StanfordCars", "cars196", "fewshot/cars"),
    ),
    row(
        name="DTD-full",  # VTAB's DTD has 800 images of `train` and 200 of `validation`
        image_set="DTD",
        num_classes=47,
        head="VTAB-1k dtd",
        splits={"train": 1692, "val": 188, "test": 1880},
        label="texture, alphabetical",
        published_splits={"train": 1880, "validation": 1880, "test": 1880},
        recipe={"train": "train[:1692]", "val": "train[1692:]", "test": "test"},
        builder="dtd",
        majority=2.128,
        aliases=("dtd-full", "fewshot/dtd"),
    ),
    row(
        name="UC Merced",
        image_set="UC Merced",
        num_classes=21,
        splits={"train": 900, "val": 100, "test": 1100},
        label="land use, folder name, alphabetical",
        published_splits={"train": 2100},
        recipe={"train": "train[:900]", "val": "train[900:1000]", "test": "train[1000:]"},
        builder="uc_merced",
        classes=tuple(UC_MERCED.split()),
        majority=5.636,  # 62 of 1100: baseballdiamond
        aliases=("UC-Merced", "UCMerced", "uc_merced", "fewshot/uc_merced"),
    ),
)
