"""Frozen features: one pass over each distinct set of images, kept on disk under everything that could change them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..stable import canonical, replacing, sha
from .protocol import Features
from .transforms import Transform

if TYPE_CHECKING:
    import torch

    from ..models.spec import Backbone


def extract(
    backbone: Backbone,
    images: Sequence[np.ndarray] | np.ndarray,
    transform: Transform,
    *,
    batch_size: int,
    progress: Callable[[int], None] = lambda _: None,
) -> np.ndarray:
    """(N, D) float32 features of N images, each (H, W, 3) uint8 RGB, on the device and in the mode `backbone` is in.

    `progress` is called with the number of images of each batch. Raises ValueError where a feature is NaN or inf,
    naming the image.
    """
    import torch

    device = next((tensor.device for tensor in backbone.state_dict().values()), torch.device("cpu"))
    parts: list[np.ndarray] = []
    with torch.inference_mode():
        for start in range(0, len(images), batch_size):
            batch = transform.batch(images[start : start + batch_size], device)
            features = backbone.features(batch).float()
            finite = torch.isfinite(features).all(dim=1)
            if not finite.all():
                bad = start + int((~finite).nonzero()[0])
                raise ValueError(f"{backbone.spec.name} gives NaN or inf for image {bad} of the split")
            parts.append(features.cpu().numpy())
            progress(len(features))
    return np.concatenate(parts)


@dataclass(frozen=True, kw_only=True)
class FeatureCache:
    """Features on disk, one file a set of images and way of looking at it; a key misses when anything in it differs."""

    folder: Path

    def get(self, key: Mapping[str, Any]) -> np.ndarray | None:
        """The features stored under this key, or None. A file that cannot be read is as good as absent."""
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        path = self._path(key)
        try:
            return load_file(path)["features"] if path.exists() else None
        except (SafetensorError, KeyError, OSError):
            return None

    def put(self, key: Mapping[str, Any], features: np.ndarray) -> None:
        """Store (N, D) features, together with the readable key."""
        from safetensors.numpy import save_file

        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            save_file({"features": np.ascontiguousarray(features)}, temporary, metadata={"key": canonical(key)})

    def _path(self, key: Mapping[str, Any]) -> Path:
        return self.folder / "features" / f"{sha(key)}.safetensors"


def fingerprint(*parts: Features) -> dict[str, str]:
    """The identity of the images (in order) and, apart from it, of the labels that a question is asked on."""
    return {
        "split": sha([digest for part in parts for digest in part.digests]),
        "labels": hashlib.sha256(b"".join(map(_label_bytes, parts))).hexdigest()[:16],
    }


def _label_bytes(part: Features) -> bytes:
    sets = b"" if part.label_sets is None else canonical([list(classes) for classes in part.label_sets]).encode()
    return part.labels.astype("<i8").tobytes() + sets


def weights_digest(state: Mapping[str, torch.Tensor]) -> str:
    """sha256 over names, types, shapes and bytes of a state dict, in the order of the names."""
    import torch

    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
