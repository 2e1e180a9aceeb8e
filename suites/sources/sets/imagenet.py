"""ImageNet-1k in its usual forms on disk, and the test sets with its classes: ReaL, V2, ObjectNet.

The folder is `imagenet` in the data folder (or ImageNet, ILSVRC2012, imagenet2012, or the data folder itself), with

    train/n01440764/*.JPEG                           or ILSVRC2012_img_train.tar, as published
    val/n01440764/*.JPEG                             or all of val/*.JPEG in one folder, or ILSVRC2012_img_val.tar,
    ILSVRC2012_devkit_t12.tar.gz, or unpacked        with one of these two to label them:
    LOC_val_solution.csv, val.csv or labels.csv      lines of "ILSVRC2012_val_00000001,n01751748 …"
    ILSVRC/Data/CLS-LOC/{train,val}                  the same below Kaggle's folders
    real.json                                        ImageNet ReaL: the correct classes of each validation image

and beside it imagenetv2-matched-frequency-format-val/0…999/*.jpeg and objectnet-1.0/{images,mappings}. Classes are in
the order of their WordNet numbers (wnids).
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import tarfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from ...images.decode import DAMAGED
from ...protocol import Split, Task
from ..image_set import ImageSet
from ..published import Images, PublishedSplit, cut_split, image_files, missing_file, wrong_count
from ..reading import file_names, folder_names
from ..splits import published_splits_of
from ..tars import in_tar

FOLDERS = ("imagenet", "ImageNet", "ILSVRC2012", "imagenet2012", "imagenet-1k", ".")
KAGGLE = "ILSVRC/Data/CLS-LOC"
TRAIN_TAR, VAL_TAR = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"
CSVS = ("LOC_val_solution.csv", "val.csv", "labels.csv")
DEVKIT = "ILSVRC2012_devkit_t12"
V2 = ("imagenetv2-matched-frequency-format-val", "imagenetv2-matched-frequency", "imagenetv2")
OBJECTNET = ("objectnet-1.0", "objectnet")
BORDER = 2  # pixels at each edge of ObjectNet's images: a red frame
WNID = re.compile(r"n\d{8}")
ENDINGS = (".jpeg", ".jpg", ".png")


class ImageNet:
    """The source of ImageNet and of the test sets with its classes."""

    name = "imagenet"

    def locate(self, task: Task, root: Path) -> str | None:
        if task.image_set != "ImageNet":
            return None
        places = (PARTS[name].place(root) for split in ("test", "train") for name in published_splits_of(task, split))
        return next((str(place) for place in places if place is not None), None)

    def missing(self, task: Task, root: Path, splits: Sequence[str]) -> str:
        names = dict.fromkeys(name for split in splits for name in published_splits_of(task, split))
        return next(filter(None, (PARTS[name].missing(task, root) for name in names)), "")

    def load(self, task: Task, split: str, root: Path, cache: Path) -> Split:
        """The split. Raises ValueError, naming the file, if one is missing, damaged or not as published."""
        if missing := self.missing(task, root, (split,)):
            raise ValueError(f"{task.name}: {missing}")
        return cut_split(task, split, lambda name: PARTS[name].open_in(task, root, cache), cache)


class Part(NamedTuple):
    """A published split with ImageNet's classes."""

    place: Callable[[Path], Path | None]  # data folder -> its file or folder
    absent: str  # message without a place; the data folder follows
    missing_in: Callable[[Task, Path, Path], str]  # task, data folder, place -> what it lacks, in words
    open: Callable[[Task, Path, Path, Path], PublishedSplit]  # task, data folder, place, cache

    def missing(self, task: Task, root: Path) -> str:
        place = self.place(root)
        return f"{self.absent} {root}" if place is None else self.missing_in(task, root, place)

    def open_in(self, task: Task, root: Path, cache: Path) -> PublishedSplit:
        place = self.place(root)
        assert place is not None  # `missing` has looked
        return self.open(task, root, place, cache)


def first_folder(root: Path, names: Iterable[str]) -> Path | None:
    return next((root / name for name in names if (root / name).is_dir()), None)


