"""The released weights of each row: their tags and files, what is published about them, and their place on the disk.

They are read from checkpoints.csv, which has the names and numbers that the releases' own pages, the papers and
timm's model table state, with source and verification. A line with a tag is a Release; the others are published numbers
only. One line stands for the 285 files of BiT-M fine-tuned on VTAB-1k: braces in its file name list choices, and {0},
{1} and {2} in its other columns stand for the first, second and third choice.

Tags. A tag is made of the release, the data of pre-training, and the data and image size of fine-tuning:
`in21k`, `in21k-ft-in1k-384`, `sam`, `augreg-in21k`, `augreg-in21k-ft-in1k-224`, `augreg-in21k-ft-pets-224`,
`augreg-in1k-224`, `bit-s`, `bit-m`, `bit-m-in1k`, `distilled-224`, `teacher-384`, `vtab-run0-caltech101`. Where several
files of a row would have the same tag, the file that the release recommends has it (else the one made from the
recommended pre-training), and the tag of the others is the stem of their file. The stem and timm's name are accepted
instead of a tag where they are not ambiguous: ViT-B_16 is the stem of three files.
"""

from __future__ import annotations

import csv
import itertools
import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from ...registry import UsageError, suggest
from ...stable import cache_folder
from ..provenance import Head, Provenance

TABLE = Path(__file__).with_name("checkpoints.csv")
PACKAGED = Path(__file__).parent  # below it lie the files that come with this package: fractals/
IMAGES = {"ImageNet-21k": 14_000_000, "ImageNet": 1_300_000}  # ViT paper, Section 4.1: "14M images", "1.3M images"
HUB_FILE = "model.safetensors"


@dataclass(frozen=True, kw_only=True)
class Release:
    """A published file of weights. Numbers are as published, None where there are none; see `source` and `note`."""

    model: str  # the row it fits
    tag: str
    file_name: str  # in the public buckets: bucket/folder/file
    family: str  # the release
    pretrain: str  # data, and epochs where stated: "ImageNet-21k (300 ep)"
    finetune: str  # data, "" where it was not fine-tuned
    resolution: int | None  # pixels, of the last training; None where it is not stated or sources differ
    resolution_as_stated: str
    published_top1: float | None  # percent, on the test images of the data it was fine-tuned on
    published_top1_as_stated: str  # "75.40": its last digit shows how it was rounded
    published_top1_basis: str  # the statement that the number comes from, often not about this file
    top1_of: str  # "file" where it is this file's; "configuration": of another training run by the same recipe
    size: str  # as stated: "393.69 MiB"
    hub_timm: str  # timm's id of the model
    hub_hf: str
    hub_same: bool  # timm's own table says that its file on the hub is made from this file
    timm_resolution: int | None
    timm_top1: float | None  # percent, measured by timm at timm_resolution
    timm_real_top1: float | None  # likewise, with ReaL labels
    core_days: float | None  # of pre-training, on TPUv3: ViT paper, Table 2
    source: str
    verification: str
    note: str

    @property
    def stem(self) -> str:
        return PurePosixPath(self.file_name).stem

    @property
    def bytes(self) -> int | None:
        """The file's approximate size; None where it is not stated."""
        number, _, unit = self.size.partition(" ")
        return round(float(number) * {"MiB": 2**20, "GiB": 2**30}[unit]) if number else None

    @property
    def head(self) -> Head:
        """The classes of the file's head, and the size of the images it was last trained on."""
        return Head(data=self.finetune or self.provenance.pretrain or "", image_size=self.resolution)

    @property
    def provenance(self) -> Provenance:
        """How the weights were trained, for the columns of records."""
        stated = re.fullmatch(r"(.*?)(?: \((\d+) ep\))?", self.pretrain)
        assert stated is not None
        data, epochs = stated.groups()
        size = "" if self.resolution is None else f" at {self.resolution} px"
        return Provenance(
            pretrain=f"{data}, fine-tuned on {self.finetune}{size}" if self.finetune else data,
            images=IMAGES.get(data),
            epochs=float(epochs) if epochs else None,
            core_days=self.core_days,
        )


