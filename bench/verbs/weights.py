"""Released weights: list them, download them; and inspect or convert any weights file. `BENCH_WEIGHTS` is a
folder of yours that is looked in first.
"""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.table import Table
from rich.text import Text

from ...meter import Meter, human
from ...models import catalog
from ...models.released import table as releases
from ...models.released.download import fetch
from ...models.released.table import Release
from ...registry import UsageError, is_glob, suggest
from ..console import stderr, stdout
from ..facts import release_bytes
from ..words import each, option
from .command import JsonOutput, group, listed, print_json, read_words

if TYPE_CHECKING:
    from ...models.weights.inspect import WeightsReport

FILE = Annotated[
    str, typer.Argument(help="A weights file, a folder of the hub's kind, or FILE:PART.", show_default=False)
]
OUT = Annotated[Path, typer.Argument(help="The file to write: .npz or .safetensors.", show_default=False)]


@dataclass(frozen=True, kw_only=True)
class ListOptions:
    """How the files are listed."""

    format: Literal["terminal", "csv", "json"] = option(
        "terminal", "how it is written; `csv` and `json` have all columns of the table behind it, with sources"
    )


def list_verb(
    words: Annotated[list[str] | None, typer.Argument(metavar="[MODEL[:TAG]|TAG]... [KEY=VALUE]...")] = None,
) -> None:
    """Show the released files: `weights list [MODEL|MODEL:TAG|TAG|GLOB]... [format=csv]`.

    For example `weights list ViT-B/16`, `weights list 'augreg-*'`, `weights list 'BiT-R50x1:vtab-run0-*'`. The 285
    files fine-tuned on VTAB-1k are a line a model unless a word asks for their tags.
    """
    names, options = read_words(words or [], ListOptions, "weights list", name=known)
    order = list(catalog())
    files = sorted(
        selected(names) if names else releases.releases(),
        key=lambda release: (order.index(release.model), release.tag == release.stem),
    )
    rows = [asdict(release) | {"here": releases.locate(release) or ""} for release in files]
    if options.format == "json":
        print_json(rows)
    elif options.format == "csv":
        writer = csv.DictWriter(sys.stdout, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    else:
        _print_table(files, fold=not any("vtab" in word.lower() for word in names))


def download_verb(words: Annotated[list[str], typer.Argument(metavar="MODEL[:TAG]|TAG...")]) -> None:
    """Download released files: `weights download ViT-B/16:in21k BiT-M-R50x1 'BiT-R50x1:bit-*' sam`.

    A TAG alone means that tag of every model that has it; `MODEL:*` means all files of a model. Files go to the cache
    folder (BENCH_CACHE), each under its name only when it is whole; after an interruption, the same command
    resumes. BENCH_MIRROR names a folder or an address with copies of one's own, which are looked for there first;
    BENCH_WEIGHTS_URL one that stands for the buckets. With BENCH_OFFLINE=1 or HF_HUB_OFFLINE=1 nothing is downloaded.
    """
    meter = Meter(stderr())
    wanted = selected(each(_exact, words))
    missing = [release for release in wanted if releases.locate(release) is None]
    if missing:
        meter.say(f"{total(missing)} to {releases.cached_folder()}")
    failed = []
    for release in wanted:
        here = release not in missing
        try:
            path = fetch(release, meter)
        except UsageError as error:
            failed.append(release)
            meter.say(f"FAILED {error}")
        else:
            meter.say(f"{release.model}:{release.tag} {'is at' if here else 'downloaded to'} {path}")
    if failed:
        meter.say(f"{len(failed)} of {len(wanted)} failed. Repeat the command to go on")
        raise typer.Exit(1)


def inspect_verb(
    file: FILE, words: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", show_default=False)] = None
) -> None:
    """Show what a weights file holds: whose names, which row it fits, its head, its resolution, and problems."""
    from ...models.weights.inspect import inspect

    _, options = read_words(words or [], JsonOutput, "weights inspect", name=_one_file)
    report = inspect(file)
    if options.format == "json":
        print_json(asdict(report))
        return
    table = Table.grid(padding=(0, 2))
    for name, text in _lines(report):
        table.add_row(*map(Text, (name, text)))
    stdout().print(table)


def convert_verb(file: FILE, out: OUT) -> None:
    """Write a weights file in another format: .npz with the official names, .safetensors with ours.

    Official files and big_vision's come back bit for bit. timm's state dicts and ours become either. Nothing is
    written over.
    """
    from ...models.weights.convert import convert

    screen = stdout()
    for note in convert(file, out):
        screen.say(note)
    screen.say(f"wrote {out} ({out.stat().st_size / 1e6:.1f} MB)")


def _one_file(word: str) -> str:
    raise UsageError(f"weights inspect takes one file, and not {word}, too")


def selected(words: Sequence[str]) -> list[Release]:
    """The releases that words name: a model, a tag, MODEL:TAG, a name of both (BiT-M-R50x1), or globs of these.

    Raises UsageError with the nearest names for a word that names none.
    """
    return list(dict.fromkeys(release for releases in each(_of_word, words) for release in releases))


def _exact(word: str) -> str:
    """The word itself. Raises UsageError where it names no release, or a model without saying which release."""
    if ":" not in word and word in catalog() and not is_glob(word):
        name = catalog()[word].name
        raise UsageError(
            f"'{word}' has {len(releases.of_model(name))} released files. Say which, {name}:TAG, or {name}:* for "
            f"all of them: {releases.tags_in_short(name)}"
        )
    return known(word)


def known(word: str) -> str:
    """The word itself. Raises UsageError with the nearest names where it names no release."""
    _of_word(word)
    return word


def _of_word(word: str) -> list[Release]:
    name, colon, tag = word.partition(":")
    if colon:
        rows = catalog().select(name)
        matched = [release for row in rows for release in _tagged(row.name, tag)]
        if not matched and len(rows) == 1:
            raise UsageError(f"{releases.unknown_tag(rows[0].name, tag)}. Type one of them")
        if not matched:
            raise UsageError(f"no model that '{name}' selects has weights '{tag}'. See `weights list '{name}'`")
        return matched
    both = None if word in catalog() else releases.release_named(word)
    if both is not None:
        return [both]
    matched = [release for row in catalog().values() for release in _tagged(row.name, word)]
    if is_glob(word):  # R50* means models, not the names of files
        matched = [release for release in matched if release.tag != release.stem]
    if matched and word not in catalog() and word != "*":
        return matched
    tags = {release.tag for release in releases.releases()}
    if word not in catalog() and not is_glob(word):
        words = [*catalog(), *(tag for tag in tags if len(tag) < 40)]
        raise UsageError(f"'{word}' is neither a model nor a tag. {suggest(word, words, ['see `weights list`'])}")
    of_models = [release for row in catalog().select(word) for release in releases.of_model(row.name)]
    if not of_models:
        raise UsageError(f"no released file fits {catalog()[word].name if word in catalog() else word}")
    return of_models


def _tagged(model: str, tag: str) -> list[Release]:
    if is_glob(tag):
        return releases.matching_releases(model, tag)
    release = releases.find_release(model, tag)
    return [release] if release else []


def size_of(release: Release) -> str:
    """The size of a file as stated, or estimated from the model's parameters: "~261 MiB"."""
    return release.size or f"~{human(release_bytes(release))}"


def total(files: Sequence[Release]) -> str:
    """The number of files and their size: "2 files, 1.6 GiB"; with "about", where a size is not stated."""
    about = "about " if any(release.bytes is None for release in files) else ""
    count = f"{len(files)} file{'' if len(files) == 1 else 's'}"
    return f"{count}, {about}{human(sum(map(release_bytes, files)))}"


def _print_table(files: Sequence[Release], *, fold: bool) -> None:
    rows: list[tuple[str, ...]] = []
    folded = [release for release in files if fold and release.tag.startswith("vtab-")]
    shown = [release for release in files if release not in folded]
    for model in dict.fromkeys(release.model for release in files):
        for release in [release for release in shown if release.model == model]:
            path = releases.locate(release)
            trained_on = " → ".join(filter(None, (release.pretrain, release.finetune)))
            pixels = re.sub(r" \(.*?\)", "", release.resolution_as_stated)
            top1 = "" if release.published_top1 is None else f"{release.published_top1:g}"
            here = "" if path is None else str(path.parent)
            rows.append((model, release.tag, trained_on, pixels, top1, size_of(release), here))
        count = sum(release.model == model for release in folded)
        if count:
            rows.append((model, f"vtab-* ({count} files)", "ImageNet-21k → VTAB-1k, a task and run each", *[""] * 4))
    screen = stdout()
    columns = ("model", "tag", "trained on", "px", "top-1", "size", "here")
    screen.table(columns, rows, whole=("model", "top-1", "size"))
    note = "px and top-1 (percent, on the last data) as published; top-1 often of the configuration rather than of "
    note += "this very file. ~: computed from the parameters. format=csv has sources."
    screen.say(note, style="dim")


CONVENTIONS = {
    "official": "the official release's",
    "big_vision": "big_vision's",
    "timm": "timm's",
    "transformers": "transformers'",
    "torchvision": "torchvision's",
    "ours": "this project's",
    "unknown": "unknown: fits one's own model only",
}


def _lines(report: WeightsReport) -> list[tuple[str, str]]:
    """The lines of a report, each with its name; empty ones are left out."""
    grid, size, known = report.grid, report.image_size, report.provenance
    of_images = f", of images of {size[0]}x{size[1]} pixels" if size else ""
    lines = [
        ("file", str(report.path)),
        ("names", CONVENTIONS[report.convention]),
        ("part", report.part or ""),
        ("row", " or ".join(report.candidates)),
        ("parameters", f"{report.parameters:,} in {report.tensors} tensors"),
        ("types", ", ".join(f"{kind} ({count})" for kind, count in report.dtypes)),
        ("head", f"{report.classes} classes" if report.classes is not None else "none"),
        ("pre-logits", f"tanh layer of width {report.pre_logits}" if report.pre_logits else ""),
        ("grid", f"{grid[0]}x{grid[1]} position embeddings{of_images}" if grid else ""),
        *(("note", note) for note in report.notes),
    ]
    if known is not None:
        lines += [
            ("pre-trained on", known.pretrain or ""),
            ("images", "" if known.images is None else f"{known.images:,}"),
            ("epochs", "" if known.epochs is None else f"{known.epochs:g}"),
            ("core-days", "" if known.core_days is None else f"{known.core_days:g}"),
        ]
    lines += [("problem", problem) for problem in report.problems]
    return [(name, text) for name, text in lines if text]


app = group((list_verb, listed(ListOptions)), (download_verb,), (inspect_verb, listed(JsonOutput)), (convert_verb,))
