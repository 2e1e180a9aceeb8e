"""The wheel and the source distribution: what they hold, that the wheel works alone, and which verbs need no torch."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

CLONE = Path(__file__).resolve().parent.parent
PAGES = [CLONE / "README.md", *sorted((CLONE / "docs").rglob("*.md"))]
INSTALLING = (CLONE / "docs" / "installing.md").read_text(encoding="utf-8")
SHIM = {"bench/__init__.py", "bench/__main__.py"}  # what makes `python -m bench` work
DEVELOPERS = ("tests/", ".ci/", ".github/")
BUILD = """
import sys, setuptools.build_meta as backend
_, out, *kinds = sys.argv
for kind in kinds:
    getattr(backend, f"build_{kind}")(out)
"""


def clone_files() -> set[str]:
    """The files of the clone that git knows, or would not ignore."""
    if not (CLONE / ".git").exists():
        pytest.skip("needs a clone: what belongs to the project is what git says")
    words = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(words, cwd=CLONE, capture_output=True, text=True, check=True).stdout
    return {name for name in listed.splitlines() if (CLONE / name).is_file()}


def package_files() -> set[str]:
    """Of these, what the package holds: every file of its folders, and the modules beside them."""
    own = {name for name in clone_files() if not name.startswith(DEVELOPERS)}
    return {name for name in own if "/" in name or name.endswith((".py", "py.typed"))} - {"setup.py"}


def build(source: Path, out: Path, *kinds: str) -> None:
    words = [sys.executable, "-c", BUILD, str(out), *kinds]
    done = subprocess.run(words, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds a wheel and a source distribution, built from a copy of the clone."""
    top = tmp_path_factory.mktemp("distributions")
    for name in clone_files():
        (top / "clone" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(CLONE / name, top / "clone" / name)
    build(top / "clone", top, "sdist", "wheel")
    return top


@pytest.fixture(scope="module")
def wheel(distributions: Path) -> Path:
    return next(distributions.glob("*.whl"))


@pytest.fixture(scope="module")
def source(distributions: Path) -> Path:
    """The source distribution, unpacked."""
    with tarfile.open(next(distributions.glob("*.tar.gz"))) as archive:
        safely: Any = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # Python 3.11.4
        archive.extractall(distributions / "source", **safely)
    return next((distributions / "source").iterdir())


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        assert len(archive.namelist()) == len(set(archive.namelist()))
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.slow
def test_the_wheel_holds_every_file_once(wheel: Path) -> None:
    found = contents(wheel)
    ours = {name for name in found if ".dist-info/" not in name}
    assert ours == {f"vit_bench/{name}" for name in package_files()} | SHIM
    copies = Counter(hashlib.sha256(found[name]).hexdigest() for name in ours - SHIM if found[name])
    assert max(copies.values()) == 1


@pytest.mark.slow
def test_the_source_distribution_holds_the_clone(source: Path) -> None:
    made = {"PKG-INFO", "setup.cfg"}
    found = {path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()}
    assert {name for name in found if "egg-info/" not in name} - made == clone_files()


@pytest.mark.slow
def test_a_wheel_of_the_source_distribution_is_the_same(source: Path, wheel: Path, tmp_path: Path) -> None:
    build(source, tmp_path, "wheel")
    assert contents(next(tmp_path.glob("*.whl"))) == contents(wheel)


def named_files() -> set[str]:
    """The files and folders of the project that the README and the pages name to its users."""
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    words = set(re.findall(r"[\w.-]+(?:/[\w.-]+)+", text))
    return {word for word in words if (CLONE / word).exists() and not word.startswith((*DEVELOPERS, ".."))}


@pytest.mark.slow
def test_what_the_pages_name_is_in_the_wheel(wheel: Path) -> None:
    assert {"bench/gpu_throughput.yaml", "results/published"} <= named_files()
    for name in named_files():
        inside = f"vit_bench/{name}"
        assert any(each == inside or each.startswith(f"{inside}/") for each in contents(wheel)), name


class Installed:
    """An environment that holds the wheel; what the wheel needs is lent by the one that runs the tests."""

    def __init__(self, wheel: Path, folder: Path) -> None:
        self.bin = folder / "bin"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        pip = [sys.executable, "-m", "pip", "--python", str(self.bin / "python"), "install", "--quiet"]
        subprocess.run([*pip, "--no-deps", "--no-index", str(wheel)], check=True)
        site = next(folder.glob("lib/python*/site-packages"))
        # Paths in a .pth file are searched last, and .pth files in them are not read: an editable install is not seen.
        (site / "lent.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))

    def __call__(self, command: str, folder: Path) -> str:
        """What a command writes, typed in the folder."""
        words = shlex.split(command)
        environment = {**os.environ, "COLUMNS": "200"}
        done = subprocess.run(
            [self.bin / words[0], *words[1:]], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr


@pytest.mark.slow
def test_the_wheel_works_without_the_clone(wheel: Path, tmp_path: Path) -> None:
    call = Installed(wheel, tmp_path / "environment")
    theirs = tmp_path / "theirs"
    for package in ("models", "results"):
        (theirs / package).mkdir(parents=True)
        (theirs / package / "__init__.py").write_text("raise RuntimeError('a package of somebody else')\n")

    home = Path(call("python -c 'import vit_bench; print(*vit_bench.__path__)'", theirs).strip())
    assert home.is_relative_to(tmp_path / "environment")
    for name in named_files():
        assert (home / name).exists()

    assert "vtab-mini: top-1 accuracy" in call("python -m vit_bench run suite=vtab", theirs)
    assert "36 done before" in call("python -m bench run suite=vtab", theirs)
    assert "36 done before" in call("vit-bench run suite=vtab", theirs)
    assert "ViT-L/16" in call("python -m bench plan config=bench/gpu_throughput.yaml device=cpu", theirs)
    call("vit-bench report runs/vtab-mini out=report.html", theirs)
    page = (theirs / "report.html").read_text(encoding="utf-8")
    for name in ("page.css", "page.js"):
        assert (home / "results" / "report" / name).read_text(encoding="utf-8").strip()[:60] in page
    assert "ViT paper" in call("vit-bench table 2", theirs)


# -------------------------------------------------------------------------------- what needs neither torch nor the like

HEAVY = {  # what is left out of a small installation: its name in pyproject.toml, and the package that is imported
    "torch": "torch",
    "torchvision": "torchvision",
    "accelerate": "accelerate",
    "huggingface_hub": "huggingface_hub",
    "safetensors": "safetensors",
    "scikit-image": "skimage",
    "scikit-learn": "sklearn",
    "threadpoolctl": "threadpoolctl",
}
WITHOUT = """
import sys

class Missing:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name in {missing}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing)
from vit_bench.bench.cli import app
app(sys.argv[1:], standalone_mode=False)
"""


@pytest.mark.parametrize(
    "command",
    [
        "table 2",
        "table vtab {old}/vtab-mini",
        "compare {old}/fewshot {old}/fewshot",
        "compare {old}/vtab-mini by=model a=ViT-mini b=BiT-mini",
        pytest.param("report {old}/vtab-mini {old}/finetune {old}/throughput out=report.html", marks=pytest.mark.slow),
        "import timm timm.csv out=imported",
    ],
)
def test_tables_comparisons_and_reports_need_no_torch(command: str, tmp_path: Path) -> None:
    (tmp_path / "timm.csv").write_text("model,infer_img_size,infer_batch_size,infer_samples_per_sec\nx,224,1,9.5\n")
    words = command.format(old=CLONE / "tests" / "data" / "old_runs").split()
    code = WITHOUT.format(missing={*HEAVY.values(), "timm", "h5py", "cv2"})
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_page_on_installing_lists_what_these_need() -> None:
    project = tomllib.loads((CLONE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {re.split("[>=<]", text)[0] for text in project["dependencies"]}
    report = {re.split("[>=<]", text)[0] for text in project["optional-dependencies"]["report"]}
    listed = re.search(r"pip install --no-deps \. && pip install ([\w ]+)", INSTALLING)
    assert listed
    assert set(listed[1].split()) == (declared - set(HEAVY)) | report
