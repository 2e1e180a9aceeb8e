"""Checkpoints of a training run: written atomically, verified by checksum; the last two are kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ...stable import file_sha, replacing, sha
from .contract import CHECKPOINTS, TrainingError

VERSION = 2  # of the file layout; checkpoints of another version are not used


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint that was read: `facts` are plain data, `state` is nested dicts of tensors on the CPU."""

    step: int
    facts: Mapping[str, Any]
    state: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """The checkpoints of one run in a folder.

    A checkpoint is a `.pt` file (tensors, read with `weights_only`), and a `.json` file with the step, the run and the
    sha256 of the `.pt` file and its own. The JSON file is written last: without it, there is no checkpoint.
    """

    folder: Path
    run: Mapping[str, Any]  # describes the run; the first save deletes checkpoints of other runs
    say: Callable[[str], None]

    def save(self, step: int, state: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
        """Write a checkpoint. Raises TrainingError if that fails; earlier checkpoints remain then."""
        tensors = self.folder / f"step-{step:08d}.pt"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            # First of all: the old JSON file does not fit the new tensors.
            tensors.with_suffix(".json").unlink(missing_ok=True)
            with replacing(tensors) as temporary, temporary.open("wb") as file:
                torch.save(state, file)
            metadata = {"version": VERSION, "step": step, "run": sha(self.run), "sha256": file_sha(tensors), **facts}
            metadata["own_sha"] = _own_sha(metadata)
            with replacing(tensors.with_suffix(".json")) as temporary:
                temporary.write_text(json.dumps(metadata, indent=1) + "\n", encoding="utf-8")
            self._prune()
        except (OSError, RuntimeError) as error:
            cause = error.__context__ if isinstance(error.__context__, OSError) else error  # torch's own says less
            reason = getattr(cause, "strerror", None) or str(cause).splitlines()[0]
            raise TrainingError(
                f"the checkpoint of step {step} cannot be written to {self.folder} ({reason}). Make room "
                "there and repeat the command: it goes on from the checkpoint before"
            ) from error

    def newest(self) -> Checkpoint | None:
        """The newest intact checkpoint of this run, or None. Says why newer ones are not used."""
        for path in sorted(self.folder.glob("step-*.json"), reverse=True):
            checkpoint = self._read(path)
            if isinstance(checkpoint, Checkpoint):
                return checkpoint
            self.say(f"{path.with_suffix('.pt')} {checkpoint}; it is not used, an older one is if there is one")
        return None

    def _read(self, path: Path) -> Checkpoint | str:
        """The checkpoint, or a text that says what is wrong with it."""
        tensors = path.with_suffix(".pt")
        try:
            metadata = json.loads(path.read_text(encoding="utf-8"))
            if metadata["version"] != VERSION or metadata["run"] != sha(self.run):
                return "belongs to another run (other settings, images, weights or version)"
            if metadata.pop("own_sha") != _own_sha(metadata) or file_sha(tensors) != metadata["sha256"]:
                return "is damaged (its checksum does not fit)"
            state = torch.load(tensors, map_location="cpu", weights_only=True)
        except (OSError, ValueError, KeyError, TypeError) as error:
            return f"is damaged ({type(error).__name__}: {error})"
        return Checkpoint(step=metadata["step"], facts=metadata, state=state)

    def _prune(self) -> None:
        """Keep the newest of this run; delete older, incomplete and other runs' files."""
        mine = [path for path in sorted(self.folder.glob("step-*.json"), reverse=True) if self._is_ours(path)]
        kept = {path.stem for path in mine[:CHECKPOINTS]}
        for path in sorted(self.folder.glob("step-*")):  # sorted, so that a JSON file goes before its tensors
            if path.stem not in kept:
                path.unlink(missing_ok=True)

    def _is_ours(self, path: Path) -> bool:
        try:
            return json.loads(path.read_text(encoding="utf-8"))["run"] == sha(self.run)
        except (OSError, ValueError, KeyError, TypeError):
            return False


def _own_sha(metadata: Mapping[str, Any]) -> str:
    """The digest of what a JSON file says; a loss may be NaN."""
    return sha(json.dumps(metadata, sort_keys=True))
