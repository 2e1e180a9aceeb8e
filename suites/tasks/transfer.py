"""The transfer sets of the ViT and BiT papers: ImageNet and its re-labelled and re-collected test sets, and four more.

Source: ViT paper (arXiv 2010.11929v2, Section 4.1 and Table 4). The learning rate is chosen on a part of the published
training set ("val" here), the final run trains on all of it, and the published test set is scored once. The paper does
not say which part. Here it is the end of the TFDS order; the public code trains on the beginning.
"""

from __future__ import annotations

from functools import partial

from ..protocol import Task
from . import labels

IMAGENET = {"train": 1268355, "val": 12812}  # val is 1 %
IMAGENET_TRAIN = {"train": "train[:1268355]", "val": "train[1268355:]"}

row = partial(Task, collection="transfer", group="transfer")
cifar = partial(
    row,
    splits={"train": 49000, "val": 1000, "test": 10000},  # val is 2 %
    published_splits={"train": 50000, "test": 10000},
    recipe={"train": "train[:49000]", "val": "train[49000:]", "test": "test"},
)
imagenet = partial(row, image_set="ImageNet", num_classes=1000, head="ImageNet")

TRANSFER = (
    imagenet(
        name="ImageNet",
        splits=IMAGENET | {"test": 50000},
        label="class, in the order of WordNet numbers; the test split is the published validation set",
        published_splits={"train": 1281167, "validation": 50000},
        recipe=IMAGENET_TRAIN | {"test": "validation"},
        builder="imagenet2012",
        majority=0.1,
        aliases=("ImageNet-1k", "imagenet2012", "ILSVRC-2012", "imagenet-1k"),
    ),
    imagenet(
        name="ImageNet ReaL",
        target="real",
        splits=IMAGENET | {"test": 46837},
        label="any of the classes that people confirmed (arXiv 2006.07159); images without one are left out",
        published_splits={"train": 1281167, "validation": 50000, "real": 46837},
        recipe=IMAGENET_TRAIN | {"test": "real"},
        larger_split={"test": "validation"},
        builder="imagenet2012_real",
        aliases=("ImageNet-ReaL", "imagenet-real", "imagenet2012_real"),
    ),
    imagenet(
        name="ImageNet-V2",
        target="v2",
        splits=IMAGENET | {"test": 10000},
        label="class, in the order of WordNet numbers; matched-frequency images (arXiv 1902.10811)",
        published_splits={"train": 1281167, "v2": 10000},
        recipe=IMAGENET_TRAIN | {"test": "v2"},
        builder="imagenet_v2",
        majority=0.1,
        aliases=("ImageNetV2", "imagenet_v2", "imagenet-v2-matched-frequency"),
    ),
    imagenet(
        name="ObjectNet",
        target="objectnet",
        splits=IMAGENET | {"test": 18574},
        label="any of the ImageNet classes that ObjectNet's own files give for its class; only classes that have one",
        published_splits={"train": 1281167, "objectnet": 18574},
        recipe=IMAGENET_TRAIN | {"test": "objectnet"},
    ),
    cifar(
        name="CIFAR-10",
        image_set="CIFAR-10",
        num_classes=10,
        label="class",
        builder="cifar10",
        classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
        majority=10,
        aliases=("cifar10", "transfer/cifar10"),
    ),
    cifar(
        name="CIFAR-100-full",  # VTAB's CIFAR-100 has 1000 training images
        image_set="CIFAR-100",
        num_classes=100,
        head="VTAB-1k cifar100",
        small=True,
        label="fine label",
        builder="cifar100",
        majority=1,
        aliases=("cifar100-full", "transfer/cifar100", "transfer/CIFAR-100", "fewshot/cifar100"),
    ),
    row(
        name="Oxford-IIIT Pets",
        image_set="Pets",
        num_classes=37,
        head="VTAB-1k oxford_iiit_pet",
        splits={"train": 3312, "val": 368, "test": 3669},  # val is 10 %
        label="breed: CLASS-ID minus 1",
        rule=labels.pets_breed,
        published_splits={"train": 3680, "test": 3669},
        recipe={"train": "train[:3312]", "val": "train[3312:]", "test": "test"},
        builder="oxford_iiit_pet",
        majority=2.726,
        aliases=("Oxford-IIIT-Pets", "pets-full", "transfer/pets", "fewshot/pets"),
    ),
    row(
        name="Oxford Flowers-102",
        image_set="Flowers102",
        num_classes=102,
        head="VTAB-1k oxford_flowers102",
        splits={"train": 918, "val": 102, "test": 6149},  # 10 % of the 1020 of TFDS's `train`, as in the public code
        label="value of imagelabels.mat minus 1",
        rule=labels.flowers_class,
        published_splits={"train": 1020, "validation": 1020, "test": 6149},
        recipe={"train": "train[:918]", "val": "train[918:]", "test": "test"},
        builder="oxford_flowers102",
        unproven="whether the paper trained on the 1020 images of `train` alone, as the public code does, or on "
        "`validation`, too",
        majority=3.871,  # 238 of 6149: the largest class has 258 images, 20 of them elsewhere
        aliases=("Oxford-Flowers-102", "flowers102-full", "transfer/flowers"),
    ),
)
