"""The one reader of predictions: what it finds, and damaged files in everything that uses it."""

from __future__ import annotations

import io
import shutil
import zipfile
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from vit_bench.bench.verbs.explain import explain_verb
from vit_bench.registry import UsageError
from vit_bench.results.arrays import read_arrays
from vit_bench.results.comparison.compare import compare
from vit_bench.results.figures import FigureRequest, draw
from vit_bench.results.predictions import Predictions
from vit_bench.results.record import Cell, Record
from vit_bench.results.store import Store, load
from vit_bench.results.tables import make

_spec = spec_from_file_location("figure_records", Path(__file__).parent / "figures" / "figure_records.py")
assert _spec is not None and _spec.loader is not None
pictures = module_from_spec(_spec)
_spec.loader.exec_module(pictures)

MODELS = {"ViT-B/16": "b" * 16, "ViT-L/16": "1" * 16}  # and the keys of their cells
LABELS = np.arange(200, dtype=np.int32) % 10


def predicted(rate: float) -> np.ndarray:
    return np.where(np.random.default_rng(7).random(200) < rate, LABELS, -1).astype(np.int16)


def run(folder: Path) -> Path:
    """Two models, a cell each: accuracies with predictions, few-shot draws; and what internals keeps."""
    for i, (model, key) in enumerate(MODELS.items()):
        right = predicted(0.5 + 0.3 * i)
        value = 100 * float((right == LABELS).mean())
        base = {"model": model, "weights": "in21k", "pretrain": "ImageNet-21k", "unit": "percent", "n_test": 200}
        base |= {"value": value, "protocol_sha": "p"}
        tuned = base | {"suite": "finetune", "protocol": "finetune", "task": "CIFAR-10", "metric": "top1", "seed": 0}
        shots = base | {"suite": "fewshot", "protocol": "ridge", "task": "digits"}
        records = (
            Record(**tuned, measurement=f"{key}/0", question={"task": "CIFAR-10"}),
            *(
                Record(**shots, metric=f"top1_draws_{name}", measurement=f"{key}/1", at={"shots": 5, "draws": 50})
                for name in ("mean", "std", "q2.5", "q97.5")
            ),
        )
        cell = Cell(key=key, slot=key, order=(i,), identity={}, status="ok", started_at="2026", records=records[:2])
        arrays = {"0": right, "labels": LABELS, "1.draws": np.linspace(40, 60, 50) + i}
        Store(folder).put(cell, arrays)
    pictures.keep(folder, pictures.inside())
    return folder


def tuned(folder: Path) -> pd.DataFrame:
    """The records of fine-tuning alone."""
    frame = load(folder)
    return frame[frame["suite"] == "finetune"].drop(columns="shots")


USES: dict[str, Callable[[Path], object]] = {
    "compare": lambda folder: compare(load(folder), load(folder), ("a", "b"), metric="top1"),
    "best": lambda folder: make("5", tuned(folder), show="ours"),
    "draws": lambda folder: make("fewshot", load(folder)),
    "figures": lambda folder: draw("11", FigureRequest(frame=load(folder))),
    "explain": lambda folder: explain_verb(folder, [f"{MODELS['ViT-B/16']}/0"]),
}


def cut(whole: bytes) -> bytes:
    """An archive whose first array is shorter than it was, with the sum of the whole one."""
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        names = archive.namelist()
        arrays = {name: archive.read(name) for name in names}
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as archive:
        for name, data in arrays.items():
            archive.writestr(name, data)
    header = arrays[names[0]][:128]
    shape = header[header.index(b"(") : header.index(b")")]
    return made.getvalue().replace(header, header.replace(shape, shape.replace(b"2", b"1")), 1)


def alone() -> bytes:
    """An array of its own, which np.load takes for an array."""
    made = io.BytesIO()
    np.save(made, LABELS)
    return made.getvalue()


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "half": lambda whole: whole[: len(whole) // 2],
    "last byte lost": lambda whole: whole[:-1],
    "a flipped byte": lambda whole: whole[:200] + bytes([whole[200] ^ 0x10]) + whole[201:],
    "no archive": lambda _: b"PK\x03\x04 nothing",
    "an array alone": lambda _: alone(),
    "shorter array": cut,
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("run"))


@pytest.mark.parametrize("use", USES)
def test_a_whole_file_is_read_by_all(use: str, whole: Path) -> None:
    USES[use](whole)


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("use", USES)
def test_a_damaged_file_is_named_by_all_that_read_it(use: str, damage: str, whole: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "run"))
    path = folder / "cells" / f"{pictures.KEY if use == 'figures' else MODELS['ViT-B/16']}.npz"
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    said = rf"{path.name} is damaged \(.*Delete it and its \.json, and repeat the run"
    with pytest.raises(UsageError, match=said):
        USES[use](folder)


