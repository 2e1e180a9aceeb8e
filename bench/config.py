"""Reads `key=value` words, and YAML files of the same keys, into one frozen Config. No word is ignored.

A word is split at its first `=`. `suite`, `model` and `task` select; `suite.X` and `model.X` are settings of what was
selected; any other key is one of Config's own fields or else a setting of the selected suites. Where one suite is
selected that has a setting of that name itself (`batch_size` of throughput), it is the suite's. Later words win over
earlier ones, words over `config=FILE`, and both over the environment. All mistakes are reported together: those of
single words by `read`, those that depend on the selected suites by `apply`.
"""

from __future__ import annotations

import difflib
import itertools
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import Field, dataclass, field, fields, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, TypeVar, get_type_hints

from ..registry import UsageError, suggest
from ..stable import cache_folder
from .words import (
    Mistakes,
    as_typed,
    at_least,
    no_setting,
    option,
    options,
    plain,
    read_sweep,
    read_value,
    read_values,
    split_word,
)

SuiteT = TypeVar("SuiteT")


def _wrong_trailer(name: str) -> str:
    from ..results.exports import formats

    choices = ["none", *(row.name for row in formats().values() if row.trailer is not None)]
    return "" if name in choices else suggest(name, choices)


def _wrong_device(name: str) -> str:
    known = re.fullmatch(r"auto|(cpu|cuda|mps|xpu)(:[0-9]{1,3})?", name)
    return "" if known else "not usable here (no such device). Type device=auto, cpu, cuda, cuda:1 or mps"


def _wrong_cluster(address: str) -> str:
    known = address == "auto" or re.fullmatch(r"[^\s/]+:[0-9]+", address)
    return "" if known else "type auto, on a machine of the cluster, or the HOST:PORT that `ray start --head` says"


def _wrong_tracker(name: str) -> str:
    install = "pip install wandb" if name == "wandb" else "pip install -e '.[track]'"
    return "" if find_spec(name) else f"the package {name} is not installed: {install}"


def _wrong_shard(text: str) -> str:
    if not re.fullmatch(r"[0-9]{1,6}/[0-9]{1,6}", text):
        return "expected a part and how many there are: shard=3/16"
    number, count = read_shard(text)
    return "" if 1 <= number <= count else f"of {count} shards the first is 1/{count}, the last {count}/{count}"


def read_shard(text: str) -> tuple[int, int]:
    """The number of a shard, from 1, and how many there are."""
    number, _, count = text.partition("/")
    return int(number), int(count)


def _wrong_label(labels: Sequence[str]) -> str:
    twice = [label for label, count in Counter(labels).items() if count > 1 and label != "none"]
    if twice:
        return f"'{twice[0]}' is the name of two rows"
    return "" if all(label.isprintable() for label in labels) else "a name is one line of text"


