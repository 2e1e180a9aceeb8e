"""What the cells of a run directory say of their jobs: the commands that repeat them, settings, files read."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

from ..models import catalog, select_model
from ..models.external.authors import authors_pool
from ..models.external.rows import is_external
from ..models.weights_choice import Random, WeightsFile
from ..registry import UsageError
from ..results.record import Cell, Record, read_variant
from ..suites import suites
from ..suites.protocol import NO_TASK
from ..suites.tasks import tasks
from .config import apply, read
from .fingerprint import changed
from .words import as_typed, plain

FROM_CONFIG = (
    "data",
    "source",
    "include",
    "division",
    "division_seed",
    "range",
    "device",
    "batch_size",
)  # of config.yaml
RESIZING = {"interpolation", "antialias", "rounding"}  # settings that training did not have before


@dataclass(frozen=True, kw_only=True)
class Before:
    """What was meant before by words that mean something else today, in words of today. Typed settings stay."""

    words: tuple[str, ...]  # {name}: as the record says
    because: str
    recipe: str = "*"  # a pattern of its name
    typed: str = ""  # the word that these replace
    where: Callable[[Cell, Mapping[str, Any]], bool] = lambda _cell, _recipe: True  # the recipe as it is recorded
    has_fed: bool = False  # whether in cells that say how images were resized; all others are from before that


def _pool_of_then(cell: Cell, _: Mapping[str, Any]) -> bool:
    """Whether a library's model gave its classifier's feature where its authors' is the default now."""
    built, record = cell.identity.get("architecture") or {}, cell.records[0]
    if "library" not in built or "pool" in built or {"tap", "global_pool"} & set(read_variant(record.variant)):
        return False
    known = authors_pool(f"{built['name']}.{built['tag']}" if built.get("tag") else built["name"])
    return known is not None and known.differs


def _tuned_with_dropout(cell: Cell, _: Mapping[str, Any]) -> bool:
    row = catalog().get(cell.records[0].model)
    return row is not None and bool(row.tuned_with_dropout)


def _folder_like_others(cell: Cell, _: Mapping[str, Any]) -> bool:
    """Whether a few-shot job fed a folder of the user's as any other task, which today it does not."""
    record, fed = cell.records[0], cell.identity.get("fed") or {}
    of_folder = record.suite == "fewshot" and record.task.startswith("folder:")
    return of_folder and fed.get("rounding") != "pillow" and not (fed.get("resize") or settings_of(cell).get("resize"))


OF_BEFORE = (
    Before(
        words=("suite.resize=resize_crop", "suite.rounding={rounding}"),
        because="folder:PATH was fed as big_vision's evaluator feeds images; now it is as the weights' release",
        where=_folder_like_others,
        has_fed=True,
    ),
    Before(
        typed="suite.crop=inception",
        words=("suite.crop=torchvision",),
        because="Inception crops were drawn as torchvision draws them; inception is TensorFlow's sampler now",
    ),
    Before(recipe="vit-code", words=("suite.crop=torchvision",), because="its Inception crop was of the same sampler"),
    Before(
        recipe="vit-code",
        words=("suite.dropout=none",),
        because="no model had the dropout of the release's configurations",
        where=_tuned_with_dropout,
    ),
    Before(
        recipe="big-vision",
        words=("suite.crop=torchvision", "suite.test_resize=shorter_crop"),
        because="it had big_vision's other crop, and cut test images as timm does",
    ),
    Before(
        recipe="scratch*",
        words=("suite.crop=torchvision", "suite.loss=softmax"),
        because="the loss was a softmax, whose head has no bias at first",
    ),
    Before(
        recipe="scratch*",
        words=("suite.decay_on=all",),
        because="weight decay was on biases and norms, too",
        where=lambda cell, _: settings_of(cell).get("weight_decay") != 0,
    ),
    Before(
        recipe="scratch*",
        words=("suite.warmup={warmup}",),
        because="warm-up was a tenth of a run of 90 to 100 thousand steps, and is the paper's 10 thousand",
        where=lambda _, recipe: 9_000 <= recipe.get("warmup", 0) < 10_000,
    ),
    Before(
        words=("model.pool=classifier",),
        because="the feature was what enters the library's classifier, and is the authors' choice",
        where=_pool_of_then,
    ),
)


def job_command(cell: Cell, config: Mapping[str, str], out: Path | str) -> str:
    """The command line of one job. `config` is what `read_config` returns."""
    return run_commands([cell], config, out)[0]


def run_commands(cells: Iterable[Cell], config: Mapping[str, str], out: Path | str) -> list[str]:
    """The fewest command lines that repeat these jobs, those of before with the words that feed images as then.

    A command runs each of its models on each of its tasks, so models with different tasks or settings are in different
    commands.
    """
    by_words: dict[tuple[str, ...], dict[str, dict[str, None]]] = {}
    labels: dict[tuple[tuple[str, ...], str], str] = {}
    for cell in cells:
        record, words = cell.records[0], _words(cell)
        by_words.setdefault(words, {}).setdefault(record.model, {})[record.task] = None
        labels[words, record.model] = record.label
    last = [f"{name}={config[name]}" for name in FROM_CONFIG if config.get(name, "") not in ("", "none", "false")]
    lines = []
    for words, by_model in by_words.items():
        suite, *others = words
        by_tasks: dict[frozenset[str], list[str]] = {}
        for model, its_tasks in by_model.items():
            by_tasks.setdefault(frozenset(its_tasks), []).append(model)
        for models in by_tasks.values():
            named = [task for task in by_model[models[0]] if task]
            named = [] if _are_default_tasks(suite, named) else named
            typed = [f"suite={suite}", f"model={as_typed(models)}"] + ([f"task={as_typed(named)}"] if named else [])
            names = [labels[words, model] for model in models]
            label = [f"label={as_typed([name or 'none' for name in names])}"] if any(names) else []
            command = [*typed, *others, *label, *last, f"out={out}"]
            lines.append("python -m bench run " + " ".join(map(shlex.quote, command)))
    return lines


