"""Where a data set of the Hugging Face Hub, or one on disk, is prepared for `datasets`, and how it gets here.

The library keeps a prepared data set as Arrow files in its cache, HF_DATASETS_CACHE: of a repository in a folder that
is named after the commit. One that is there is read without the network.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ...meter import on_stderr
from ...registry import UsageError, first_few
from ...stable import file_sha, sha
from ...transfer import switched_off

if TYPE_CHECKING:
    from datasets import Dataset

PREFIX = "hf:"
SAVED = ("dataset_dict.json", "state.json")  # files of a folder that `save_to_disk` wrote
COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, kw_only=True)
class Copy:
    """A data set that is on this machine."""

    path: Path | None = None  # the user's folder; None: a repository of the Hub
    repository: str = ""  # OWNER/NAME
    config: str = ""  # the configuration; of a folder "" where none was typed
    revision: str = ""  # the commit; of a folder the digest of its files' names and sizes
    prepared: Path  # the folder of Arrow files

    @property
    def place(self) -> str:
        """What tells it from any other."""
        return str(self.path.resolve()) if self.path else f"{self.repository}@{self.revision}"

    def find(self) -> Path | None:
        """Its folder on this machine, which may have another cache than the one that listed it; None without one."""
        folder = self.path or self.prepared
        if folder.is_dir() or self.path or find_spec("datasets") is None:
            return folder if folder.is_dir() else None
        return next(iter(_cached(self.repository, self.config, self.revision)), None)

    def files(self) -> tuple[Path, ...]:
        """The files by which a change is noticed: all of a folder. A commit does not change."""
        return tuple(_files(self.path)) if self.path else ()

    def read_files(self) -> list[Path]:
        """The files that images are read from."""
        return _files(self.path or self.prepared)

    def open(self) -> Mapping[str, Dataset]:
        """The splits by their names. Raises UsageError where the files are not whole."""
        import datasets

        if not _is_saved(self.prepared):
            return _prepared_splits(self.prepared)
        try:
            loaded = datasets.load_from_disk(str(self.prepared))
        except IndexError as error:
            why = "a split without a row was saved in it, which `datasets` cannot read back. Save it without that split"
            raise UsageError(f"{self.prepared}: {why}") from error
        alone = isinstance(loaded, datasets.Dataset)
        return {str(loaded.split or "all"): loaded} if alone else {str(name): one for name, one in loaded.items()}


def copy_of_folder(path: Path, config: str) -> Copy:
    """A folder on disk: one that `save_to_disk` wrote, or one of Parquet or other files that `datasets` reads.

    The latter's are written as Arrow files into the cache of `datasets` first. Raises UsageError where it reads none.
    """
    from datasets import load_dataset_builder

    with understood(f"{PREFIX}{path}"):
        listed = [[str(file.relative_to(path)), _version(file)] for file in _files(path)]
        copy = Copy(path=path, config=config, revision=sha(listed), prepared=path)
        if _is_saved(path):
            if config:
                raise UsageError(f"{PREFIX}{path} is what save_to_disk wrote, which has no configurations: no config=")
            return copy
        builder = load_dataset_builder(str(path.resolve()), config or None)  # resolved: `parquet` is a format
        builder.download_and_prepare()
        return replace(copy, prepared=Path(builder.cache_dir))


def copy_of_repository(repository: str, config: str, revision: str, *, fetch: bool) -> Copy:
    """A repository of the Hub: the newest copy in the cache of `datasets`; where there is none, `fetch` downloads one.

    Raises UsageError where it cannot be had. For a `revision` that is no commit the Hub is asked which it is.
    """
    from datasets.config import HF_DATASETS_CACHE

    word = f"{PREFIX}{repository}" + (f"@{revision}" if revision else "")
    if revision and not COMMIT.fullmatch(revision):
        if switch := switched_off():
            raise UsageError(f"{word}: {switch} forbids to ask the Hub which commit that is: type @ and the commit")
        revision = _commit(word, repository, revision)
    with understood(word):
        found = _cached(repository, config, revision)
    if not found and not fetch:
        get = word + (f":config={config}" if config else "")
        raise UsageError(
            f"no data for {get}: it is not in {HF_DATASETS_CACHE}. `run` downloads it from the Hugging "
            f"Face Hub, and so does `data prepare {get}`"
        )
    if not found:
        return _fetched(word, repository, config, revision)
    return _of_repository(repository, found[0])


def _of_repository(repository: str, prepared: Path) -> Copy:
    """The copy in a folder CONFIGURATION/VERSION/COMMIT of the cache."""
    return Copy(repository=repository, config=prepared.parts[-3], revision=prepared.name, prepared=prepared)


def _cached(repository: str, config: str, revision: str) -> list[Path]:
    """The folders of a repository in the cache of `datasets`, the newest first: NAME/CONFIGURATION/VERSION/COMMIT.

    Without a configuration they are of the default one.
    """
    from datasets.config import HF_DATASETS_CACHE
    from datasets.naming import camelcase_to_snakecase

    owner, _, name = repository.partition("/")
    top = Path(HF_DATASETS_CACHE) / f"{owner}___{camelcase_to_snakecase(name)}"
    found = [info.parent for info in top.glob("*/*/*/dataset_info.json") if COMMIT.fullmatch(info.parent.name)]
    found = [one for one in found if revision in ("", one.name)]
    fitting = [one for one in found if one.parts[-3] == (config or _default(repository, one))]
    return sorted(fitting, key=lambda folder: folder.stat().st_mtime, reverse=True)


def _default(repository: str, prepared: Path) -> str:
    """The configuration that is meant where none is named, by the README in the Hub's cache; else that of the copy."""
    from huggingface_hub import metadata_load, try_to_load_from_cache

    card = try_to_load_from_cache(repository, "README.md", repo_type="dataset", revision=prepared.name)
    described = (metadata_load(card) if isinstance(card, str) else None) or {}
    names = [one.get("config_name", "default") for one in described.get("configs", ()) if one.get("default")]
    names = names or [one.get("config_name", "default") for one in described.get("configs", ())]
    return names[0] if len(names) == 1 else "default" if names else prepared.parts[-3]


