"""`vit_bench.predict`: the classes of images and their probabilities, by weights that have a head.

Images are fed as `suite=classify` feeds them to the same weights: as their release, or the sidecar of weights that
fine-tuning kept, says. Files are turned as their EXIF orientation says, as those of `folder:PATH` are.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from ..meter import Meter
from ..models import Model, given_model
from ..models.logits_as_features import LogitsAsFeatures
from ..models.parse_weights import parse_weights
from ..models.selection import SelectedModel, select_model
from ..models.weights.paths import resolve, split_part
from ..models.weights.sidecar import read_names, read_variant_words
from ..models.weights_choice import WeightsChoice
from ..registry import UsageError, path_of, suggest
from ..results.tables.names import GIVEN
from ..suites.classify import CLASSIFY
from ..suites.heads.classes import tasks_of
from ..suites.images.decode import DAMAGED, ENDINGS, BadImage, read_image
from ..suites.images.decoded import MAX_NAMED, Decoded
from ..suites.images.features import extract
from ..suites.images.feeding import Feeder
from .config import read_sweep
from .console import stderr
from .environment import pick_device
from .loaded_model import LoadedModel
from .progress import Progress

if TYPE_CHECKING:
    import pandas as pd
    from PIL import Image


def predict(  # noqa: PLR0913  # users call it
    images: str | Path | Tensor | Sequence[str | Path | Image.Image],
    weights: str | Path | WeightsChoice | None = None,
    model: str | Model | nn.Module | None = None,
    k: int = 5,
    *,
    device: str = "auto",
    batch_size: int = 64,
    skip_bad: bool = False,
    progress: bool = False,
) -> pd.DataFrame:
    """The `k` most probable classes of each image: `file`, `label`, `probability`, `label_2`, `probability_2`, ….

    images   a folder, which is searched deep, a file, or a list of these; a list of PIL images; or a tensor
             (N, 3, H, W) of RGB, uint8 or floats from 0 to 1 (not scaled by a mean), which are rounded to uint8.
             Of what is no file, `file` is its number, from 0
    weights  a file, or a word as `create_model` takes it, of weights with a head
    model    a name or row as `create_model` takes it, or a module; None: the sidecar of the weights says it
    k        classes an image, at most as many as the head has

    Rows are in the order of the images, files of a folder by name; files that are not read are named on standard error.
    Labels are the sidecar's names, else those of a task with the head's classes, else class numbers. Probabilities are
    the softmax of the logits in float64; of equal logits the lower class number comes first, as in `argmax`.
    Raises UsageError for weights without a trained head, where there are no images, and, unless `skip_bad`, where some
    cannot be read.
    """
    if k < 1 or batch_size < 1:
        raise UsageError(f"k={k}, batch_size={batch_size}: type numbers from 1 up")
    found = find_images(images)
    chosen, read = choose(model, weights)
    screen = stderr() if progress else None
    read.local(Meter(screen))
    head = LoadedHead(chosen, read, pick_device(device))
    if found.left_out:
        stderr().say(f"not read as images ({len(found.left_out)}): {', '.join(found.left_out)}")
    names: list[str] = []
    labels: Sequence[str] = ()
    best: list[tuple[np.ndarray, np.ndarray]] = []
    with closing(Progress(screen)) as shown:
        for rows, logits in head.outputs(found, batch_size, skip_bad, shown):
            labels = labels or head.classes(logits.shape[1])
            names += [found.names[row] for row in rows]
            best.append(most_probable(logits, k))
    classes, probabilities = map(np.concatenate, zip(*best, strict=True))
    return labelled(names, labels, classes, probabilities)


@dataclass(frozen=True, kw_only=True)
class FoundImages:
    """Images with their names, and the names of files that are not read."""

    names: Sequence[str]
    images: Decoded
    left_out: Sequence[str] = ()


def find_images(images: Any) -> FoundImages:
    """The images that `predict` is given. Raises UsageError where there are none, and for what is no image."""
    if isinstance(images, Tensor):
        pixels = _pixels(images)
        return FoundImages(names=_numbers(len(pixels)), images=Decoded(pixels.__getitem__, len(pixels)))
    given = list(images) if isinstance(images, Iterable) and not isinstance(images, str | Path) else [images]
    if not given:
        raise UsageError("there are no images: name files or folders")
    if not any(isinstance(one, str | Path) for one in given):
        return FoundImages(names=_numbers(len(given)), images=Decoded(lambda i: _of_pillow(given[i], i), len(given)))
    files: dict[str, None] = {}
    left_out: list[str] = []
    for path in map(path_of, given):
        if not (path.is_file() or path.is_dir()):
            raise UsageError(f"there is no image or folder at {path}")
        inside = _inside(path) if path.is_dir() else [str(path)]
        read = [name for name in inside if path.is_file() or (name.lower().endswith(ENDINGS) and Path(name).is_file())]
        if not read:
            raise UsageError(f"{path} holds no image files ({' '.join(ENDINGS)})")
        files |= dict.fromkeys(read)
        left_out += [name for name in inside if name not in files]
    names = list(files)
    return FoundImages(
        names=names,
        images=Decoded(lambda i: read_image(Path(names[i]), apply_exif=True), len(names)),
        left_out=left_out,
    )


def _numbers(count: int) -> list[str]:
    return [str(i) for i in range(count)]


def _inside(folder: Path) -> list[str]:
    """The files below a folder, by name, without hidden ones. Links are followed, a folder is entered once."""
    found, seen = [], {os.path.realpath(folder)}
    try:
        for place, folders, names in os.walk(folder, followlinks=True, onerror=_refuse):
            real = {os.path.realpath(Path(place, name)): name for name in folders if name[0] != "."}
            folders[:] = [name for path, name in real.items() if path not in seen]
            seen.update(real)
            found += [str(Path(place, name)) for name in names if name[0] != "."]
        "".join(found).encode()
    except OSError as error:
        raise UsageError(f"{error.filename or folder} cannot be read: {error.strerror or error}") from error
    except UnicodeEncodeError:
        raise UsageError(f"{folder} holds a file whose name is not UTF-8: rename it") from None
    return sorted(found)


def _refuse(error: OSError) -> None:
    raise error


def _pixels(images: Tensor) -> np.ndarray:
    """(N, H, W, 3) uint8 RGB of (N, 3, H, W) uint8, or floats from 0 to 1."""
    if images.ndim != 4 or images.shape[1] != 3 or not images.numel():
        raise UsageError(f"a tensor of images is (N, 3, H, W), not {tuple(images.shape)}")
    if images.is_floating_point():
        low, high = (float(bound) for bound in images.aminmax())
        if not 0 <= low <= high <= 1:
            raise UsageError(f"floats are RGB from 0 to 1, before mean and std; these go from {low:g} to {high:g}")
        images = (images.float() * 255).round().to(torch.uint8)
    if images.dtype != torch.uint8:
        raise UsageError(f"a tensor of images is uint8, or floats from 0 to 1, not {images.dtype}")
    return images.permute(0, 2, 3, 1).contiguous().cpu().numpy()


def _of_pillow(image: Any, number: int) -> np.ndarray:
    """(H, W, 3) uint8 RGB pixels of a PIL image, turned as its EXIF orientation says."""
    from PIL import Image, ImageOps

    name = f"image {number}"
    if not isinstance(image, Image.Image):
        raise UsageError(f"{name} is a {type(image).__name__}: give paths, PIL images, or a tensor (N, 3, H, W)")
    if image.mode[0] in "IF":
        raise BadImage(name, f"its mode is {image.mode}, of which no white is known: give its file, or convert it")
    try:
        upright = ImageOps.exif_transpose(image)
        return np.array((upright.convert("RGBA") if upright.mode in ("P", "PA") else upright).convert("RGB"))
    except DAMAGED as error:
        raise BadImage(name, str(error) or type(error).__name__) from error


def choose(
    model: str | Model | nn.Module | None,
    weights: str | Path | WeightsChoice | None,
    settings: Mapping[str, str] | None = None,
) -> tuple[Model, WeightsChoice]:
    """The row, as `settings` (`model.X=`) change it, and its weights. Raises UsageError where they are not known."""
    if model is None:
        selected = _of_sidecar(weights)
        settings = {**read_variant_words(str(weights)), **(settings or {})}
    elif isinstance(model, str):
        selected = select_model(model)
    else:
        selected = SelectedModel(row=model if isinstance(model, Model) else given_model(model))
    row = selected.row
    if settings:
        rows, used = row.architecture.variants(row, settings, read_sweep)
        if unknown := sorted(set(settings) - used):
            raise UsageError(f"{row.name} has no setting '{unknown[0]}'. {suggest(unknown[0], row.settable())}")
        if len(rows) > 1:
            raise UsageError(f"the model. settings say {len(rows)} models, and predict takes one")
        (row,) = rows
    if isinstance(weights, WeightsChoice):
        asked = [weights]
    else:
        asked = [] if weights is None and selected.weights else [parse_weights(row, weights)]
    (read,) = selected.agreed(asked, f"'{weights}'", f"Type model={row.name} weights={weights}")
    if read.random:
        raise UsageError(f"{row.name} with weights={read} has no trained head: type weights=FILE, or a TAG of its own")
    return row, read


def _of_sidecar(weights: str | Path | WeightsChoice | None) -> SelectedModel:
    """The model that the sidecar of the weights says."""
    if weights is None:
        raise UsageError("type weights=FILE, of weights with a head, such as suite=finetune save=weights keeps")
    name, _ = read_names(str(weights))
    if not name:
        path, _ = split_part(str(weights))
        if not path.exists():
            raise UsageError(f"there is no weights file '{weights}'; a released TAG needs its model=NAME beside it")
        resolve(path)  # raises where it is of another kind
        raise UsageError(
            f"nothing beside '{weights}' says which model it is of: type model=NAME. `weights inspect` shows what fits"
        )
    if GIVEN.fullmatch(name):
        raise UsageError(f"'{weights}' is of {name}, a module that was passed from Python: pass it again, model=MODULE")
    try:
        return select_model(name)
    except UsageError as error:
        raise UsageError(f"the file beside '{weights}' says model: {name}. {error}. Or type model=") from error


class LoadedHead(Feeder):
    """A network with the head that its weights brought, fed as `suite=classify` feeds it, of images without a task."""

    def __init__(self, model: Model, weights: WeightsChoice, device: torch.device) -> None:
        self.model, self._weights = model, weights
        self._loaded = LoadedModel(model, weights, device)

    def output_key(self) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        raise NotImplementedError("the outputs for images without a task are not cached")

    def classes(self, count: int) -> Sequence[str]:
        """The names of the head's classes. Raises UsageError where the sidecar has another number of them."""
        path, head = self._loaded.local_weights.path, self._weights.head()
        names = () if path is None else read_names(path)[1]
        if names and len(names) != count:
            raise UsageError(f"the file beside '{path}' names {len(names)} classes, and its head has {count}")
        of_tasks = [task.classes for task in (tasks_of(head) if head else ()) if len(task.classes) == count]
        return names or next(iter(of_tasks), None) or _numbers(count)

    def outputs(
        self, found: FoundImages, batch_size: int, skip_bad: bool, progress: Progress
    ) -> Iterator[tuple[list[int], np.ndarray]]:
        """The numbers of the images of each batch that could be read, and their (B, K) logits.

        Every image is decoded once. Raises UsageError at the end where some cannot be read, unless `skip_bad`.
        """
        total = len(found.names)
        progress.open([0.0])
        network, transform = self.network_for(CLASSIFY.view(self.model, self._weights))
        answering: Any = LogitsAsFeatures(network)
        progress.begin(self.model.name, total=total)
        bad: list[BadImage] = []
        done = 0
        attempts = enumerate(found.images.attempts())
        while batch := list(islice(attempts, batch_size)):
            read = {row: image for row, image in batch if not isinstance(image, BadImage)}
            bad += [image for _, image in batch if isinstance(image, BadImage)]
            if read and (skip_bad or not bad):
                try:
                    logits = extract(answering, list(read.values()), transform, batch_size=batch_size)
                except ValueError as error:
                    raise UsageError(f"images from {found.names[batch[0][0]]} on: {error}") from error
                yield list(read), self._trained(logits)
            done += len(batch)
            progress.advance(len(batch), f"images {done:,}/{total:,}")
        self._tell(bad, total, skip_bad)

    def _tell(self, bad: Sequence[BadImage], total: int, skip_bad: bool) -> None:
        """Name the images that cannot be read. Raises UsageError unless they may be skipped and others are left."""
        if not bad:
            return
        shown = bad if skip_bad else bad[:MAX_NAMED]
        more = f", and {len(bad) - len(shown)} more" if len(bad) > len(shown) else ""
        said = f"{len(bad)} of {total} images cannot be read: {'; '.join(map(str, shown))}{more}"
        if not skip_bad or len(bad) == total:
            raise UsageError(said + ("" if skip_bad else ". Get them again, or type skip_bad=true to leave them out"))
        stderr().say(said)

    def _trained(self, logits: np.ndarray) -> np.ndarray:
        if logits.shape[1] > 1 and not np.ptp(logits, axis=1).any():
            raise UsageError(
                f"{self.model.name}: its head says the same of all {logits.shape[1]} classes for every image: it is "
                "new. Choose weights with a trained head, or train one: suite=finetune"
            )
        return logits


def most_probable(logits: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """(N, k) classes by falling probability and their probabilities, of (N, K) logits, in float64."""
    from scipy.special import softmax

    wide = logits.astype(np.float64)
    classes = np.argsort(-wide, axis=1, kind="stable")[:, :k]
    return classes, np.take_along_axis(softmax(wide, axis=1), classes, axis=1)


def labelled(
    names: Sequence[str], labels: Sequence[str], classes: np.ndarray, probabilities: np.ndarray
) -> pd.DataFrame:
    """A row an image: its name, and the labels of its (N, k) classes beside their probabilities."""
    import pandas as pd

    columns: dict[str, Any] = {"file": names}
    for place in range(classes.shape[1]):
        end = f"_{place + 1}" if place else ""
        columns[f"label{end}"] = [labels[number] for number in classes[:, place]]
        columns[f"probability{end}"] = probabilities[:, place]
    return pd.DataFrame(columns)
