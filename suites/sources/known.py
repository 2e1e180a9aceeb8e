"""What is publicly known of data sets beyond counts: class histograms to check against, and traps to point out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

# Images of each class of the test split: statistics of a public copy, confirmed by two leaderboard entries that name
# one class throughout (24.5067 % is 3676 of 15000, 12.3467 % is 1852 of 15000).
HISTOGRAMS: Mapping[str, Sequence[int]] = {
    "Clevr-Count": (1898, 1925, 1843, 1852, 1808, 1941, 1877, 1856),
    "Clevr-Dist": (2996, 3676, 3381, 2370, 1357, 1220),
}

# Classes that occur, (task, split) -> number: google-research/task_adaptation, issue 21.
CLASSES: Mapping[tuple[str, str], int] = {
    ("Sun397", "train"): 309,
    ("CIFAR-100", "val"): 90,
    ("Flowers102", "val"): 90,
    ("Caltech101", "val"): 86,
}

NOTES: Mapping[str, str] = {
    "Caltech101": "The official train split was drawn in the order in which a file system listed the files, so nobody "
    "can rebuild it: train and val are of the right size and kind, not the official images. A test set of 6085 images "
    "also circulates; 6084 is VTAB's own number.",
    "Sun397": "c/church/outdoor/sun_bhenjvsvrtumjuri.jpg decodes differently from one program to the next, and "
    "t/track/outdoor/sun_aophkoiosslinihb.jpg not at all in TensorFlow; TFDS leaves both out. Images are the "
    "published ones; TFDS shrinks them to 120 000 pixels and saves them again.",
    "Retinopathy": "Kaggle's test set of 53576 images is validation (10906) and test (42670) together. Plain accuracy "
    "hardly ranks models here: 73.6 % of the test set is grade 0.",
    "Camelyon": "29383 of the 32768 test images are distinct.",
    "dSpr-Ori": "Orientations 0 and 39 are the same picture and yet bins 0 and 15.",
    "KITTI-Dist": "The videos of each split follow the public code; nothing published proves them.",
    "Pets": "TFDS saved 12 files of the archive again, which have another format than their name says.",
    "EuroSAT": "No official split exists: everything depends on the TFDS order.",
}


def note(images: str, name: str, source: str) -> str:
    """What one should know of a task from this source, in words; "" where there is nothing."""
    if source == "vtab-1k":
        return "The folder's images were saved again as JPEG of quality 75: another input than the official one."
    return NOTES.get(name, NOTES.get(images, ""))
