"""ImageNet-1k in any of its usual forms, and the sets that are scored with its classes: ReaL, V2, ObjectNet.

The folder is `imagenet` in the data folder (or ImageNet, ILSVRC2012, imagenet2012, or the data folder itself), with

    train/n01440764/*.JPEG                           or ILSVRC2012_img_train.tar, as published
    val/n01440764/*.JPEG                             or all of val/*.JPEG in one folder, or ILSVRC2012_img_val.tar,
    ILSVRC2012_devkit_t12.tar.gz, or unpacked        with one of these two to label them:
    LOC_val_solution.csv, val.csv or labels.csv      lines of "ILSVRC2012_val_00000001,n01751748 …"
    ILSVRC/Data/CLS-LOC/{train,val}                  the same below Kaggle's folders
    real.json                                        ImageNet ReaL: the right classes of each validation image

and beside it imagenetv2-matched-frequency-format-val/0…999/*.jpeg and objectnet-1.0/{images,mappings}. Classes are in
the order of their WordNet numbers, as everywhere.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import tarfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ...images.decode import DAMAGED
from ...protocol import Split, Task
from ..archive import folders_in, names_in
from ..image_set import ImageSet
from ..published import Images, PublishedSplit, absent, cut, files, miscounted
from ..splits import needed
from ..tars import in_tar

FOLDERS = ("imagenet", "ImageNet", "ILSVRC2012", "imagenet2012", "imagenet-1k", ".")
KAGGLE = "ILSVRC/Data/CLS-LOC"
TRAIN_TAR, VAL_TAR = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"
CSVS = ("LOC_val_solution.csv", "val.csv", "labels.csv")
DEVKIT = "ILSVRC2012_devkit_t12"
V2 = ("imagenetv2-matched-frequency-format-val", "imagenetv2-matched-frequency", "imagenetv2")
OBJECTNET = ("objectnet-1.0", "objectnet")
BORDER = 2  # pixels at each edge of ObjectNet's images, red so that nobody trains on them unawares
WNID = re.compile(r"n\d{8}")
ENDINGS = (".jpeg", ".jpg", ".png")


class ImageNet:
    """ImageNet's training and validation images and the test sets that share its classes."""

    name = "imagenet"

    def locate(self, task: Task, root: Path) -> str | None:
        if task.images != "ImageNet":
            return None
        found = (PARTS[name].place(root) for split in ("test", "train") for name in needed(task, split))
        return next((str(place) for place in found if place is not None), None)

    def missing(self, task: Task, root: Path, splits: Sequence[str]) -> str:
        names = dict.fromkeys(name for split in splits for name in needed(task, split))
        return next(filter(None, (PARTS[name].missing(task, root) for name in names)), "")

    def load(self, task: Task, split: str, root: Path, cache: Path) -> Split:
        """The split. Raises ValueError, naming the file, where something is missing, damaged or not as published."""
        if lack := self.missing(task, root, (split,)):
            raise ValueError(f"{task.name}: {lack}")
        return cut(task, split, lambda name: PARTS[name].opened(task, root, cache), cache)


class Part(NamedTuple):
    """A published split of ImageNet's classes."""

    place: Callable[[Path], Path | None]  # where below the data folder it is
    nowhere: str  # what is said where it is nowhere
    lacks: Callable[[Task, Path, Path], str]  # task, data folder, place -> what of it is not there, in words
    open: Callable[[Task, Path, Path, Path], PublishedSplit]  # task, data folder, place, cache

    def missing(self, task: Task, root: Path) -> str:
        place = self.place(root)
        return f"{self.nowhere} {root}" if place is None else self.lacks(task, root, place)

    def opened(self, task: Task, root: Path, cache: Path) -> PublishedSplit:
        place = self.place(root)
        if place is None:
            raise ValueError(f"{self.nowhere} {root}")
        return self.open(task, root, place, cache)


def first_folder(root: Path, names: Iterable[str]) -> Path | None:
    return next((root / name for name in names if (root / name).is_dir()), None)


def home(root: Path, *names: str) -> Path | None:
    """The folder of ImageNet that holds one of these."""
    for folder in FOLDERS:
        for place in (root / folder, root / folder / KAGGLE):
            if any(_holds(place / name) for name in names):
                return place
    return None


def _holds(path: Path) -> bool:
    """Whether this is an archive, or a folder with class folders or with validation images in it."""
    if not path.is_dir():
        return path.is_file()
    with os.scandir(path) as entries:
        return any(WNID.fullmatch(entry.name) or entry.name.startswith("ILSVRC2012_val_") for entry in entries)


def wnids(names: Iterable[str], task: Task, where: Path) -> dict[str, int]:
    """Class numbers of WordNet numbers. Raises ValueError where these are not all of the task's classes."""
    found = sorted(set(names))
    if len(found) != task.num_classes:
        raise ValueError(f"{where} has {len(found)} classes; expected {task.num_classes}")
    return {name: i for i, name in enumerate(found)}


def class_folders(folder: Path) -> list[str]:
    return list(filter(WNID.fullmatch, folders_in(folder)))


