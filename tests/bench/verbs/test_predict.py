"""Labels and probabilities of images: what stored predictions say, whatever the images come as, and clear errors."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import vit_bench
import yaml
from PIL import Image
from vit_bench.bench.cli import main
from vit_bench.bench.predict import choose, most_probable, predict
from vit_bench.models import catalog, create_model
from vit_bench.registry import UsageError
from vit_bench.suites.images.decode import read_image
from vit_bench.suites.images.transforms import Transform
from vit_bench.suites.sources import folder as folders
from vit_bench.suites.tasks import tasks
from vit_bench.suites.training.runs import _save

HOW = Transform.for_input(catalog()["ViT-mini"].input, "resize_crop", (32, 32))
COLOURS = {"blue": (40, 60, 200), "green": (50, 180, 60), "red": (200, 50, 40)}


def photos(folder: Path, parts: tuple[str, ...] = ("train", "test"), count: int = 6) -> Path:
    """A folder a class of noisy pictures 40 pixels wide and 56 high, one turned by its EXIF orientation."""
    draw = np.random.default_rng(0)
    turned = Image.Exif()
    turned[0x0112] = 6
    for part in parts:
        for name, colour in COLOURS.items():
            (folder / part / name).mkdir(parents=True)
            for i in range(count):
                pixels = np.clip(draw.normal(colour, 60, (56, 40, 3)), 0, 255).astype(np.uint8)
                pixels[:20] //= 3  # top and bottom differ
                exif = {"exif": turned} if i == 0 else {}
                Image.fromarray(pixels).save(folder / part / name / f"{i}.png", **exif)
    return folder


def images_of_the_test(place: Path) -> list[Path]:
    return [place / key for _, key in folders._divide(folders._list_folder(place), "own", 0)[0]["test"]]


def pixels_of(paths: list[Path]) -> torch.Tensor:
    """What a network that was last tested with HOW is to see of these images."""
    return HOW.batch([read_image(path, apply_exif=True) for path in paths], torch.device("cpu"))


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """Weights of ViT-mini with a random head of three classes, and their sidecar, as fine-tuning keeps them.

    The head's bias makes the classes equally likely, so that pixels decide.
    """
    task = folders.folder_task(photos(tmp_path / "photos", count=4))
    network: Any = create_model("ViT-mini", num_classes=3, image_size=32)
    torch.nn.init.normal_(network.head.weight, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        network.head.bias -= network(pixels_of(images_of_the_test(tmp_path / "photos"))).mean(dim=0)
    path = tmp_path / "kept.safetensors"
    _save(path, network, task, transform=HOW)
    return path


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """`typed(PHOTOS, "weights=…")`: the command line in this process; exit code, output and errors."""

    def call(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["bench", "predict", *map(str, words)])
        monkeypatch.setenv("COLUMNS", "300")
        with pytest.raises(SystemExit) as raised:
            main()
        return (int(raised.value.code or 0), *capsys.readouterr())

    return call


def rewrite(weights: Path, **fields: Any) -> None:
    """Change fields of a sidecar; None takes one away."""
    sidecar = weights.with_name(f"{weights.name}.yaml")
    values = yaml.safe_load(sidecar.read_text(encoding="utf-8")) | fields
    sidecar.write_text(yaml.safe_dump({name: value for name, value in values.items() if value is not None}))


def stored(run: str) -> list[str]:
    """The labels that a run stored for the test images of its folder, in their order."""
    (archive,) = Path(run, "cells").glob("*.npz")
    with np.load(archive) as arrays:
        return [sorted(COLOURS)[number] for number in arrays["0"]]


def test_predictions_are_those_that_classify_stored(kept: Path, tmp_path: Path) -> None:
    place = tmp_path / "photos"
    scored = vit_bench.run("suite=classify", "model=ViT-mini", "out=scored", weights=kept, task=[f"folder:{place}"])
    assert set(scored["status"]) == {"ok"}, scored["error"].tolist()
    frame = predict(images_of_the_test(place), kept)
    assert frame["file"].tolist() == list(map(str, images_of_the_test(place)))
    assert frame["label"].tolist() == stored("scored")
    network: Any = create_model("ViT-mini", kept, image_size=32)
    with torch.no_grad():
        logits = network(pixels_of(images_of_the_test(place))).double().numpy()
    likely = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert frame["probability"].to_numpy() == pytest.approx(likely.max(axis=1), rel=1e-4)
    assert frame["label"].nunique() > 1
    names = [f"{name}{end}" for end in ("", "_2", "_3") for name in ("label", "probability")]
    assert frame.columns.tolist() == ["file", *names]


@pytest.mark.slow
def test_predictions_are_those_that_fine_tuning_stored(tmp_path: Path) -> None:
    place = photos(tmp_path / "photos")
    words = ("suite=finetune", "model=ViT-mini", "recipe=short", "lr=0.003", "batch=6", "steps=4", "seed=0")
    words += ("image_size=32", "test_resize=shorter_crop", "save=weights", "out=tuned")
    tuned = vit_bench.run(*words, task=[f"folder:{place}"])
    assert set(tuned["status"]) == {"ok"}, tuned["error"].tolist()
    (weights,) = Path("tuned/kept").glob("*/*seed0.safetensors")
    frame = predict(images_of_the_test(place), weights)
    assert frame["label"].tolist() == stored("tuned")
    assert frame["label"].nunique() > 1


def test_probabilities_and_their_order_by_hand() -> None:
    logits = np.random.default_rng(0).normal(0, 4, (50, 11)).astype(np.float32)
    logits[0], logits[1, 3:6], logits[2] = 1.0, 9.0, [1e4, -1e4, *range(9)]
    classes, probabilities = most_probable(logits, 4)
    assert (classes[0].tolist(), classes[1, :3].tolist()) == ([0, 1, 2, 3], [3, 4, 5])  # equal: the lower number first
    assert np.array_equal(classes[:, 0], logits.argmax(axis=1))
    for row, (chosen, found) in enumerate(zip(classes, probabilities, strict=True)):
        terms = [math.exp(value - float(logits[row].max())) for value in logits[row].astype(np.float64)]
        order = sorted(range(11), key=lambda number, row=row: (-logits[row, number], number))
        assert chosen.tolist() == order[:4]
        assert found == pytest.approx([terms[number] / math.fsum(terms) for number in chosen], rel=1e-12)
    assert most_probable(logits, 99)[1].sum(axis=1) == pytest.approx(np.ones(50), rel=1e-12)


def test_files_pictures_and_tensors_are_one(kept: Path, tmp_path: Path) -> None:
    files = sorted((tmp_path / "photos/test").glob("*/*.png"))
    opened = [Image.open(path) for path in files]
    pixels = [np.asarray(image) for image, path in zip(opened, files, strict=True) if path.stem != "0"]
    tensor = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2)
    by_file, by_picture = predict(files, kept, k=2), predict(opened, kept, "ViT-mini", 2)
    of_uint8, of_floats = (vit_bench.predict(images, kept, k=2) for images in (tensor, tensor / 255))
    assert by_picture["file"].tolist() == [str(i) for i in range(len(files))]
    pd.testing.assert_frame_equal(by_file.drop(columns="file"), by_picture.drop(columns="file"))
    pd.testing.assert_frame_equal(of_uint8, of_floats)
    straight = by_file[[path.stem != "0" for path in files]].reset_index(drop=True)
    pd.testing.assert_frame_equal(straight.drop(columns="file"), of_uint8.drop(columns="file"), rtol=1e-4)
    whole = predict(tmp_path / "photos/test", str(kept), batch_size=5)
    assert whole["file"].tolist() == list(map(str, files))
    assert whole["label"].tolist() == by_file["label"].tolist()


def test_the_command_names_what_it_leaves_out(kept: Path, tmp_path: Path, typed) -> None:
    place = photos(tmp_path / "mixed", ("a", "b"), count=4)
    (place / "notes.txt").write_text("no image")
    (place / "a/.hidden.png").write_bytes(b"")
    (place / "a/around").symlink_to(place)
    (place / "b/cut.PNG").write_bytes((place / "b/red/0.png").read_bytes()[:90])
    code, _, said = typed(place, f"weights={kept}")
    assert code == 2
    assert "error: 1 of 25 images cannot be read: " in said and "b/cut.PNG" in said and "type skip_bad=true" in said
    code, shown, said = typed(place, f"weights={kept}", "skip_bad=true")
    assert code == 0, said
    assert f"not read as images (1): {place / 'notes.txt'}" in said
    assert "1 of 25 images cannot be read" in said
    assert "… and 4 more: out=FILE.csv writes all" in shown
    assert str(place / "a/blue/0.png") in shown and str(place / "b/red/3.png") not in shown
    assert typed(place, f"weights={kept}", "skip_bad=true", "k=2", "out=labels.csv")[:2] == (0, "")
    frame = pd.read_csv("labels.csv")
    assert frame.columns.tolist() == ["file", "label", "probability", "label_2", "probability_2"]
    inside = [f"{part}/{colour}/{i}.png" for part in "ab" for colour in COLOURS for i in range(4)]
    assert frame["file"].tolist() == [str(place / name) for name in inside]
    assert ((frame["probability"] >= frame["probability_2"]) & (frame["probability_2"] > 0)).all()


@pytest.mark.slow
def test_class_names_are_the_sidecars_or_a_tasks_or_numbers(kept: Path, tmp_path: Path) -> None:
    picture = tmp_path / "photos/test/red/1.png"

    def labels() -> set[str]:
        frame = predict(picture, kept)
        return {frame[name][0] for name in frame if str(name).startswith("label")}

    assert labels() == set(COLOURS)
    rewrite(kept, classes=["a", "b"])
    with pytest.raises(UsageError, match="names 2 classes, and its head has 3"):
        labels()
    rewrite(kept, classes=None)
    assert labels() == {"0", "1", "2"}
    three = next(task for task in tasks().values() if task.head and task.classes)
    network: Any = create_model("ViT-mini", num_classes=three.num_classes, image_size=32)
    torch.nn.init.normal_(network.head.weight)
    _save(kept, network, three, transform=Transform.for_input(network.spec.input, "square", (32, 32)))
    rewrite(kept, classes=None)
    assert labels() <= set(three.classes)


def test_the_settings_of_a_variant_are_told_by_the_file_beside_its_weights(kept: Path, tmp_path: Path) -> None:
    row = catalog()["ViT-mini"].derive(depth=2)
    network: Any = create_model(row, num_classes=3, image_size=32)
    torch.nn.init.normal_(network.head.weight)
    task = folders.folder_task(tmp_path / "photos")
    _save(kept, network, task, transform=HOW, variant=row.variant)
    assert yaml.safe_load(Path(f"{kept}.yaml").read_text(encoding="utf-8"))["variant"] == ["depth=2"]
    (found,) = {len(choose(None, kept)[0].variant), len(choose("ViT-mini", kept, {"depth": "2"})[0].variant)}
    assert found == 1
    assert len(predict(tmp_path / "photos", weights=kept)) == 24


def test_a_module_of_ones_own() -> None:
    class Brightness(torch.nn.Module):
        input = {"size": 8, "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}  # noqa: RUF012

        def __init__(self) -> None:
            super().__init__()
            self.head = torch.nn.Linear(3, 3)
            torch.nn.init.eye_(self.head.weight)
            torch.nn.init.zeros_(self.head.bias)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.head(images.mean((2, 3)))

    images = torch.zeros(2, 3, 20, 30)
    images[0, 2] = images[1, 1] = 1
    frame = predict(images, model=Brightness(), k=1)
    assert frame["label"].tolist() == ["2", "1"]
    assert frame["probability"].tolist() == pytest.approx([math.e / (math.e + 2)] * 2, rel=1e-6)


def test_mistakes_are_told_in_one_message(kept: Path, tmp_path: Path, typed) -> None:
    picture = tmp_path / "photos/test/red/1.png"
    (tmp_path / "empty").mkdir()
    headless = tmp_path / "headless.safetensors"
    network: Any = create_model("ViT-mini")
    _save(headless, network, None, transform=Transform.for_input(network.spec.input, "square"))
    wrong = {
        "there is no image or folder at nowhere": lambda: predict("nowhere", kept),
        "empty holds no image files": lambda: predict(tmp_path / "empty", kept),
        "there are no images": lambda: predict([], kept),
        "type weights=FILE": lambda: predict(picture),
        "there is no weights file 'none.pt'; a released TAG needs its model=NAME": lambda: predict(picture, "none.pt"),
        "has no trained head": lambda: predict(picture, "random", "ViT-mini"),
        "its weights have no head of their own": lambda: predict(picture, headless, "ViT-mini"),
        r"is \(N, 3, H, W\), not \(3, 8, 8\)": lambda: predict(torch.zeros(3, 8, 8), kept),
        "these go from 0 to 2": lambda: predict(torch.linspace(0, 2, 192).view(1, 3, 8, 8), kept),
        "uint8, or floats from 0 to 1, not torch.int64": lambda: predict(torch.zeros(1, 3, 8, 8).long(), kept),
        "image 0 is a ndarray": lambda: predict([np.zeros((8, 8, 3))], kept),  # type: ignore[list-item]
        "its mode is I;16": lambda: predict([Image.new("I;16", (8, 8))], kept),
        "k=0, batch_size=64: type numbers": lambda: predict(picture, kept, k=0),
    }
    for message, call in wrong.items():
        with pytest.raises(UsageError, match=message):
            call()
    rewrite(kept, model="ViT-mega")
    with pytest.raises(UsageError, match=r"says model: ViT-mega\. there is no model 'ViT-mega'"):
        predict(picture, kept)
    rewrite(kept, model="MyViT@0123abcd")
    with pytest.raises(UsageError, match=r"is of MyViT@0123abcd, a module that was passed from Python: pass it again"):
        predict(picture, kept)
    rewrite(kept, model=None)
    with pytest.raises(UsageError, match=r"says which model it is of: type model=NAME"):
        predict(picture, kept)
    for words, message in (
        ([], "predict: name images"),
        ([str(picture), f"weights={kept}", "model=ViT-mini", "model.dpth=3"], "has no setting 'dpth'. Did you mean"),
        ([str(picture), f"weights={kept}", "model=ViT-mini", "model.depth=2,3"], "say 2 models"),
        ([str(picture), f"weights={kept}", "modl=ViT-mini"], "predict has no setting 'modl'. Did you mean 'model'"),
    ):
        code, _, said = typed(*words)
        assert code == 2 and message in said
