"""Weights files of every kind a model is published in: read strictly and streamed, converted, and looked into.

    words       what may be written for a file: its path, and which part of it to read
    files       a path to the tensors in it, still unread, whichever of the next three its format is
    npz         NumPy's archives, read and written one array at a time
    safetensors memory-mapped, in one file or in the hub's shards; streamed when written
    pickled     what torch.save wrote: memory-mapped, and nothing that is in it is run
    zip_entries zip archives, read only where every entry is what its checksum says
    stored      a tensor that is still in its file, and what reading a damaged file raises
    containers  what training scripts put around a state dict: its parts, prefixes, moving averages
    layout      how a tensor of ours and those of another convention hold the same numbers
    family      what a family of networks says of its released weights
    names       one file a family: official names and timm's beside ours, and what shapes tell
    recognise   a file's tensors under this project's names
    shapes      what a file's shapes tell of its network, and of the images it was trained on
    looks       which row of the catalog a file's shapes are those of
    fit         the head, the tanh layer and the position grid that a network asks for; strict matching
    resize      position embeddings for another grid
    sidecar     where weights come from: FILE.yaml beside a checkpoint
    inspect     what a file holds, without building a network
    convert     official npz <-> safetensors, without loss

Here only what needs no torch.
"""

from .paths import split_part
from .sidecar import read_sidecar

__all__ = ["read_sidecar", "split_part"]
