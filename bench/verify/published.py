"""Published accuracies of released files, each with the settings that measure the same. `verify` replays them.

There are two kinds. A release states the accuracy of a file, or of another run of its configuration (see `of`), on
images resized to a square without antialiasing. timm's table states the accuracy of timm's copy of the file, with
timm's resizing; `of` says whether the copy is this very file. Of the 285 files of single VTAB-1k tasks only means over
tasks are published.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from ...models.released.table import Release
from ...suites.heads.classes import tasks_of

Of = Literal["this file", "its configuration", "timm's copy"]


@dataclass(frozen=True, kw_only=True)
class Anchor:
    """One published top-1 accuracy of a released file."""

    release: Release
    task: str  # name of our task
    stated: str  # percent, as printed
    of: Of
    basis: str  # who states it
    settings: tuple[str, ...] = ()  # of suite=classify, where they are not the defaults

    @property
    def binding(self) -> bool:
        """Whether the number is this very file's, so that a different measurement means a mistake."""
        return self.of == "this file"


def anchors(files: Iterable[Release]) -> list[Anchor]:
    """The published accuracies of these files, in their order."""
    return [anchor for release in files for anchor in _anchors(release)]


def _anchors(release: Release) -> Iterator[Anchor]:
    if release.published_top1 is not None:
        yield Anchor(
            release=release,
            task=next((task.name for task in tasks_of(release.head)), release.head.data),
            stated=release.published_top1_as_stated,
            of="this file" if release.top1_of == "file" else "its configuration",
            basis=release.published_top1_basis,
        )
    for task, value in (("ImageNet", release.timm_top1), ("ImageNet ReaL", release.timm_real_top1)):
        if value is not None:
            yield Anchor(
                release=release,
                task=task,
                stated=f"{value:.3f}",
                of="this file" if release.hub_same else "timm's copy",
                basis="timm's model table",
                settings=timm_test(release),
            )


def timm_test(release: Release) -> tuple[str, ...]:
    """The settings of suite=classify with which timm tests its copy of a released file.

    timm crops the centre at less than 384 pixels and takes the whole image otherwise; it resizes bilinearly for BiT's
    own files and bicubically for others. A test compares these rules with timm's.
    """
    size = release.timm_resolution or 224
    bilinear = release.hub_timm.endswith("goog_in21k_ft_in1k")
    share = 1.0 if size >= 384 else 0.875 if "resnetv2" in release.hub_timm else 0.9
    return (
        "suite.resize=shorter_crop",
        f"suite.crop_pct={share:g}",
        f"suite.image_size={size}",
        f"suite.interpolation={'bilinear' if bilinear else 'bicubic'}",
        "suite.antialias=true",
        "suite.rounding=pillow",
    )