@dataclass(frozen=True, kw_only=True)
class Config:
    """The settings of one command. Those of suites and models are texts until these are selected (plan.py)."""

    suite: tuple[str, ...] = option((), "which suites (`list suites`), globs too", shown="NAME[,NAME]")
    model: tuple[str, ...] = option(
        (),
        "which models (`list models`); without it, the suite's own. A library's are `timm:NAME[.TAG]`, "
        "`torchvision:NAME[.TAG]`, `hf:OWNER/NAME`, globs too (`list models timm:vit*`)",
        shown="NAME|GLOB|file.py:builder|package.module:builder",
    )
    task: tuple[str, ...] = option(
        (),
        "which tasks (`list tasks`); without it, the suite's own. `folder:PATH` are your images: a folder a class, "
        "or train, val and test folders of such; `hf:OWNER/NAME` is a data set of the Hugging Face Hub, `hf:PATH` one "
        "on disk; `fractals:CLASSES` are drawn",
        shown="NAME|GLOB|COLLECTION|folder:PATH|hf:OWNER/NAME",
    )
    weights: tuple[str, ...] = option(
        (),
        "which weights; a TAG (`weights list`) is a released file, downloaded when it is not on this machine; a "
        "glob of tags or of files selects several; for a library's models also `pretrained` or a tag of theirs, for "
        "your own also `own`, those that they bring",
        shown="random|random:SEED|TAG|FILE",
    )
    label: tuple[str, ...] = option(
        (),
        "the names that tables, figures, comparisons and reports show in place of models and weights: one for each, in "
        "the order typed; `none` leaves one out. It changes no result and costs no work, also when it is changed",
        shown="NAME[,NAME]",
        check=_wrong_label,
    )
    data: Path | None = option(None, "where data sets are; without it, BENCH_DATA", shown="DIR")
    source: str | None = option(None, "one kind of data source; without it, the first that has the task", shown="NAME")
    include: tuple[Path, ...] = option(
        (), "folders of Python files with tasks, sources, suites, tables, figures of yours", shown="DIR"
    )
    division: Literal["own", "800/200"] = option(
        "own", "of `folder:PATH` and `hf:`: its own, or VTAB-1k's budget, 800 to fit and 200 to choose"
    )
    division_seed: int = option(0, "of what `folder:PATH` and `hf:` leave undivided")
    range: int | None = option(
        None,
        "of `folder:PATH` and `hf:`: the value that is white in grey images of more than 8 bits, where their files do "
        "not say; 4095 for a camera's 12 bits",
        shown="WHITE",
        check=at_least(1, "white is above black, which is 0"),
    )
    device: str = option(
        "auto",
        "where it computes; `auto` is a GPU if there is one",
        shown="auto|cpu|cuda|cuda:1|mps",
        check=_wrong_device,
    )
    batch_size: int = option(
        64,
        "images a forward pass; changes no result. With `suite=throughput` alone it is `suite.batch_size`",
        check=at_least(1, "a batch holds at least one image"),
    )
    engine: Literal["here", "ray"] = option(
        "here", "where jobs run: in this process, or on workers of Ray, which `workers=` and `ray=` mean, too"
    )
    workers: int | None = option(
        None,
        "how many workers: processes with a GPU each, or where there is none with a share of the cores. Without it, as "
        "many as there are GPUs, or cores",
        check=at_least(1, "jobs need a worker"),
    )
    ray: str | None = option(
        None,
        "the running Ray cluster that the workers are on; without it, this machine",
        shown="auto|HOST:PORT",
        check=_wrong_cluster,
    )
    work: Path | None = option(
        None,
        "where checkpoints are, and what jobs keep until they end; a folder that all machines of a cluster see. "
        "Without it, the run directory",
        shown="DIR",
    )
    skip_bad: bool = option(
        False, "leave images that cannot be read out of a split, and record how many, instead of failing"
    )
    out: Path | None = option(
        None, "the run directory, `runs/<suite>` without it; repeating a command does only what is missing", shown="DIR"
    )
    shard: str | None = option(
        None,
        "one of several parts of the jobs, for a batch system: `shard=3/16` is the third of sixteen. Parts share no "
        "job, and may write one run directory (docs/on_a_cluster.md)",
        shown="PART/PARTS",
        check=_wrong_shard,
    )
    tracker: Literal["trackio", "wandb"] | None = option(
        None,
        "the experiment tracker that training curves and finished jobs are told to, a run of it for each job",
        check=_wrong_tracker,
    )
    project: str = option("vit-bench", "the tracker's project", shown="NAME")
    trailer: str = option(
        "none",
        "`timm` prints its `--result` and JSON at the end of standard output, for its bulk runner",
        shown="none|FORMAT",
        check=_wrong_trailer,
    )
    settings: Mapping[str, str] = field(default_factory=dict)  # of the selected suites
    model_settings: Mapping[str, str] = field(default_factory=dict)  # of the selected models
    origin: Mapping[str, str] = field(default_factory=dict)  # key -> where its value comes from

    @property
    def on_ray(self) -> bool:
        """Whether workers of Ray run the jobs."""
        return self.engine == "ray" or self.workers is not None or self.ray is not None

    def describe(self) -> dict[str, Any]:
        """The settings that were given, as plain values by the keys that set them."""
        given = {name: plain(getattr(self, name)) for name in TOP_LEVEL if name in self.origin}
        given |= {f"suite.{name}": value for name, value in self.settings.items()}
        return given | {f"model.{name}": value for name, value in self.model_settings.items()}


TOP_LEVEL = tuple(options(Config))


def read(words: Sequence[str], *, verb: str = "", only: Sequence[str] = TOP_LEVEL) -> Config:
    """The Config of these words. A `verb` other than run takes `only` some settings, but all if a suite is named.

    Raises UsageError for words without `=`, empty values, values of the wrong type, YAML files that cannot be read, and
    what `apply` finds wrong, all of them together. Whether all is used is only known with a user's suites, too.
    """
    mistakes = Mistakes()
    given: dict[str, tuple[str, str]] = {}  # key -> text, origin
    if folder := os.environ.get("BENCH_DATA"):
        given["data"] = (folder, "environment variable BENCH_DATA")
    pairs: list[tuple[str, str]] = []
    for word in words:
        with mistakes:
            pairs.append(split_word(word))
    for file in [value for key, value in pairs if key == "config"]:
        with mistakes:
            given |= {key: (value, f"file {file}") for key, value in read_file(Path(file)).items()}
    given |= {key: (value, "command") for key, value in pairs if key != "config"}

    if "suite" in only and "suite" in given:
        verb, only = "", TOP_LEVEL
    texts = {key: text for key, (text, _) in given.items()}
    suites = _named_suites(texts.get("suite", ""))
    own = set(_settable(suites[0])) & texts.keys() if len(suites) == 1 else set()
    only = [key for key in only if key not in own]
    settings: dict[str, str] = {}
    model_settings: dict[str, str] = {}
    for key in [key for key in texts if key not in only]:
        if verb:
            mistakes.note(no_setting(verb, key.removeprefix("suite."), only))
        elif key.startswith("model."):
            model_settings[key.removeprefix("model.")] = texts[key]
        elif "." in key and not key.startswith("suite."):
            mistakes.note(f"there is no setting '{key}'. {suggest(key, [*TOP_LEVEL, 'suite.X', 'model.X'])}")
        else:
            settings[key.removeprefix("suite.")] = texts[key]
    values = read_values({key: text for key, text in texts.items() if key in only}, options(Config), mistakes)
    full = {key: key if (key in TOP_LEVEL and key not in own) or "." in key else f"suite.{key}" for key in given}
    origin = {full[key]: where for key, (_, where) in given.items()}
    config = Config(**values, settings=settings, model_settings=model_settings, origin=origin)
    if mistakes and suites:
        with mistakes:
            apply(config, suites)
    mistakes.tell()
    return config