def in_class_folders(folder: Path) -> tuple[Images, dict[str, str]]:
    """Images in folders that are called by WordNet number; image name -> that number."""
    of = {name: wnid for wnid in class_folders(folder) for name in names_in(folder / wnid, *ENDINGS)}
    return files(lambda key: folder / of[key] / key), of


# The training images.


def train_lacks(task: Task, root: Path, place: Path) -> str:  # noqa: ARG001
    if not (place / "train").is_dir():
        return ""
    found = len(class_folders(place / "train"))
    return "" if found == task.num_classes else f"{place / 'train'} holds {found} of {task.num_classes} class folders"


def train(task: Task, root: Path, place: Path, cache: Path) -> PublishedSplit:  # noqa: ARG001
    if (place / "train").is_dir():
        return labelled(task, place / "train")
    images, keys = in_tar(place / TRAIN_TAR, cache)
    numbers = wnids((key.split("_")[0] for key in keys), task, place / TRAIN_TAR)
    return PublishedSplit(keys=keys, images=images, label=lambda key: numbers[key.split("_")[0]])


def labelled(task: Task, folder: Path) -> PublishedSplit:
    """A split whose class folders are its labels."""
    numbers = wnids(class_folders(folder), task, folder)
    images, of = in_class_folders(folder)
    return PublishedSplit(keys=list(of), images=images, label=lambda key: numbers[of[key]])


# The validation images, and their labels where the folders do not say them.


def validation_place(root: Path) -> Path | None:
    return home(root, "val", VAL_TAR)


def validation_lacks(task: Task, root: Path, place: Path) -> str:  # noqa: ARG001
    folder = place / "val"
    if folder.is_dir():
        folders = class_folders(folder)
        found = sum(len(names_in(folder / name, *ENDINGS)) for name in folders) or len(names_in(folder, *ENDINGS))
        lack = miscounted(folder, found, task.originals.get("validation", found))
        if lack or folders:
            return lack
    if label_file(place) is None:
        return f"{place} has no labels for the validation images: {DEVKIT}.tar.gz, {', '.join(CSVS)}"
    return ""


def validation(task: Task, root: Path, place: Path, cache: Path) -> PublishedSplit:
    folder = place / "val"
    if folder.is_dir() and class_folders(folder):
        return labelled(task, folder)
    labels = label_file(place)
    if labels is None:
        raise ValueError(validation_lacks(task, root, place))
    images, keys = validation_images(place, cache)
    said = from_csv(labels) if labels.suffix == ".csv" else from_devkit(labels, keys)
    numbers = wnids(said.values(), task, labels)
    alone = next((key for key in keys if key.split(".")[0] not in said), None)
    if alone is not None:
        raise ValueError(f"{labels} has no label for {alone}")
    return PublishedSplit(
        keys=keys,
        images=images,
        label=lambda key: numbers[said[key.split(".")[0]]],
        files=(labels,) if labels.is_file() else (),
    )


def validation_images(place: Path, cache: Path) -> tuple[Images, Sequence[str]]:
    """The images of the validation set, however they lie, and their names in order."""
    folder = place / "val"
    if not folder.is_dir():
        return in_tar(place / VAL_TAR, cache)
    images, of = in_class_folders(folder)
    if of:
        return images, sorted(of)
    return files(lambda key: folder / key), names_in(folder, *ENDINGS)


def label_file(place: Path) -> Path | None:
    """What says the classes of the validation images: a CSV file, or the development kit, packed or not."""
    above = (place, place.parents[2]) if place.as_posix().endswith(KAGGLE) else (place,)
    for folder in above:
        found = [folder / name for name in (*CSVS, f"val/{CSVS[1]}", f"val/{CSVS[2]}", f"{DEVKIT}.tar.gz")]
        if file := next((file for file in found if file.is_file()), None):
            return file
        if (folder / DEVKIT / "data").is_dir():
            return folder / DEVKIT
    return None