def stem(model: str) -> str:
    """A model's name as it is in file names: ViT-B/16 is ViT-B_16."""
    return model.replace("/", "_")


@cache
def releases() -> tuple[Release, ...]:
    """Every released file that fits a row of the catalog, in the order of the table."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        lines = [line for line in csv.DictReader(file) if line["tag"]]
    return tuple(_release(row) for line in lines for row in _expanded(line))


@cache
def of_model(model: str) -> tuple[Release, ...]:
    """The released files that fit the row of this name."""
    return tuple(release for release in releases() if release.model == model)


def find_release(model: str, word: str) -> Release | None:
    """The release of a row by its tag, its file's stem or timm's name, in any case, with - or _; None for other words.

    Raises UsageError where the word is the stem of several files.
    """
    several = _words(model).get(_key(word), ())
    if len(several) > 1:
        tags = ", ".join(release.tag for release in several)
        raise UsageError(
            f"'{word}' is the stem of {len(several)} released files of {model}. Type one of the tags: {tags}"
        )
    return several[0] if several else None


def matching_releases(model: str, pattern: str) -> list[Release]:
    """The releases of a row whose tags match a glob, in the order of the table."""
    return [release for release in of_model(model) if fnmatchcase(release.tag.lower(), pattern.lower())]


def release_named(word: str) -> Release | None:
    """The release that a word names without a model: `BiT-M-R50x1`, `vit_base_patch16_224.augreg_in21k`; else None.

    Such words are stems of files and timm's names, where they stand for one file and are no model's name.
    """
    return _names().get(_key(word))


def timm_names(model: str) -> tuple[str, ...]:
    """timm's names of a row, without weights, for the row's own input size: `vit_base_patch16_224`."""
    names = dict.fromkeys(_timm_name(release).partition(".")[0] for release in of_model(model) if release.hub_timm)
    return tuple(name for name in names if name.endswith("_224") or not re.search(r"_\d{3}$", name))


def tags_in_short(model: str) -> str:
    """The short tags of a row for a message, and how many more tags there are."""
    of_row = of_model(model)
    short = [release.tag for release in of_row if not release.tag.startswith("vtab-") and release.tag != release.stem]
    more = len(of_row) - len(short)
    return ", ".join(short) + (f" and {more} more (`weights list {model}`)" if more else "")


def unknown_tag(model: str, word: str) -> str:
    """The message for a word that is no tag of a row."""
    if not of_model(model):
        return f"there are no weights '{word}' of {model}: no released file fits it"
    near = suggest(word, (release.tag for release in of_model(model)), [""])
    hint = f"{near} " if near.startswith("Did") else ""
    return f"there are no weights '{word}' of {model}. {hint}There are: {tags_in_short(model)}"


# ------------------------------------------------------------------------------------------------- places of the files


def locate(release: Release) -> Path | None:
    """The file on this machine, or None.

    The places are BENCH_WEIGHTS (laid out as the buckets, without the bucket's folder, or the bare name where no other
    release has it), then `weights` in the cache folder, then this package, then, where timm's file on the hub has the
    same numbers, the hub's own cache. Raises UsageError where BENCH_WEIGHTS is no folder.
    """
    path = next((path for path in possible_places(release) if path.is_file()), None)
    return path or _in_hub_cache(release)


def possible_places(release: Release) -> list[Path]:
    """The places for the file, the best one first."""
    inside = PurePosixPath(release.file_name)
    names = [inside, PurePosixPath(*inside.parts[1:])]
    if _same_name()[inside.name] == 1:
        names.append(PurePosixPath(inside.name))
    folder = weights_folder()
    return [*([folder / name for name in names] if folder else []), cached_file(release), PACKAGED / inside]


def weights_folder() -> Path | None:
    """BENCH_WEIGHTS, the user's folder of weights; None where it is not set. Raises UsageError where it is missing."""
    value = os.environ.get("BENCH_WEIGHTS")
    if not value:
        return None
    folder = Path(value).expanduser().absolute()
    if not folder.is_dir():
        raise UsageError(f"BENCH_WEIGHTS={value}: there is no such folder")
    return folder


