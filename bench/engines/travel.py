"""What travels to a worker: things as bytes, modules passed from Python, and the user's Python files.

Where a machine has the user's files in the same places, they are used there. Elsewhere they are laid out below a folder
of its cache, and a job that is unpacked finds its files and modules there. Any other path, of a folder of images too,
stays what it is on the driver's machine.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any

from ...models.own.rows import GivenModule, OwnBuilder
from ...models.own.user_code import Builder, imported_files
from ...results.record import Cell
from ...stable import cache_folder, replacing, sha
from ..job import Job
from ..select.user_rows import include, module_names


@dataclass(frozen=True, kw_only=True)
class Luggage:
    """The user's Python files that jobs import, with their content."""

    files: Mapping[Path, bytes] = field(default_factory=dict)
    include: tuple[Path, ...] = ()  # the folders of `include=`
    modules: Mapping[str, Path] = field(default_factory=dict)  # the names under which they were imported

    @classmethod
    def of(cls, folders: Iterable[Path], jobs: Iterable[Job]) -> Luggage:
        """What `include=` names, the builders of these jobs' models, and what both import from their folders."""
        resolved = tuple(folder.resolve() for folder in folders)
        architectures = {id(job.model.architecture): job.model.architecture for job in jobs}.values()
        builders = {one.where for one in architectures if isinstance(one, OwnBuilder)}
        files = {file for folder in resolved for row in folder.glob("*.py") for file in imported_files(row, folder)}
        files |= {file for where in builders for file in imported_files(where.file, where.root)}
        return cls(files={file: file.read_bytes() for file in files}, include=resolved, modules=module_names())

    def unpack(self) -> LaidOut:
        """Lay the files out on this machine, where they are not there already, and import what `include=` names."""
        there = all(file.is_file() and file.read_bytes() == content for file, content in self.files.items())
        digest = sha(sorted([str(file), content.hex()] for file, content in self.files.items()))
        laid_out = LaidOut(luggage=self, root=None if there else cache_folder() / "workers" / digest)
        if laid_out.root is not None:
            for file, content in self.files.items():
                place = laid_out.root / file.relative_to(file.anchor)
                place.parent.mkdir(parents=True, exist_ok=True)
                with replacing(place) as temporary:
                    temporary.write_bytes(content)
        include(laid_out.include)
        return laid_out


@dataclass(frozen=True, kw_only=True)
class LaidOut:
    """The user's files on this machine."""

    luggage: Luggage
    root: Path | None  # the folder below which they are; None: where they are on the driver's

    def place(self, path: Path) -> Path:
        """The place here of a path of the driver's."""
        return self.folder(path) if path in self.luggage.files else path

    def folder(self, path: Path) -> Path:
        """The folder here in which there is the code, and nothing else, of a folder of the driver's."""
        return path if self.root is None else self.root / path.relative_to(path.anchor)

    @property
    def include(self) -> tuple[Path, ...]:
        """The folders of `include=` here."""
        return tuple(map(self.folder, self.luggage.include))

    def load(self, data: bytes, given: Mapping[str, GivenModule]) -> Any:
        """What `packed` made bytes of, with the paths of this machine. `given`: the modules by their digests."""
        here = {path: name for name, path in module_names().items()}
        places = {name: self.place(path).resolve() for name, path in self.luggage.modules.items()}
        names = {name: here[path] for name, path in places.items() if path in here}
        return _Unpickler(data, given, names, self).load()

    def as_at_home(self, cell: Cell) -> Cell:
        """A cell whose inputs have the paths of the driver's machine."""
        if self.root is None:
            return cell
        known = {str(self.place(file)): str(file) for file in self.luggage.files}
        inputs = tuple({**one, "path": known.get(one["path"], one["path"])} for one in cell.inputs)
        return replace(cell, inputs=inputs)


def packed(thing: Any, given: dict[str, GivenModule]) -> bytes:
    """A thing as bytes, with code of `__main__` and notebooks. Modules passed from Python are put into `given`."""
    from ray import cloudpickle

    class Pickler(cloudpickle.Pickler):
        def persistent_id(self, obj: Any) -> str | dict[str, Any] | None:
            if isinstance(obj, Builder):
                return vars(obj)
            if not isinstance(obj, GivenModule):
                return None
            given[obj.digest] = obj
            return obj.digest

    file = BytesIO()
    Pickler(file).dump(thing)
    return file.getvalue()


class _Unpickler(pickle.Unpickler):
    """Reads what `packed` wrote: modules by their digests, the user's modules by their names here, files as placed.

    Of a builder, the folder that its imports start from is here, too.
    """

    def __init__(
        self, data: bytes, given: Mapping[str, GivenModule], names: Mapping[str, str], laid_out: LaidOut
    ) -> None:
        super().__init__(BytesIO(data))
        self._given, self._names, self._laid_out = given, names, laid_out

    def persistent_load(self, pid: str | dict[str, Any]) -> GivenModule | Builder:
        if isinstance(pid, str):
            return self._given[pid]
        return Builder(**{**pid, "root": self._laid_out.folder(pid["root"])})

    def find_class(self, module: str, name: str) -> Any:
        if module.partition(".")[0] == "pathlib" and name == type(Path()).__name__:
            return lambda *parts: self._laid_out.place(Path(*parts))
        return super().find_class(self._names.get(module, module), name)