def home(root: Path, *names: str) -> Path | None:
    """The ImageNet folder that holds a file or folder of one of these names; None if there is none."""
    places = (root / folder / below for folder in FOLDERS for below in ("", KAGGLE))
    return next((place for place in places if any(_has_images(place / name) for name in names)), None)


def _has_images(path: Path) -> bool:
    """Whether this is a file, or a folder with class folders or validation images."""
    if not path.is_dir():
        return path.is_file()
    with os.scandir(path) as entries:
        return any(WNID.fullmatch(entry.name) or entry.name.startswith("ILSVRC2012_val_") for entry in entries)


def labelled(
    task: Task, where: Path, images: Images, wnid_of: Mapping[str, str], classes: Iterable[str] | None = None
) -> PublishedSplit:
    """A split of images by name, and the wnid of each. Raises ValueError for another number of classes than the task's.

    `classes`: the wnids of all classes, where some may have no image.
    """
    wnids = sorted(set(wnid_of.values() if classes is None else classes))
    if len(wnids) != task.num_classes:
        raise ValueError(f"{where} has {len(wnids)} classes; expected {task.num_classes}")
    numbers = {wnid: i for i, wnid in enumerate(wnids)}
    return PublishedSplit(keys=list(wnid_of), images=images, label=lambda key: numbers[wnid_of[key]])


def class_folders(folder: Path) -> list[str]:
    return list(filter(WNID.fullmatch, folder_names(folder)))


def in_class_folders(folder: Path) -> tuple[Images, dict[str, str]]:
    """Images in class folders, and image name -> wnid."""
    wnid_of = {name: wnid for wnid in class_folders(folder) for name in file_names(folder / wnid, *ENDINGS)}
    return image_files(lambda key: folder / wnid_of[key] / key), wnid_of


# Training images.


def train_missing(task: Task, root: Path, place: Path) -> str:  # noqa: ARG001
    if not (place / "train").is_dir():
        return ""
    count = len(class_folders(place / "train"))
    return "" if count == task.num_classes else f"{place / 'train'} holds {count} of {task.num_classes} class folders"


def train(task: Task, root: Path, place: Path, cache: Path) -> PublishedSplit:  # noqa: ARG001
    if (place / "train").is_dir():
        return by_class_folder(task, place / "train")
    images, keys = in_tar(place / TRAIN_TAR, cache)
    return labelled(task, place / TRAIN_TAR, images, {key: key.split("_")[0] for key in keys})


def by_class_folder(task: Task, folder: Path) -> PublishedSplit:
    """A split whose labels are its class folders."""
    return labelled(task, folder, *in_class_folders(folder), classes=class_folders(folder))


# Validation images, in class folders or with a file of labels.


def validation_place(root: Path) -> Path | None:
    return home(root, "val", VAL_TAR)


def validation_missing(task: Task, root: Path, place: Path) -> str:  # noqa: ARG001
    folder = place / "val"
    if folder.is_dir():
        folders = class_folders(folder)
        count = sum(len(file_names(folder / name, *ENDINGS)) for name in folders) or len(file_names(folder, *ENDINGS))
        problem = wrong_count(folder, count, task.published_splits.get("validation", count))
        if problem or folders:
            return problem
    unlabelled = f"{place} has no labels for the validation images: {DEVKIT}.tar.gz, {', '.join(CSVS)}"
    return "" if label_file(place) else unlabelled


def validation(task: Task, root: Path, place: Path, cache: Path) -> PublishedSplit:
    folder = place / "val"
    if folder.is_dir() and class_folders(folder):
        return by_class_folder(task, folder)
    labels = label_file(place)
    if labels is None:
        raise ValueError(validation_missing(task, root, place))
    images, keys = validation_images(place, cache)
    wnids = wnids_from_csv(labels) if labels.suffix == ".csv" else wnids_from_devkit(labels, keys)
    wnid_of = {key: wnids.get(key.split(".")[0], "") for key in keys}
    split = labelled(task, labels, images, wnid_of, classes=wnids.values())
    if unlabelled := next((key for key, wnid in wnid_of.items() if not wnid), ""):
        raise ValueError(f"{labels} has no label for {unlabelled}")
    return replace(split, files=(labels,) if labels.is_file() else ())