def cached_file(release: Release) -> Path:
    """The place of a downloaded file."""
    return cached_folder() / release.file_name


def cached_folder() -> Path:
    """The folder of downloaded files, laid out as the buckets."""
    return cache_folder() / "weights"


def hub_cache() -> Path:
    """The hub's own cache, as its library finds it."""
    if folder := os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE"):
        return Path(folder).expanduser()
    home = os.environ.get("HF_HOME")
    if not home:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "huggingface"
    return Path(home).expanduser() / "hub"


def _in_hub_cache(release: Release) -> Path | None:
    folder = hub_cache()
    if not release.hub_same or not (folder / f"models--{release.hub_timm.replace('/', '--')}").is_dir():
        return None  # before the import of the hub's library, which is slow
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(release.hub_timm, HUB_FILE, cache_dir=folder)
    return Path(path) if isinstance(path, str) else None


# ------------------------------------------------------------------------------------------------- reading the table


def _expanded(row: dict[str, str]) -> list[dict[str, str]]:
    """The line, or one line for each combination of the choices in the braces of its file name."""
    parts = re.split(r"\{([^{}]*)\}", row["file_name"])
    name = "".join(part if index % 2 == 0 else f"{{{index // 2}}}" for index, part in enumerate(parts))
    columns = {"file_name": name} | {column: row[column] for column in ("model", "tag", "finetune")}
    return [
        row | {column: text.format(*choices) for column, text in columns.items()}
        for choices in itertools.product(*(part.split(",") for part in parts[1::2]))
    ]


def _release(row: dict[str, str]) -> Release:
    stated = {"resolution_as_stated": row["resolution"], "published_top1_as_stated": row["published_top1"]}
    pixels = re.findall(r"\d+", row["resolution"])
    row = row | stated | {"resolution": pixels[0] if len(pixels) == 1 else ""}
    read: dict[str, Callable[[str], object]] = {
        "str": str,
        "bool": "yes".__eq__,
        "int | None": lambda text: int(text) if text else None,
        "float | None": lambda text: float(text) if text else None,
    }
    values: dict[str, Any] = {item.name: read[str(item.type)](row[item.name]) for item in fields(Release)}
    return Release(**values)


def _key(word: str) -> str:
    return word.lower().replace("_", "-")


def _timm_name(release: Release) -> str:
    return release.hub_timm.removeprefix("timm/")


def _grouped(pairs: Iterable[tuple[str, Release]]) -> dict[str, tuple[Release, ...]]:
    """The releases that each word stands for."""
    groups: dict[str, dict[Release, None]] = defaultdict(dict)
    for word, release in pairs:
        groups[_key(word)][release] = None
    return {word: tuple(group) for word, group in groups.items() if word}


def _names_of(release: Release) -> tuple[str, ...]:
    """The names of a file beside its tag."""
    return release.stem, _timm_name(release), release.hub_timm


@cache
def _words(model: str) -> dict[str, tuple[Release, ...]]:
    """The releases of a row by every word for them. A tag means its own release, even if it names another file, too."""
    of_row = of_model(model)
    words = _grouped((word, release) for release in of_row for word in _names_of(release))
    return words | {_key(release.tag): (release,) for release in of_row}


@cache
def _names() -> dict[str, Release]:
    """The releases by the words that name one without a model."""
    groups = _grouped((word, release) for release in releases() for word in _names_of(release))
    models = {_key(stem(release.model)) for release in releases()}
    return {word: group[0] for word, group in groups.items() if len(group) == 1 and word not in models}


@cache
def _same_name() -> Counter[str]:
    """How many released files have each bare file name."""
    return Counter(PurePosixPath(release.file_name).name for release in releases())
