"""Checkpoints of a training run: written whole or not at all, the last two kept, trusted by their checksum alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ...stable import file_sha, replacing, sha
from .contract import TrainingError

KEPT = 2
VERSION = 1  # of the layout; another one's checkpoint is not gone on from


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What was found: `facts` are plain data, `state` nested dicts of tensors on the CPU."""

    step: int
    facts: Mapping[str, Any]
    state: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """The checkpoints in a folder, of one run.

    Each is a `.pt` file (tensors; read with `weights_only`) and a `.json` beside it, written after it, with the step,
    the run it belongs to and the first file's sha256: without a JSON file there is no checkpoint.
    """

    folder: Path
    run: Mapping[str, Any]  # whose they are, as data: another run's are left alone until they are in the way
    say: Callable[[str], None]

    def save(self, step: int, state: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
        """Raises TrainingError where it cannot be written; what was there before is still there then."""
        tensors = self.folder / f"step-{step:08d}.pt"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            # While a file is being replaced its JSON's checksum is wrong: of two with one name, none would be trusted.
            tensors.with_suffix(".json").unlink(missing_ok=True)
            with replacing(tensors) as temporary, temporary.open("wb") as file:
                torch.save(state, file)
            about = {"version": VERSION, "step": step, "run": sha(self.run), "sha256": file_sha(tensors), **facts}
            with replacing(tensors.with_suffix(".json")) as temporary:
                temporary.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
            self._prune()
        except (OSError, RuntimeError) as error:
            reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
            raise TrainingError(
                f"the checkpoint of step {step} cannot be written to {self.folder} ({reason}). Make room "
                "there and repeat the command: it goes on from the checkpoint before"
            ) from error

    def newest(self) -> Checkpoint | None:
        """The newest one that is whole and this run's, or None. Says why any newer one was passed over."""
        for path in sorted(self.folder.glob("step-*.json"), reverse=True):
            found = self._read(path)
            if isinstance(found, Checkpoint):
                return found
            self.say(f"{path.with_suffix('.pt')} {found}; it is not used, an older one is if there is one")
        return None

    def _read(self, path: Path) -> Checkpoint | str:
        """A checkpoint, or what is wrong with it."""
        tensors = path.with_suffix(".pt")
        try:
            about = json.loads(path.read_text(encoding="utf-8"))
            if about["version"] != VERSION or about["run"] != sha(self.run):
                return "belongs to another run (other settings, images, weights or version)"
            if file_sha(tensors) != about["sha256"]:
                return "is damaged (its checksum does not fit)"
            state = torch.load(tensors, map_location="cpu", weights_only=True)
        except (OSError, ValueError, KeyError, TypeError) as error:
            return f"is damaged ({type(error).__name__}: {error})"
        return Checkpoint(step=about["step"], facts=about, state=state)

    def _prune(self) -> None:
        """Keep the newest of this run; what is older, not whole or another run's goes."""
        mine = [path for path in sorted(self.folder.glob("step-*.json"), reverse=True) if self._owns(path)]
        kept = {path.stem for path in mine[:KEPT]}
        for path in sorted(self.folder.glob("step-*")):  # a JSON comes before its tensors
            if path.stem not in kept:
                path.unlink(missing_ok=True)
        for left in self.folder.glob(".step-*.tmp"):  # of a process that was killed while it wrote
            left.unlink(missing_ok=True)

    def _owns(self, path: Path) -> bool:
        try:
            return json.loads(path.read_text(encoding="utf-8"))["run"] == sha(self.run)
        except (OSError, ValueError, KeyError, TypeError):
            return False
