"""Says what a file or folder is that is no weights file of a kind read here, and what to do instead."""

from __future__ import annotations

import shlex
import zipfile
from collections.abc import Callable
from pathlib import Path

HEAD = 512  # bytes of a file that are looked at
RELEASES = "The releases of ViT and BiT have .npz files (`weights list`)"
NUMPY = "np.savez('NEW.npz', **flatten_dict({}, sep='/'))"  # a nested dict of arrays as the release's names
FROM_KERAS = (
    "of a Keras model. Of transformers' models: ViTForImageClassification.from_pretrained(FOLDER, from_tf=True)"
    f".save_pretrained(NEW). {RELEASES}"
)
FOLDERS = {  # a file that shows what a folder is
    "saved_model.pb": f"a SavedModel of TensorFlow, a program. {RELEASES}",
    ".metadata": "a folder of torch.distributed.checkpoint. Make one file of it: "
    "python -m torch.distributed.checkpoint.format_utils dcp_to_torch {quoted} NEW.pt",
    **dict.fromkeys(
        ("_CHECKPOINT_METADATA", "_METADATA", "manifest.ocdbt", "_sharding"),
        "a checkpoint folder of Orbax. Make one file of it, with flax.traverse_util's flatten_dict: "
        + NUMPY.format("orbax.checkpoint.PyTreeCheckpointer().restore({path!r})"),
    ),
}


def foreign_folder(path: Path) -> str:
    """What a folder without weights files is: "it is … "; "" where nothing is known."""
    found = next((said for name, said in FOLDERS.items() if (path / name).exists()), "")
    return _filled(found, path)


def foreign_file(path: Path) -> str:
    """What a file is by its first bytes or its name, or a path without a file by what lies beside; "" for all else."""
    try:
        if path.name and path.with_name(f"{path.name}.index").is_file():
            return f"it is {TENSORFLOW}"
        if not path.is_file():
            return ""
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError:
        return ""
    said = next((said for shows, said in FILES if shows(path, head)), "")
    return _filled(said, path)


def _filled(said: str, path: Path) -> str:
    quoted, quoted_folder, quoted_name = (shlex.quote(str(part)) for part in (path, path.parent, path.name))
    names = {"quoted": quoted, "quoted_folder": quoted_folder, "quoted_name": quoted_name}
    return said and "it is " + said.format(path=str(path), folder=str(path.parent), **names)


def _starts(*starts: bytes) -> Callable[[Path, bytes], bool]:
    return lambda _path, head: head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(starts)


def _ends(*endings: str) -> Callable[[Path, bytes], bool]:
    return lambda path, _head: path.name.endswith(endings)


def _is_onnx(path: Path, head: bytes) -> bool:
    """Whether it is a protobuf message of ONNX: its version, then the name of the program that wrote it."""
    return path.suffix == ".onnx" or (head[:1] == b"\x08" and head[1:2] <= b"\x20" and head[2:3] == b"\x12")


def _is_keras(path: Path, _head: bytes) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return "model.weights.h5" in archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):  # no zip file, or a damaged one
        return False


TENSORFLOW = f"a checkpoint of TensorFlow, an index beside its data, which is not read. {RELEASES}"
FILES: tuple[tuple[Callable[[Path, bytes], bool], str], ...] = (
    (
        _starts(b"version https://git-lfs"),
        "a pointer of Git LFS, which stands for the file. Get the file: "
        "git -C {quoted_folder} lfs pull --include {quoted_name}",
    ),
    (
        _starts(b"<!doctype", b"<html", b"<?xml"),
        "a web page that was saved in place of the file. Download the file itself; on the hub its address has "
        "/resolve/ in it, not /blob/",
    ),
    (_starts(b"\x89hdf"), f"an HDF5 file, {FROM_KERAS}"),
    (_is_keras, f"a .keras file, {FROM_KERAS}"),
    (_ends(".index", ".data-00000-of-00001", ".meta"), TENSORFLOW),
    (_is_onnx, "a graph of ONNX, a program. Give the checkpoint that it was exported from"),
    (
        _ends(".msgpack"),
        "a msgpack file of Flax. Of transformers' models: ViTForImageClassification.from_pretrained({folder!r}, "
        "from_flax=True).save_pretrained(NEW); of the ViT release's code, with flax.traverse_util's flatten_dict: "
        + NUMPY.format("flax.serialization.msgpack_restore(open({path!r}, 'rb').read())"),
    ),
    (_ends(".tflite", ".pb"), f"a program of TensorFlow. {RELEASES}"),
    (_starts(b"gguf"), "a GGUF file, of quantised language models"),
    (_starts(b"\x1f\x8b"), "a gzip file. Unpack it: gunzip {quoted}"),
)