def test_predictions_decide_what_the_tables_say(tmp_path: Path) -> None:
    folder = run(tmp_path / "run")
    (table,) = make("5", tuned(folder), show="ours")
    assert {table.rows[i][j] for i, j in table.bold} == {f"{100 * float((predicted(0.8) == LABELS).mean()):.2f}"}
    _, pairs = make("fewshot", load(folder))
    assert [row[1:3] for row in pairs.rows] == [("ViT-B/16", "ViT-L/16")]


def test_what_is_kept_is_found_by_the_records_name(tmp_path: Path) -> None:
    folder = run(tmp_path / "run")
    kept, key = Predictions([tmp_path / "nothing", folder]), MODELS["ViT-B/16"]
    scored = kept.scored(f"{key}/0")
    assert scored is not None and scored.right.tolist() == (predicted(0.5) == LABELS).tolist()
    assert scored.clusters is None
    assert kept.other_arrays(f"{key}/0") == {} and list(kept.other_arrays(f"{key}/1")) == ["draws"]
    assert kept and not Predictions([]) and not Predictions([tmp_path / "nothing"])
    for name in ("", "/0", f"{key}", f"{key}/", f"{key}/9", f"{key}/labels.x", f"../cells/{key}/0", f"{folder}/x/0"):
        assert kept.scored(name) is None and kept.other_arrays(name) == {} and not kept.has_unlabelled(name)


def test_each_file_is_read_once_and_of_several_folders_the_first_that_has_the_record(
    tmp_path: Path, monkeypatch
) -> None:
    from vit_bench.results import predictions

    opened: list[Path] = []
    monkeypatch.setattr(predictions, "read_arrays", lambda path: opened.append(path) or read_arrays(path))
    for name, arrays in (("a", {"0": LABELS}), ("b", {"1.draws": np.ones(3)}), ("c", {"1.draws": np.zeros(3)})):
        (tmp_path / name / "cells").mkdir(parents=True)
        np.savez(tmp_path / name / "cells" / f"{'0' * 16}.npz", **arrays)
    kept = Predictions([tmp_path / name for name in "abc"])
    for _ in range(3):
        assert kept.other_arrays(f"{'0' * 16}/1")["draws"].tolist() == [1, 1, 1]
        assert kept.has_unlabelled(f"{'0' * 16}/0")
    assert [path.parts[-3] for path in opened] == ["a", "b"]


def test_an_image_of_several_right_classes_and_lengths_that_do_not_fit(tmp_path: Path) -> None:
    (tmp_path / "cells").mkdir()
    key, labels = "0" * 16, np.array([1, 2, 3])
    sets = {"label_sets.values": np.array([1, 5, 2, 3, 7]), "label_sets.starts": np.array([0, 2, 3])}

    def kept(**arrays: np.ndarray) -> Predictions:
        np.savez(tmp_path / "cells" / f"{key}.npz", **arrays)
        return Predictions([tmp_path])

    scored = kept(**sets, labels=labels, **{"0": np.array([5, 1, 7])}).scored(f"{key}/0", 200 / 3)
    assert scored is not None and scored.right.tolist() == [True, False, True]
    with pytest.raises(UsageError, match=r"2 predictions \(0\) of 3 labelled images"):
        kept(labels=labels, **{"0": np.array([5, 1])}).scored(f"{key}/0")
    with pytest.raises(UsageError, match="2 clusters of 3 labelled images"):
        kept(labels=labels, clusters=np.array([0, 0]), **{"0": labels}).scored(f"{key}/0")
    with pytest.raises(UsageError, match=r"are right for 100\.000 % of the images, the record .* says 50\.000"):
        kept(labels=labels, **{"0": labels}).scored(f"{key}/0", 50.0)


@pytest.mark.parametrize(("metric", "right"), [("top1", 75.0), ("mean_per_class", 50.0)])
def test_what_a_cell_says_must_be_what_its_predictions_give(tmp_path: Path, metric: str, right: float) -> None:
    key, arrays = "0" * 16, {"labels": np.array([0, 0, 0, 1]), "0": np.array([0, 0, 0, 0], dtype=np.int16)}
    values = {"top1": 75.0, "mean_per_class": 50.0}
    for off in (0.0, 1.0):
        stated = values | {metric: right + off}
        records = tuple(
            Record(suite="s", metric=name, value=value, unit="percent", n_test=4, measurement=f"{key}/{i}")
            for i, (name, value) in enumerate(stated.items())
        )
        cell = Cell(key=key, slot="s", order=(), identity={}, status="ok", started_at="", records=records)
        Store(tmp_path).put(cell, arrays)
        uses = (lambda: Predictions([tmp_path]).scored(f"{key}/0"), lambda: Predictions([tmp_path]).of_cell(key))
        for use in uses:
            if off:
                said = rf"{key}\.npz is damaged \(its predictions are right for {right:.3f} % of the images, the record"
                with pytest.raises(UsageError, match=said):
                    use()
            else:
                assert use() is not None
    assert sorted(read_arrays(tmp_path / "cells" / f"{key}.npz")) == ["0", "labels"]