def _named_suites(text: str) -> list[Any]:
    """The suites that `suite=` names; none where one of them is not known, or is a user's."""
    from ..suites import suites

    with suppress(UsageError):
        words = read_value("suite", text, tuple[str, ...]) if text else ()
        return list({suite.name: suite for word in words for suite in suites().select(word)}.values())
    return []


def apply(config: Config, suites: Sequence[SuiteT]) -> list[SuiteT]:
    """The selected suites with the settings. A setting that sweeps (a comma list for one value) makes several of each.

    Raises UsageError for settings that none of the suites has, with the nearest, and for values of the wrong type.
    """
    mistakes = Mistakes()
    known = {name for suite in suites for name in _settable(suite)}
    for name in [name for name in config.settings if name not in known]:
        names = ", ".join(getattr(suite, "name", "?") for suite in suites)
        choices = [*(f"suite.{other}" for other in sorted(known)), *TOP_LEVEL]
        bare = difflib.get_close_matches(name, [*known, *TOP_LEVEL], n=1, cutoff=0.6)
        hint = f"Did you mean '{bare[0]}'?" if bare else suggest(name, [], choices)
        mistakes.note(f"no selected suite ({names}) has a setting '{name}'. {hint}")
    applied: list[SuiteT] = []
    for suite in suites:
        own, hints, swept = _settable(suite), _hints_of(type(suite)), dict[str, list[Any]]()
        for name, text in config.settings.items():
            with mistakes:
                if name in own:
                    words = own[name].metadata.get("words", {})
                    swept[name] = read_sweep(f"suite.{name}", text, hints[name], words)
        for values in itertools.product(*swept.values()):
            changes = dict(zip(swept, values, strict=True))
            applied.append(replace(suite, **changes))  # pyright: ignore[reportArgumentType]
    mistakes.tell()
    return applied


_hints_of = cache(get_type_hints)  # slow, and asked once a cell in reports


def _settable(suite: Any) -> dict[str, Field[Any]]:
    return {item.name: item for item in fields(suite)}


def read_file(path: Path) -> dict[str, str]:
    """The keys of a YAML file with the texts of their values. `bench/NAME` is a file of this package from any folder.

    Raises UsageError where it cannot be read.
    """
    import yaml

    shipped = Path(__file__).with_name(path.name)
    file = shipped if path == Path("bench", path.name) and not path.exists() else path
    if not file.is_file():
        raise UsageError(f"config={path}: there is no such file")
    try:
        text = file.read_text(encoding="utf-8-sig")
        loaded, tree = yaml.safe_load(text), yaml.compose(text, yaml.SafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise UsageError(f"config={path}: not readable as YAML: {error}") from error
    if tree is None:
        return {}
    if not isinstance(loaded, dict):
        raise UsageError(f"config={path}: expected keys and values, for example `suite: vtab`")
    if len(loaded) < len(tree.value):
        twice = Counter(key.value for key, _ in tree.value).most_common(1)[0][0]
        raise UsageError(f"config={path}: not readable as YAML: {twice} is there twice")
    for key, value in loaded.items():
        if isinstance(value, dict) or (isinstance(value, list) and any(isinstance(item, dict) for item in value)):
            raise UsageError(f"config={path}: {key} holds further keys; write them flat, for example `suite.l2: 512`")
    return {str(key): as_typed(value) for key, value in loaded.items()}


def read_config(run: Path) -> dict[str, str]:
    """The settings of the last command of a run directory; empty where its config.yaml cannot be read."""
    with suppress(UsageError):
        return read_file(run / "config.yaml")
    return {}


def data_folder(config: Config) -> Path:
    """The folder of data sets: `data=`, BENCH_DATA, or `data` in the cache folder."""
    return config.data or cache_folder() / "data"