def from_csv(path: Path) -> dict[str, str]:
    """Image name (without ending) -> WordNet number, of lines "name,n01751748 …"; headings may come first."""
    said: dict[str, str] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for number, row in enumerate(csv.reader(file), start=1):
                word = row[1].split()[0] if len(row) > 1 and row[1].strip() else ""
                if WNID.fullmatch(word):
                    said[Path(row[0].strip()).name.split(".")[0]] = word
                elif number > 1 and row:
                    raise ValueError(f"line {number}: expected 'image,n01234567', found '{','.join(row)[:80]}'")
    except (OSError, UnicodeDecodeError, csv.Error, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
    return said


def from_devkit(path: Path, keys: Sequence[str]) -> dict[str, str]:
    """The same from the development kit: a class number a line for the images in the order of their names."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    parts = ("data/meta.mat", "data/ILSVRC2012_validation_ground_truth.txt")
    try:
        if path.is_dir():
            meta, truth = ((path / part).read_bytes() for part in parts)
        else:
            with tarfile.open(path) as archive:
                meta, truth = (_content(archive, f"{DEVKIT}/{part}") for part in parts)
        synsets = loadmat(io.BytesIO(meta), squeeze_me=True)["synsets"]
        names = {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in synsets if int(row["num_children"]) == 0}
        wanted = [names[int(line)] for line in truth.split()]
    except (MatReadError, tarfile.TarError, *DAMAGED) as error:
        raise ValueError(f"{path} is not readable as ImageNet's development kit: {error!r}") from error
    if len(wanted) != len(keys):
        raise ValueError(f"{path} labels {len(wanted)} validation images; there are {len(keys)}")
    return {key.split(".")[0]: name for key, name in zip(sorted(keys), wanted, strict=True)}


def _content(archive: tarfile.TarFile, name: str) -> bytes:
    member = archive.extractfile(name)
    if member is None:
        raise KeyError(name)
    return member.read()


# ImageNet ReaL: all right classes of the validation images (arXiv 2006.07159).


def real_place(root: Path) -> Path | None:
    place = validation_place(root)
    folders = [root, root / "imagenet-real", *((place, place / "val") if place else ())]
    return next((folder / "real.json" for folder in folders if (folder / "real.json").is_file()), None)


def real_lacks(task: Task, root: Path, path: Path) -> str:  # noqa: ARG001  # the images, whose labels it has itself
    return f"{NO_VALIDATION} {root}" if validation_place(root) is None else ""


def real(task: Task, root: Path, path: Path, cache: Path) -> PublishedSplit:  # noqa: ARG001
    place = validation_place(root)
    assert place is not None
    images, names = validation_images(place, cache)
    sets = _json(path)
    if not isinstance(sets, list) or len(sets) != len(names):
        raise ValueError(f"{path} labels {len(sets)} images; ImageNet's validation set here has {len(names)}")
    kept = {name: classes for name, classes in zip(names, sets, strict=True) if classes}  # in the order of the names
    return PublishedSplit(
        keys=list(kept),
        images=images,
        label=lambda key: int(kept[key][0]),
        label_set=lambda key: tuple(sorted(map(int, kept[key]))),
        files=(path,),
    )


# ImageNet-V2, matched frequency (arXiv 1902.10811).


def v2_lacks(task: Task, root: Path, place: Path) -> str:  # noqa: ARG001
    gone = next((i for i in range(task.num_classes) if not (place / str(i)).is_dir()), None)
    return "" if gone is None else f"{place / str(gone)} is missing"


def v2(task: Task, root: Path, place: Path, cache: Path) -> PublishedSplit:  # noqa: ARG001
    # Folders are class numbers: in alphabetical order, as an ImageFolder would have them, 10 comes before 2.
    keys = [f"{i}/{name}" for i in range(task.num_classes) for name in names_in(place / str(i), *ENDINGS)]
    return PublishedSplit(keys=keys, images=files(lambda key: place / key), label=lambda key: int(key.split("/")[0]))


# ObjectNet: the images of its classes that ImageNet has, too.


def objectnet_lacks(task: Task, root: Path, place: Path) -> str:  # noqa: ARG001
    return absent(place / "mappings", *MAPPINGS) if (place / "images").is_dir() else f"{place / 'images'} is missing"


def objectnet(task: Task, root: Path, place: Path, cache: Path) -> PublishedSplit:  # noqa: ARG001
    classes = objectnet_classes(place / "mappings")
    keys = [f"{name}/{file}" for name in sorted(classes) for file in names_in(place / "images" / name, *ENDINGS)]
    return PublishedSplit(
        keys=keys,
        images=files(lambda key: place / "images" / key, border=BORDER),
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
    """Folder -> the ImageNet classes that it stands for, of the folders that stand for any.

    ObjectNet's files lead from folders to names, from names to the names of ImageNet classes (several, between
    semicolons), from those to line numbers, and from line numbers to the classes in WordNet order.
    """
    folders, meanings, order = (_json(mappings / name) for name in MAPPINGS[:3])
    try:
        lines = (mappings / MAPPINGS[3]).read_text(encoding="utf-8").splitlines()
        number = {int(line): int(index) for index, line in order.items()}
        of_label = {line.strip(): number[i] for i, line in enumerate(lines) if line.strip()}
        return {
            folder: tuple(sorted(of_label[word.strip()] for word in meanings[label].split(";")))
            for folder, label in folders.items()
            if label in meanings
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
        train_lacks,
        train,
    ),
    "validation": Part(validation_place, NO_VALIDATION, validation_lacks, validation),
    "real": Part(real_place, "real.json is not beside ImageNet's validation images, nor in", real_lacks, real),
    "v2": Part(lambda root: first_folder(root, V2), f"no folder {V2[0]} is in", v2_lacks, v2),
    "objectnet": Part(
        lambda root: first_folder(root, OBJECTNET), f"no folder {OBJECTNET[0]} is in", objectnet_lacks, objectnet
    ),
}

IMAGENET = ImageSet(
    name="ImageNet",
    by_hand="ImageNet wants an account and its terms accepted. 1. Get ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar "
    "and ILSVRC2012_devkit_t12.tar.gz from image-net.org. 2. Put them in {root}/imagenet",
)
