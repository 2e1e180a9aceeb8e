"""The format `bundle`: results.csv, the cells, their arrays and curves in one zip file, with digests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...registry import UsageError
from ..bundle import pack
from ..cell_file import curves_bytes, dump
from ..checks import Damaged, csv_bytes
from ..predictions import Predictions
from ..store import Store, in_bundle, load
from .exchange import Exchange, Incoming, Written

if TYPE_CHECKING:
    import pandas as pd


def write(frame: pd.DataFrame) -> Written:
    """bundle.zip of the run directories that the frame was read from. Raises UsageError for CSV files alone."""
    folders = [Path(folder) for folder in frame.attrs.get("folders", ())]
    if not folders:
        raise UsageError("a bundle holds cells and predictions: name run directories, not CSV files")
    files: dict[str, bytes] = {"results.csv": csv_bytes(frame)}
    for folder in folders:
        store = Store(folder)
        for cell in store.cells():
            for path in (store.path(cell.key), store.arrays(cell.key), store.curves(cell.key)):
                name = f"cells/{path.name}"
                if path.exists():
                    data = curves_bytes(path) if path.suffix == ".csv" else path.read_bytes()
                    if files.setdefault(name, data) != data:
                        raise UsageError(f"{name} differs between these runs: bundle them one at a time")
    return Written(files={"bundle.zip": pack(files, len(frame))})


def read(path: Path) -> Incoming:
    """The cells of a bundle, unchanged, with their arrays and curves. Raises UsageError for a damaged bundle."""
    with in_bundle(path) as store:
        load(store.folder)  # refuses what no table would show
        cells = store.cells()
        for cell in cells:
            try:
                dump(cell)
            except UsageError as error:
                raise Damaged(store.path(cell.key), error, "") from error
        predictions = Predictions([store.folder])
        arrays = {cell.key: predictions.of_cell(cell.key) for cell in cells}
        files = {cell.key: store.curves(cell.key) for cell in cells}
        curves = {key: curves_bytes(file) for key, file in files.items() if file.exists()}
    if not cells:
        raise UsageError(f"{path} holds no cell")
    return Incoming(cells=cells, arrays=arrays, curves=curves)


BUNDLE = Exchange(name="bundle", summary="bundle.zip: records and predictions in one file", write=write, read=read)
