"""Weights files of every kind a model is published in: read strictly and streamed, converted, and looked into.

    files       a path to the tensors in it, still unread: npz, safetensors (also in shards), PyTorch's own
    containers  what training scripts put around a state dict: its parts, prefixes, moving averages
    layout      one table of names and shapes for each convention: official (both ways) and timm
    recognise   a file's tensors under this project's names
    fit         the head, the tanh layer and the position grid that a network asks for; strict matching
    looks       which row of the catalog a file's shapes are those of
    sidecar     where weights come from: FILE.yaml beside a checkpoint
    inspect     what a file holds, without building a network
    convert     official npz <-> safetensors, without loss

Here only what needs no torch.
"""

from .sidecar import read_sidecar
from .words import split_part

__all__ = ["read_sidecar", "split_part"]
