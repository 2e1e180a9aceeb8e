"""The miniature: nine small built-in tasks, rendered when needed, for a first run, for teaching and for tests.

They have the form of VTAB-1k (three groups, 800 + 200 labelled images, a fixed test set) and need no download: images
are drawn, or cut from pictures that ship with scikit-image and scikit-learn. They are not VTAB: train and test crops
come from the same pictures, labels come from formulas instead of experts, and the test sets are small (a standard
error near 1.5 points at 50 %). They show whether a pipeline works and roughly which of two models is better. Their
scores must never be compared with published VTAB numbers.

Train and val crops come from the left 58 % of each picture, test crops from the right 38 %: no pixel is shared.
"""

from __future__ import annotations

from functools import partial

from ..protocol import Task

row = partial(Task, collection="vtab-mini", splits={"train": 800, "val": 200, "test": 1000})

TASKS = (
    row(
        name="digits",
        group="natural",
        image_set="digits",
        target="digit",
        num_classes=10,
        splits={"train": 800, "val": 200, "test": 797},
        label="the handwritten digit",
        flip=False,
        mirrors="SVHN: digit recognition. Clean, centred 8 x 8 scans of 13 writers; no clutter, colour or perspective, "
        "and writers are not kept apart between the splits.",
        classes=tuple("0123456789"),
        majority=12.05,
    ),
    row(
        name="photos",
        group="natural",
        image_set="photos",
        target="picture",
        num_classes=10,
        label="which of ten pictures the grey crop is from",
        mirrors="Caltech101, Sun397 and DTD: objects, scenes and textures in grey photographs. One picture a class: it "
        "tests recognition of seen pictures at unseen places, not of object classes.",
        classes=("astronaut", "brick", "camera", "cat", "clock", "coffee", "coins", "grass", "gravel", "handwriting"),
        majority=11.2,
    ),
    row(
        name="tissue",
        group="specialized",
        image_set="tissue",
        target="stained",
        num_classes=2,
        label="whether the centre 16 x 16 of 64 x 64 pixels is stained tissue, in a random staining, perhaps inverted",
        mirrors="Patch Camelyon: is there tumour in the centre of a histology patch. One slide, and the label is a "
        "colour rule on the original stain, not a pathologist's.",
        classes=("stroma", "epithelium"),
        majority=50.7,
    ),
    row(
        name="sensor",
        group="specialized",
        image_set="sensor",
        target="sensor",
        num_classes=5,
        label="what kind of imaging made the grey 32 x 32 crop, at equal brightness and contrast",
        mirrors="Resisc45 and EuroSAT: texture seen from above, in any orientation. No aerial image is among them, and "
        "four of the five classes are one picture each.",
        classes=("histology", "holography", "fundus", "photograph", "handwriting"),
        majority=20.6,
    ),
    row(
        name="lesions",
        group="specialized",
        image_set="lesions",
        target="grade",
        num_classes=5,
        label="grade by the number of dark red dots in a drawn retina: 0, 1-2, 3-5, 6-9, 10-15",
        mirrors="Diabetic Retinopathy: an ordinal grade from small lesions. A drawing: nothing of real disease, of "
        "cameras or of disagreeing graders is in it.",
        classes=("0", "1-2", "3-5", "6-9", "10-15"),
        majority=23.1,
    ),
    row(
        name="sprite-x",
        group="structured",
        image_set="sprites",
        target="x",
        num_classes=16,
        label="horizontal position of the sprite: 32 positions floor-divided by 2",
        crop=False,
        flip=False,
        mirrors="dSprites location: the same rule on other shapes (heart, arrow, L) with half-pixel differences. White "
        "on black, one object.",
        majority=7.0,
    ),
    row(
        name="sprite-angle",
        group="structured",
        image_set="sprites",
        target="angle",
        num_classes=16,
        label="orientation of the sprite: 32 angles over the full turn floor-divided by 2",
        flip=False,
        mirrors="dSprites orientation, without its two ambiguities: no shape is symmetric under rotation, and 0 and a "
        "full turn are not two classes.",
        majority=7.7,
    ),
    row(
        name="count",
        group="structured",
        image_set="scenes",
        target="count",
        num_classes=8,
        label="number of objects, 3 to 10, less 3",
        crop=False,
        mirrors="CLEVR count: the same classes, on coloured solids that hide at most 45 % of one another. No ray "
        "tracing, no shadows, and objects as small as five pixels.",
        classes=("3", "4", "5", "6", "7", "8", "9", "10"),
        majority=14.4,
    ),
    row(
        name="nearest",
        group="structured",
        image_set="scenes",
        target="nearest",
        num_classes=6,
        label="class of the smallest depth of an object, in object heights, edges 4, 4.8, 5.75, 6.9, 8.3, 10 and 12",
        crop=False,
        mirrors="CLEVR distance, DMLab and KITTI: distance to the closest object. Depth is read from a flat ground and "
        "from sizes that vary by 10 %.",
        majority=17.9,
    ),
)
