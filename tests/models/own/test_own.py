"""One's own models: from a file, from a package, from Python, and what is said when they do not fit."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from vit_bench.models import Input, catalog, create_model, given_model, own_model
from vit_bench.models.own import network as own_network
from vit_bench.models.parse_weights import read_weights
from vit_bench.models.weights_choice import OwnWeights, Random
from vit_bench.registry import UsageError

NET = """
import torch
from torch import nn

SIZE = 6

class Net(nn.Module):
    input = {"size": 32, "mean": 0.25}

    def __init__(self, width=4, kind="plain"):
        super().__init__()
        self.width, self.kind = width, kind
        self.layer = nn.Linear(3, width)

    def features(self, images):
        return self.layer(images.mean(dim=(2, 3)))

def build(width=4, kind="plain"):
    return Net(width, kind)

def broken():
    raise KeyError("no such thing")

def nothing():
    pass

def number():
    return 3
"""


@pytest.fixture
def net(tmp_path: Path) -> Path:
    path = tmp_path / "net.py"
    path.write_text(NET)
    return path


class Tapped(nn.Module):
    """A module with a tap in place of features(images)."""

    def __init__(self, tap: str | None = None) -> None:
        super().__init__()
        self.tap = tap
        self.conv = nn.Conv2d(3, 5, 3)
        self.tokens = nn.Flatten(2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.unused = nn.Identity()
        self.pair = Pair()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.conv(images)
        self.tokens(x)
        self.pair(x)
        return self.pool(x).flatten(1)


class Pair(nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x, x


class Plain(nn.Module):
    """Features straight from the images."""

    def __init__(self, give: str = "features") -> None:
        super().__init__()
        self.give = give
        self.scale = nn.Parameter(torch.ones(3))

    def features(self, images: torch.Tensor) -> torch.Tensor:
        means = images.mean(dim=(2, 3)) * self.scale
        return {
            "features": means,
            "map": images,
            "tokens": images.flatten(2),
            "whole": means.long(),
            "few": means[:1],
        }[self.give]


def test_from_a_file(net: Path) -> None:
    word = f"{net}:build"
    loaded = set(sys.modules)
    row = own_model(word, {"width": "6", "kind": "wide"})
    assert (row.name, row.family, row.params, row.macs) == (word, "own", None, None)
    assert row.variant == (("kind", "wide"), ("width", "6"))
    assert not any("user_" in name for name in set(sys.modules) - loaded)  # nothing of the user's has run
    before = torch.get_rng_state()
    first, second = create_model(row, num_classes=7), create_model(row, num_classes=7)
    assert torch.equal(before, torch.get_rng_state())
    assert (first.module.width, first.module.kind) == (6, "wide")
    assert first.image_size == (32, 32)
    assert first.spec.input == Input(size=(32, 32), mean=(0.25, 0.25, 0.25))  # the object's, where nothing was set
    assert first.num_features == 6
    x = torch.rand(2, 3, 32, 32)
    assert first.features(x).shape == (2, 6)
    assert first(x).eq(0).all()
    assert first(x).shape == (2, 7)
    assert torch.equal(first.features(x), second.features(x))
    other = create_model(row, "random:4")
    assert not torch.equal(first.features(x), other.features(x))
    assert torch.equal(other(x), other.features(x))
    assert first.source_files == (net,)


def test_settings_win_over_what_the_object_declares(net: Path) -> None:
    settings = {"image_size": "16,24", "std": "0.1,0.2,0.3", "interpolation": "bicubic"}
    row = own_model(f"{net}:Net", settings)
    expected = Input(size=(16, 24), mean=(0.25,) * 3, std=(0.1, 0.2, 0.3), interpolation="bicubic")
    assert create_model(row).spec.input == expected
    assert create_model(row, image_size=20).image_size == (20, 20)


def test_the_file_is_part_of_the_identity(net: Path) -> None:
    word = f"{net}:build"
    before = own_model(word)
    assert own_model(word) == before
    assert hash(own_model(word)) == hash(before)
    net.write_text(NET + "\n# changed\n")
    assert own_model(word) != before
    with pytest.raises(UsageError, match=r"net.py' has changed since .*net.py:build was named; start again"):
        create_model(before)
    create_model(own_model(word))


def test_two_folders_with_the_same_names_beside_our_own(tmp_path: Path) -> None:
    def folder(name: str, width: int) -> str:
        (tmp_path / name / "models").mkdir(parents=True)
        (tmp_path / name / "models" / "__init__.py").write_text("from .net import Net\n")
        (tmp_path / name / "models" / "net.py").write_text(NET.replace("width=4", f"width={width}"))
        (tmp_path / name / "helper.py").write_text(f"WIDTH = {width}\n")
        (tmp_path / name / "unused.py").write_text("")
        (tmp_path / name / "main.py").write_text(
            "import helper\nfrom models import Net\n\n"
            "def build():\n    import late\n    return Net(helper.WIDTH + late.ONE)\n"
        )
        (tmp_path / name / "late.py").write_text("ONE = 1\n")
        return f"{tmp_path / name / 'main.py'}:build"

    words = [folder("a", 4), folder("b", 8)]
    for _ in range(2):
        for word, width in zip(words, (5, 9), strict=True):
            backbone = create_model(word)
            assert backbone.num_features == width
            root = Path(word.rpartition(":")[0]).parent
            names = [str(path.relative_to(root)) for path in backbone.source_files]
            assert names == ["main.py", "helper.py", "late.py", "models/__init__.py", "models/net.py"]
    assert str(tmp_path / "b") not in sys.path
    assert create_model("ViT-mini").num_features == 128
    for name in ("models", "models.net", "helper", "late"):
        sys.modules.pop(name, None)


def test_a_changed_neighbour_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "neighbour_one.py").write_text("WIDTH = 4\n")
    main = tmp_path / "main.py"
    main.write_text(NET + "import importlib\nWIDTH = importlib.import_module('neighbour_one').WIDTH\n")
    row = own_model(f"{main}:build")
    for _ in range(2):  # an import that no statement shows is reported by every build
        assert create_model(row).source_files == (main, tmp_path / "neighbour_one.py")
    (tmp_path / "neighbour_one.py").write_text("WIDTH = 5\n")
    with pytest.raises(UsageError, match=r"neighbour_one.py' has changed since it was imported; start Python again"):
        create_model(row)


def test_from_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "own_package"
    (package / "deep").mkdir(parents=True)
    (package / "__init__.py").write_text("LOADED = True\n")
    (package / "deep" / "__init__.py").write_text("from .net import *\n")
    (package / "deep" / "net.py").write_text(NET + "from ..extra import ONE\n")
    (package / "extra.py").write_text("ONE = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    row = own_model("own_package.deep.net:build")
    assert "own_package" not in sys.modules  # naming a model runs nothing
    backbone = create_model(row)
    assert backbone.num_features == 4
    files = {path.relative_to(package).as_posix() for path in backbone.source_files}
    assert files == {"deep/net.py", "extra.py", "__init__.py", "deep/__init__.py"}
    assert create_model("own_package.deep:build").num_features == 4  # found through a star import
    with pytest.raises(UsageError, match=r"'net.py' does not define 'biuld'. Did you mean 'build'"):
        own_model("own_package.deep.net:biuld")
    with pytest.raises(UsageError, match=r"no module 'own_package.shallow' can be imported here. Give its file"):
        own_model("own_package.shallow:build")


def test_a_given_module() -> None:
    module = Plain()
    row = given_model(module)
    assert row.name.startswith("Plain@")
    assert len(row.name) == len("Plain@") + 8
    assert given_model(Plain()) == row
    assert "Plain(" not in repr(row)
    first, second = create_model(row), create_model(row)
    with torch.no_grad():
        first.module.scale.zero_()
    assert module.scale.eq(1).all()
    assert second.module.scale.eq(1).all()
    other = Plain()
    with torch.no_grad():
        other.scale[0] = 2
    assert given_model(other).name != row.name
    assert first.source_files == ()


def test_a_given_module_brings_its_weights() -> None:
    with pytest.raises(UsageError, match=r"brings its weights; weights=random is for models that are built here"):
        create_model(given_model(Plain()), "random")


@pytest.mark.parametrize(("tap", "width"), [("conv", 5), ("pool", 5)])
def test_taps(tap: str, width: int) -> None:
    declared, settled = given_model(Tapped(tap)), given_model(Tapped("unused"), {"tap": tap, "image_size": "8"})
    for row in (declared, settled):
        backbone = create_model(row)
        x = torch.rand(3, 3, *backbone.image_size)
        assert backbone.num_features == width
        torch.testing.assert_close(backbone.features(x), backbone.module(x))
        assert not backbone.module.get_submodule(tap)._forward_hooks


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (
            Tapped(),
            r"no features\(images\) method, names no tap and .* Type model.tap=NAME, .* averaged: "
            r"conv \(B, 5, 222, 222\), pool \(B, 5, 1, 1\), output \(B, 5\)$",
        ),
        (Tapped("pol"), "has no submodule 'pol'. Did you mean 'pool'"),
        (Tapped("unused"), "its forward pass never runs the tap 'unused'"),
        (Tapped("tokens"), r"the tap 'tokens' gives \(2, 5, \d+\) .* are needed: tokens\? Tap a layer behind"),
        (Tapped("pair"), r"the tap 'pair' gives a tuple, not a tensor \(B, D\)"),
        (Plain("tokens"), r"features\(images\) gives \(2, 3, 50176\) .*write a features\(images\) method that pools"),
        (Plain("map"), r"gives \(2, 3, 224, 224\) .*average over H and W"),
        (Plain("whole"), r"gives \(2, 3\) of torch.int64 for 2 images, and \(B, D\) floats are needed"),
        (Plain("few"), r"gives \(1, 3\) of torch.float32 for 2 images"),
        (Plain("none"), r"failed on images of shape \(2, 3, 224, 224\): KeyError: 'none' \(test_own.py, line \d+\)"),
    ],
)
def test_modules_that_do_not_fit(module: nn.Module, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        create_model(given_model(module))


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("{folder}/nut.py:build", "there is no file '.*nut.py'. Did you mean 'net.py'"),
        ("{folder}/net.py:biuld", "'net.py' does not define 'biuld'. Did you mean 'build'"),
        ("{folder}/net.py:xyz", "'net.py' does not define 'xyz'. Choose from: Net, build, broken, nothing, number"),
        ("{folder}/net.py", "names no builder. Write path/file.py:builder or package.module:builder"),
        ("{folder}/wrong.py:build", "wrong.py' does not parse: line 1"),
        ("no_such_package_here:build", "no module 'no_such_package_here' can be imported here. Give its file"),
        ("not a module:build", "'not a module' is neither a .py file nor the dotted name of a module"),
        ("sys:build", "'sys' has no Python file of its own"),
        (":build", "names no builder"),
    ],
)
def test_words_that_name_nothing(word: str, message: str, net: Path) -> None:
    (net.parent / "wrong.py").write_text("def build(:\n")
    with pytest.raises(UsageError, match=message):
        own_model(word.format(folder=net.parent))


@pytest.mark.parametrize(
    ("builder", "settings", "message"),
    [
        ("broken", {}, r"broken\(\) failed: KeyError: 'no such thing' \(net.py, line 22\)"),
        ("build", {"with": "3"}, r"build\(with=3\) failed: TypeError: .*unexpected keyword argument 'with'"),
        ("nothing", {}, r"nothing\(\) gives nothing, not a torch.nn.Module"),
        ("number", {}, r"number\(\) gives a int, not a torch.nn.Module"),
        ("SIZE", {}, "'SIZE' is a int, not a function or class that builds a model"),
        ("build", {"image_size": "big"}, "image_size='big' should be pixels, one number or height,width"),
        ("build", {"image_size": "0"}, "image_size=0 must be above zero"),
        ("build", {"mean": "1,2"}, r"mean=\(1, 2\) should be one number, or three for R,G,B"),
        ("build", {"std": "0"}, "std=0 must be above zero"),
        ("build", {"interpolation": "cubic"}, "interpolation='cubic'. Did you mean 'bicubic'"),
        ("build", {"tap": "leyer"}, "has no submodule 'leyer'. Did you mean 'layer'"),
    ],
)
def test_builders_and_settings_that_fail(builder: str, settings: dict[str, str], message: str, net: Path) -> None:
    with pytest.raises(UsageError, match=message):
        create_model(own_model(f"{net}:{builder}", settings))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import no_such_module\ndef build(): ...", "cannot be imported: ModuleNotFoundError: .* .bad.py, line 1"),
        ("from . import net\ndef build(): ...", "A file inside a package is named by its module"),
        ("1 / 0\ndef build(): ...", "ZeroDivisionError: division by zero .bad.py, line 1"),
    ],
)
def test_files_that_fail(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text(text)
    row = own_model(f"{tmp_path / 'bad.py'}:build")
    with pytest.raises(UsageError, match=message):
        create_model(row)
    assert not [name for name in sys.modules if name.endswith("_bad")]


def test_what_a_module_defines_is_found_without_importing_it(tmp_path: Path) -> None:
    path = tmp_path / "many.py"
    path.write_text(
        "raise SystemExit\nimport a.b, c as d\nfrom e import f as g\nx, (y, *z) = 1, (2, 3)\n"
        "if x:\n    def inside(): hidden = 1\nelse:\n    other: int = 2\n"
        "try:\n    t = 1\nexcept ValueError:\n    u = 2\nwith open(x) as w:\n    pass\n"
    )
    for name in ("a", "d", "g", "x", "y", "z", "inside", "other", "t", "u", "w"):
        own_model(f"{path}:{name}")
    for name in ("hidden", "b", "c", "f"):
        with pytest.raises(UsageError, match=r"does not define"):
            own_model(f"{path}:{name}")


class Classifier(nn.Module):
    """A module that ends in a linear layer, as most do, and says its image size somewhere."""

    def __init__(self, **stated: object) -> None:
        super().__init__()
        self.stem, self.pool = nn.Conv2d(3, 5, 3), nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(5, 7)
        vars(self).update(stated)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.fc(self.pool(self.stem(images)).flatten(1))


def test_features_are_found_before_the_last_linear_layer() -> None:
    backbone = create_model(given_model(Classifier()))
    x = torch.rand(2, 3, 8, 8)
    expected = backbone.module.stem(x).mean(dim=(2, 3))
    torch.testing.assert_close(backbone.features(x), expected)
    assert backbone.notes == ("features are what enters 'fc', its last layer; model.tap= names others",)
    assert not any(part._forward_hooks for part in backbone.module.modules())
    output = create_model(given_model(Classifier(), {"tap": "output"}))
    torch.testing.assert_close(output.features(x), output.module(x))
    assert (output.num_features, output.notes) == (7, ())


CFG = {"input_size": (3, 48, 40), "mean": (0.1, 0.2, 0.3), "std": (1, 1, 1), "interpolation": "bicubic"}


@pytest.mark.parametrize(
    ("stated", "size", "mean"),
    [
        ({"image_size": 32}, (32, 32), 0.5),
        ({"img_size": (32, 24)}, (32, 24), 0.5),
        ({"config": SimpleNamespace(image_size=[16, 24])}, (16, 24), 0.5),
        ({"default_cfg": CFG}, (48, 40), 0.1),
        ({"pretrained_cfg": CFG, "patch_embed": SimpleNamespace(img_size=(64, 64))}, (64, 64), 0.1),
        ({"input": {"size": 20}, "image_size": 32}, (20, 20), 0.5),
        ({"image_size": (3, 32, 32), "img_size": -1}, (224, 224), 0.5),
    ],
)
def test_the_image_size_is_the_modules_where_it_says_one(stated: dict, size: tuple[int, int], mean: float) -> None:
    spec = create_model(given_model(Classifier(**stated))).spec
    assert (spec.input.size, spec.input.mean[0]) == (size, mean)
    assert spec.input.interpolation == ("bicubic" if "mean" in str(stated) else "bilinear")
    typed = create_model(given_model(Classifier(**stated), {"image_size": "12", "mean": "0.7"})).spec.input
    assert (typed.size, typed.mean[0]) == ((12, 12), 0.7)


def test_a_module_that_fails_at_the_size_that_nobody_said() -> None:
    class Fixed(Classifier):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.fc(images.view(len(images), 3, 10, 10).flatten(1)[:, :5])

    hint = r"of another size, type model.image_size=PIXELS, or image_size=PIXELS where the suite says the size$"
    with pytest.raises(UsageError, match=rf"\(2, 3, 224, 224\): .* {hint}"):
        create_model(given_model(Fixed()))
    with pytest.raises(UsageError, match=r"\(2, 3, 9, 9\): RuntimeError: [^.]*\(test_own.py, line \d+\)$"):
        create_model(given_model(Fixed(), {"image_size": "9"}))


@pytest.mark.parametrize("wrapped", ["{}", "module.{}", "model.{}", "_orig_mod.{}", "model.backbone._orig_mod.{}"])
@pytest.mark.parametrize("container", ["", "state_dict", "model"])
def test_files_of_a_module_are_read_below_the_prefixes_of_wrappers(wrapped: str, container: str, net: Path) -> None:
    state = {name: value + 1 for name, value in create_model(f"{net}:build").module.state_dict().items()}
    saved = {wrapped.format(name): value for name, value in state.items()}
    torch.save({container: saved, "epoch": 3} if container else saved, net.parent / "w.ckpt")
    loaded = create_model(f"{net}:build", net.parent / "w.ckpt").module.state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in state.items())


def test_the_head_of_a_file_that_fine_tuning_saved_is_kept(net: Path) -> None:
    backbone = create_model(f"{net}:build", num_classes=3)
    with torch.no_grad():
        backbone.head.weight.normal_()
    torch.save(backbone.state_dict(), net.parent / "kept.pt")
    x = torch.rand(2, 3, 32, 32)
    loaded = create_model(f"{net}:build", net.parent / "kept.pt")
    torch.testing.assert_close(loaded.own_logits(x), backbone(x))
    torch.testing.assert_close(loaded(x), backbone(x))
    assert create_model(f"{net}:build", net.parent / "kept.pt", num_classes=2)(x).eq(0).all()


def test_a_head_is_not_put_on_other_features_than_it_was_trained_on(net: Path) -> None:
    net.write_text(
        NET.replace("def features(", "forward = lambda self, images: self.features(images)\n\n    def features(")
    )
    tapped = own_model(f"{net}:build", {"tap": "layer"})
    backbone = create_model(tapped, num_classes=3)
    assert backbone.feature == "layer"
    torch.save(backbone.state_dict(), net.parent / "kept.pt")
    (net.parent / "kept.pt.yaml").write_text("head: digits\ntap: layer\n")
    assert create_model(tapped, net.parent / "kept.pt").feature == "layer"
    with pytest.raises(UsageError, match=r"reads 'layer' of .*, and here features are 'features': type model.tap="):
        create_model(f"{net}:build", net.parent / "kept.pt")


def test_weights_that_no_seed_changes_are_not_called_random(net: Path) -> None:
    net.write_text(NET.replace("def build(", "def trained(): torch.manual_seed(3); return Net()\n\ndef build("))
    with pytest.raises(UsageError, match="gives the same weights under every seed, so they are not random: type weigh"):
        create_model(f"{net}:trained", "random:1")
    assert create_model(f"{net}:trained", "own").num_features == 4


def test_a_file_that_does_not_fit_is_told_in_short(net: Path) -> None:
    torch.save({f"encoder.block.{i}.weight": torch.zeros(i) for i in range(40)}, net.parent / "w.pt")
    with pytest.raises(UsageError) as caught:
        create_model(f"{net}:build", net.parent / "w.pt")
    first, *others = str(caught.value).splitlines()
    assert first.endswith("net.py:build: no tensor in it has a name of the model's")
    assert others[0] == "  not in the file (2): layer.weight, layer.bias"
    assert others[1].startswith("  only in the file (40): encoder.block.0.weight (0,), ")
    assert max(map(len, others)) < 160


def test_weights_words_of_ones_own_models(net: Path) -> None:
    own, given = own_model(f"{net}:build"), given_model(Plain())
    for name in ("step2.pt", "step10.pt"):
        (net.parent / name).touch()
    for row in (own, given):
        steps = [str(net.parent / name) for name in ("step2.pt", "step10.pt")]
        assert list(map(str, read_weights(row, f"{net.parent}/*.pt"))) == steps
        assert read_weights(row, "own") == [OwnWeights()] == [row.architecture.default_weights(row, "fewshot")]
        assert read_weights(row, "gone.pt") == []
    assert read_weights(own, "random:1") == [Random(1)]
    with pytest.raises(UsageError, match=r"weights=random: Plain@\w+ is built already and brings its own; leave weig"):
        read_weights(given, "random")


@pytest.mark.parametrize("inner", [True, False])
def test_weights_from_a_file(inner: bool, net: Path) -> None:
    row = own_model(f"{net}:build")
    backbone = create_model(row, num_classes=3)
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.add_(1)
    state = backbone.module.state_dict() if inner else backbone.state_dict()
    path = net.parent / "w.pt"
    torch.save(state, path)
    loaded = create_model(row, path, num_classes=3)
    assert torch.equal(loaded.module.layer.weight, backbone.module.layer.weight)
    assert loaded.head.weight.eq(0 if inner else 1).all()
    assert create_model(row, path, num_classes=2).head.weight.eq(0).all()
    torch.save({"layer.weight": torch.zeros(4, 3)}, path)
    with pytest.raises(UsageError, match=r"not in the file \(1\): layer.bias"):
        create_model(row, path)


def test_weights_from_what_a_training_script_saved(net: Path) -> None:
    row = own_model(f"{net}:build")
    state = {name: value + 1 for name, value in create_model(row).module.state_dict().items()}
    path = net.parent / "last.ckpt"
    saved = {f"model.{name}": value for name, value in state.items()} | {"loss.weight": torch.ones(2)}
    torch.save({"state_dict": saved, "pytorch-lightning_version": "2.5"}, path)
    loaded = create_model(row, path)
    assert torch.equal(loaded.module.layer.weight, state["layer.weight"])
    taken = "took 'model.' off the names; left out 1 others: loss.weight"
    assert loaded.notes == ("read state_dict of last.ckpt", taken)


def test_an_unknown_field_of_the_declared_input(net: Path) -> None:
    net.write_text(NET.replace('"mean"', '"means"'))
    with pytest.raises(UsageError, match=r"its `input` has an unknown field 'means'. Did you mean 'mean'"):
        create_model(f"{net}:build")


def test_a_row_of_the_catalog_is_not_ones_own() -> None:
    row = catalog()["ViT-mini"]
    with pytest.raises(TypeError, match=r"ViT-mini is no user's own model. Call create_model"):
        own_network.build(row, Random(), None, None, 0)


def test_a_given_module_takes_no_arguments() -> None:
    with pytest.raises(UsageError, match=r"is built already and takes no 'tapp'. Did you mean 'tap'"):
        given_model(Plain(), {"tapp": "conv"})