def _fetched(word: str, repository: str, config: str, revision: str) -> Copy:
    from datasets import load_dataset_builder

    commit = revision or _commit(word, repository, None)
    with _asking(word):
        on_stderr().say(f"downloading {word} from the Hugging Face Hub, commit {commit[:12]}")
        builder = load_dataset_builder(repository, config or None, revision=commit)
        if builder.hash != commit:  # where the Hub does not answer, it is any copy that is here
            raise ConnectionError(f"the Hub does not answer for its commit {commit}")
        builder.download_and_prepare()
        return _of_repository(repository, Path(builder.cache_dir))


def _commit(word: str, repository: str, revision: str | None) -> str:
    """The commit of a branch or tag, or of the main branch, as the Hub says."""
    from huggingface_hub import HfApi

    with _asking(word):
        return str(HfApi().dataset_info(repository, revision=revision).sha)


@contextmanager
def _asking(word: str) -> Iterator[None]:
    """Raises UsageError where the Hub does not answer or refuses, or downloads are forbidden."""
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    if switch := switched_off():
        raise UsageError(f"no data for {word}: it is not in the cache of datasets, and {switch} forbids a download")
    try:
        yield
    except UsageError:
        raise
    except Exception as error:  # whatever the Hub's client and `datasets` raise
        why = _first_words(error)
        if isinstance(error, RepositoryNotFoundError):
            why = "the Hub has no such data set, or one that is private or gated: ask for access, type `hf auth login`"
        elif isinstance(error, RevisionNotFoundError):
            why = "the data set has no such revision"
        elif re.search("Connect|Network|Timeout", type(error).__name__):  # of the HTTP library that the client has
            why = f"the Hugging Face Hub cannot be reached ({why})"
        raise UsageError(f"no data for {word}: {why}") from error


@contextmanager
def understood(word: str) -> Iterator[None]:
    """Raises UsageError where `datasets` cannot read what the word names."""
    try:
        yield
    except UsageError:
        raise
    except Exception as error:  # whatever `datasets` and its readers raise
        raise UsageError(f"{word} cannot be read as a data set: {_first_words(error)}") from error


def _first_words(error: Exception) -> str:
    """What an error says, without its example; of a missing configuration, what to type."""
    from datasets.exceptions import DatasetGenerationError

    if isinstance(error, DatasetGenerationError) and isinstance(error.__cause__, Exception):
        return _first_words(error.__cause__)  # it says no more than that there was one
    text = " ".join(str(error).partition("\nExample of usage")[0].split())[:400] or type(error).__name__
    if isinstance(error, ValueError) and "config" in text.lower():
        return f"{text.rstrip('.')}. Type :config=NAME after it"
    kind = type(error)
    return text if kind.__module__.startswith("datasets.") else f"{kind.__name__}: {text}"


def _prepared_splits(folder: Path) -> Mapping[str, Dataset]:
    """The splits of a folder of the cache. Raises UsageError where a file is missing."""
    import datasets
    from datasets.naming import filenames_for_dataset_split

    info = datasets.DatasetInfo.from_directory(str(folder))
    found = {}
    for name, split in (info.splits or {}).items():
        files = filenames_for_dataset_split(str(folder), info.dataset_name, name, "arrow", split.shard_lengths)
        if missing := [file for file in files if not Path(file).is_file()]:
            raise UsageError(f"{folder} is not whole: {first_few(missing)} is missing. Delete the folder")
        found[name] = datasets.concatenate_datasets([datasets.Dataset.from_file(file) for file in files])
    return found


def _is_saved(path: Path) -> bool:
    return any((path / name).is_file() for name in SAVED)


def _files(path: Path) -> list[Path]:
    """The files of a folder, without hidden ones."""
    return sorted(file for file in path.rglob("*") if file.is_file() and not _hidden(file.relative_to(path)))


def _hidden(file: Path) -> bool:
    return any(part[0] == "." for part in file.parts)


def _version(file: Path) -> str | int:
    """The digest of a short description, which has the data set's fingerprint; the size of any other file."""
    return file_sha(file) if file.suffix == ".json" else file.stat().st_size