def validation_images(place: Path, cache: Path) -> tuple[Images, Sequence[str]]:
    """The validation images, from any of their layouts, and their sorted names."""
    folder = place / "val"
    if not folder.is_dir():
        return in_tar(place / VAL_TAR, cache)
    images, wnid_of = in_class_folders(folder)
    if wnid_of:
        return images, sorted(wnid_of)
    return image_files(lambda key: folder / key), file_names(folder, *ENDINGS)


def label_file(place: Path) -> Path | None:
    """The file that labels the validation images: a CSV file, or the development kit, archive or folder."""
    folders = (place, place.parents[2]) if place.as_posix().endswith(KAGGLE) else (place,)
    for folder in folders:
        candidates = [folder / name for name in (*CSVS, f"val/{CSVS[1]}", f"val/{CSVS[2]}", f"{DEVKIT}.tar.gz")]
        if file := next((file for file in candidates if file.is_file()), None):
            return file
        if (folder / DEVKIT / "data").is_dir():
            return folder / DEVKIT
    return None


def wnids_from_csv(path: Path) -> dict[str, str]:
    """Image name without suffix -> wnid, from lines "name,n01751748 …". The first line may be a header."""
    wnid_of: dict[str, str] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for number, row in enumerate(csv.reader(file), start=1):
                word = row[1].split()[0] if len(row) > 1 and row[1].strip() else ""
                if WNID.fullmatch(word):
                    wnid_of[Path(row[0].strip()).name.split(".")[0]] = word
                elif number > 1 and row:
                    raise ValueError(f"line {number}: expected 'image,n01234567', found '{','.join(row)[:80]}'")
    except (OSError, UnicodeDecodeError, csv.Error, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
    return wnid_of


def wnids_from_devkit(path: Path, keys: Sequence[str]) -> dict[str, str]:
    """Image name without suffix -> wnid, from the development kit: line i has the class of image i, sorted by name."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    parts = ("data/meta.mat", "data/ILSVRC2012_validation_ground_truth.txt")
    try:
        if path.is_dir():
            meta, truth = ((path / part).read_bytes() for part in parts)
        else:
            with tarfile.open(path) as archive:
                meta, truth = (archive.extractfile(f"{DEVKIT}/{part}").read() for part in parts)  # pyright: ignore
        synsets = loadmat(io.BytesIO(meta), squeeze_me=True)["synsets"]
        names = {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in synsets if int(row["num_children"]) == 0}
        labels = [names[int(line)] for line in truth.split()]
    except (MatReadError, tarfile.TarError, *DAMAGED) as error:
        raise ValueError(f"{path} is not readable as ImageNet's development kit: {error!r}") from error
    if len(labels) != len(keys):
        raise ValueError(f"{path} labels {len(labels)} validation images; there are {len(keys)}")
    return {key.split(".")[0]: wnid for key, wnid in zip(sorted(keys), labels, strict=True)}


# ImageNet ReaL: all correct classes of each validation image (arXiv 2006.07159).


def real_place(root: Path) -> Path | None:
    place = validation_place(root)
    folders = [root, root / "imagenet-real", *((place, place / "val") if place else ())]
    return next((folder / "real.json" for folder in folders if (folder / "real.json").is_file()), None)


def real_missing(task: Task, root: Path, path: Path) -> str:  # noqa: ARG001  # it needs the images, not their labels
    return f"{NO_VALIDATION} {root}" if validation_place(root) is None else ""


def real(task: Task, root: Path, path: Path, cache: Path) -> PublishedSplit:  # noqa: ARG001
    place = validation_place(root)
    assert place is not None
    images, names = validation_images(place, cache)
    sets = _json(path)
    if not isinstance(sets, list) or len(sets) != len(names):
        raise ValueError(f"{path} labels {len(sets)} images; ImageNet's validation set here has {len(names)}")
    classes_of = {name: classes for name, classes in zip(names, sets, strict=True) if classes}  # both sorted by name
    return PublishedSplit(
        keys=list(classes_of),
        images=images,
        label=lambda key: int(classes_of[key][0]),
        label_set=lambda key: tuple(sorted(map(int, classes_of[key]))),
        files=(path,),
    )


# ImageNet-V2, matched frequency (arXiv 1902.10811).


def v2_missing(task: Task, root: Path, place: Path) -> str:  # noqa: ARG001
    folders = (place / str(i) for i in range(task.num_classes))
    return next((f"{folder} is missing" for folder in folders if not folder.is_dir()), "")


def v2(task: Task, root: Path, place: Path, cache: Path) -> PublishedSplit:  # noqa: ARG001
    # Folder names are class numbers. torchvision's ImageFolder would sort them as text, 10 before 2.
    keys = [f"{i}/{name}" for i in range(task.num_classes) for name in file_names(place / str(i), *ENDINGS)]
    return PublishedSplit(
        keys=keys, images=image_files(lambda key: place / key), label=lambda key: int(key.split("/")[0])
    )


# ObjectNet: the images of those classes that ImageNet has too.


def objectnet_missing(task: Task, root: Path, place: Path) -> str:  # noqa: ARG001
    return (
        missing_file(place / "mappings", *MAPPINGS) if (place / "images").is_dir() else f"{place / 'images'} is missing"
    )


def objectnet(task: Task, root: Path, place: Path, cache: Path) -> PublishedSplit:  # noqa: ARG001
    classes = objectnet_classes(place / "mappings")
    keys = [f"{name}/{file}" for name in sorted(classes) for file in file_names(place / "images" / name, *ENDINGS)]
    return PublishedSplit(
        keys=keys,
        images=image_files(lambda key: place / "images" / key, border=BORDER),
        label=lambda key: classes[key.split("/")[0]][0],
        label_set=lambda key: classes[key.split("/")[0]],
        files=tuple(place / "mappings" / name for name in MAPPINGS),
    )


MAPPINGS = (
    "folder_to_objectnet_label.json",
    "objectnet_to_imagenet_1k.json",
    "pytorch_to_imagenet_2012_id.json",
    "imagenet_to_label_2012_v2",
)


def objectnet_classes(mappings: Path) -> dict[str, tuple[int, ...]]:
    """Folder -> its ImageNet classes, for the folders that have any.

    ObjectNet's files map folders to labels, labels to ImageNet's names (separated by semicolons), those to line
    numbers, and line numbers to classes in WordNet order.
    """
    folders, imagenet_names, order = (_json(mappings / name) for name in MAPPINGS[:3])
    try:
        lines = (mappings / MAPPINGS[3]).read_text(encoding="utf-8").splitlines()
        number = {int(line): int(index) for index, line in order.items()}
        class_of = {line.strip(): number[i] for i, line in enumerate(lines) if line.strip()}
        return {
            folder: tuple(sorted(class_of[name.strip()] for name in imagenet_names[label].split(";")))
            for folder, label in folders.items()
            if label in imagenet_names
        }
    except (OSError, UnicodeDecodeError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{mappings} does not map ObjectNet's folders to ImageNet's classes: {error!r}") from error


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not readable as JSON: {error}") from error


NO_VALIDATION = f"no folder imagenet with val, or with {VAL_TAR}, is in"
PARTS: Mapping[str, Part] = {
    "train": Part(
        lambda root: home(root, "train", TRAIN_TAR),
        f"no folder imagenet with train, or with {TRAIN_TAR}, is in",
        train_missing,
        train,
    ),
    "validation": Part(validation_place, NO_VALIDATION, validation_missing, validation),
    "real": Part(real_place, "real.json is not beside ImageNet's validation images, nor in", real_missing, real),
    "v2": Part(lambda root: first_folder(root, V2), f"no folder {V2[0]} is in", v2_missing, v2),
    "objectnet": Part(
        lambda root: first_folder(root, OBJECTNET), f"no folder {OBJECTNET[0]} is in", objectnet_missing, objectnet
    ),
}

IMAGENET = ImageSet(
    name="ImageNet",
    by_hand="ImageNet needs an account and accepted terms. 1. Get ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar "
    "and ILSVRC2012_devkit_t12.tar.gz from image-net.org. 2. Put them in {root}/imagenet",
)