def settings_of(cell: Cell) -> Mapping[str, Any]:
    """All settings of the suite, from the cell's identity."""
    settings = cell.identity.get("settings")
    return settings if isinstance(settings, Mapping) else {}


def files_read(cell: Cell) -> list[str]:
    """A line for each file that was read: path, size, whether it has changed since, and digest."""
    lines = []
    for item in cell.inputs:
        path = Path(item["path"])
        state = "gone" if not path.exists() else "CHANGED since" if changed([item]) else "unchanged"
        lines.append(f"{path}  {item['size']:,} bytes, {state}, sha256 {str(item['sha256'])[:16]}")
    return lines


def _words(cell: Cell) -> tuple[str, ...]:
    """The suite of a job, and the words of its command for weights and for settings that are not the default."""
    record = cell.records[0]
    words = [record.suite]
    if record.weights and record.weights != "own":
        words.append(f"weights={as_typed([record.weights])}")
    model = [f"model.{name}={value}" for name, value in read_variant(record.variant).items()]
    defaults = _default_settings(record.suite)
    own = [
        f"suite.{name}={as_typed(value if isinstance(value, list) else [value])}"
        for name, value in settings_of(cell).items()
        if value not in (None, []) and value != defaults.get(name)
    ]
    asked = _in_words_of_today(cell, [*model, *own])
    suite = [word for word in asked if word.startswith("suite.")]
    resized = _words_of_floats(record, suite) if _fed_antialiased_floats(cell) else ()
    return (*words, *asked, *resized, *(["skip_bad=true"] if cell.identity.get("skip_bad") else []))


def _in_words_of_today(cell: Cell, words: Sequence[str]) -> list[str]:
    """The words of a cell with what OF_BEFORE says that they meant."""
    settings = settings_of(cell)
    typed = {name for name, value in settings.items() if value is not None}
    has_fed = "fed" in cell.identity or bool(RESIZING & typed)
    treatments = [record.treatment for record in cell.records]
    recipe = next((fed["recipe"] for fed in treatments if isinstance(fed.get("recipe"), Mapping)), {})
    recorded = {"rounding": "none"} | {name: value for fed in treatments for name, value in fed.items()} | dict(recipe)
    name = str(recipe.get("name") or settings.get("recipe"))
    asked = {word.partition("=")[0]: word for word in words}
    for before in (row for row in OF_BEFORE if row.has_fed == has_fed):
        if before.typed and before.typed in words:
            asked |= {word.partition("=")[0]: word for word in before.words}
        elif not before.typed and fnmatchcase(name, before.recipe) and before.where(cell, recipe):
            for word in before.words:
                asked.setdefault(word.partition("=")[0], word.format_map(recorded))
    return sorted(asked.values(), key=lambda word: word.startswith("suite."))


def _fed_antialiased_floats(cell: Cell) -> bool:
    """Whether images were resized to antialiased floats: all were, before there were other defaults."""
    treatments = [record.treatment for record in cell.records]
    recipes = [fed["recipe"] for fed in treatments if isinstance(fed.get("recipe"), Mapping)]
    tested = [*treatments, *(recipe.get("test", {}) for recipe in recipes)]
    return "fed" not in cell.identity and any(fed.get("antialias") is True for fed in tested)


def _words_of_floats(record: Record, own: Sequence[str]) -> tuple[str, ...]:
    """Words for images resized to antialiased floats, where the suite's own words mean others (Suite.fed)."""
    known = record.model in catalog() or is_external(record.model)
    weights = Random() if str(record.weights).startswith("random") else WeightsFile(str(record.weights))
    task = next((row for row in tasks().values() if row.name == record.task), NO_TASK)
    with suppress(UsageError):
        (suite,) = apply(read([f"suite={record.suite}", *own]), [suites()[record.suite]])
        row = select_model(record.model if known else "ViT-mini").row  # a user's code is not run for this
        if fed := suite.fed(row, weights, task):
            floats = {"antialias": "true", "rounding": "none"}  # in_fed: the others are settings as ever
            kernels = [how.get("interpolation") for how in (fed, *fed.values()) if isinstance(how, Mapping)]
            if any(kernels):  # the recipe names another kernel today
                floats = {"interpolation": row.input.interpolation} | floats
            return tuple(f"suite.{name}={value}" for name, value in floats.items() if name in suite.in_fed)
    return ()


@cache
def _default_settings(suite: str) -> Mapping[str, Any]:
    """The default settings of a suite; empty for a suite that no longer exists."""
    return plain(asdict(suites()[suite])) if suite in suites() else {}


def _are_default_tasks(name: str, chosen: Sequence[str]) -> bool:
    """Whether these are all the tasks that a suite runs on where none is named."""
    if name not in suites() or not suites()[name].only_default_tasks:
        return False
    return {row.name for row in tasks().values() if row.collection == suites()[name].default_tasks} == set(chosen)
