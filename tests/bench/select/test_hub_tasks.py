"""`task=hf:…` from the word to the record, and a data set of a small Hub that is downloaded, refused or not there."""

from __future__ import annotations

import hashlib
import http.server
import io
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote, urlparse

import numpy as np
import pytest
import vit_bench
import yaml
from PIL import Image
from vit_bench.bench import cli, config
from vit_bench.bench.plan import Plan, make_plan
from vit_bench.registry import UsageError

COMMIT = "0123456789abcdef0123456789abcdef01234567"
WORDS = ("suite=fewshot", "model=ViT-mini", "shots=1", "seed=0")

SCRIPT = """
import sys
from vit_bench.bench import cli
from vit_bench.registry import UsageError

for line in sys.argv[1:]:
    print(f"== {line}", flush=True)
    try:
        cli.app(cli.as_words(line.split()), standalone_mode=False)
    except UsageError as error:
        print(error)
"""


def pictures(start: int, size: int) -> Any:
    """A data set of dark and light pictures, two classes of the same size."""
    import datasets

    images = []
    for number in range(start, start + size):
        file = io.BytesIO()
        low = np.random.default_rng(number).integers(0, 100, (8, 9, 3), dtype=np.uint8)
        Image.fromarray(low + np.uint8(150 * (number % 2))).save(file, "PNG")
        images.append({"bytes": file.getvalue(), "path": f"{number}.png"})
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["dark", "light"])})
    labels = [number % 2 for number in range(start, start + size)]
    return datasets.Dataset.from_dict({"image": images, "label": labels}, features)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a saved data set of a train and a test split in `mine`."""
    import datasets

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets")
    datasets.DatasetDict(train=pictures(0, 20), test=pictures(20, 8)).save_to_disk(tmp_path / "mine")
    return tmp_path


def plan(*words: str) -> Plan:
    return make_plan(config.read(words))


def identity(out: Path) -> dict[str, Any]:
    (cell,) = (out / "cells").glob("*.json")
    return json.loads(cell.read_text(encoding="utf-8"))["identity"]


@pytest.mark.slow
def test_from_the_word_to_the_record(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert plan(*WORDS, "task=hf:mine").states == ("to do",)
    frame = vit_bench.run(*WORDS, task="hf:./mine/", out="r")
    assert (set(frame["task"]), set(frame["source"]), set(frame["status"])) == ({"hf:mine"}, {"hf"}, {"ok"})
    assert json.loads(frame["question"][0])["label"] == (
        "class column label; train: split train without val; val: 10 % of each class of train, seed 0; test: split test"
    )
    told = identity(here / "r")["task"]
    assert (told["splits"], len(told["revision"])) == ({"train": 18, "val": 2, "test": 8}, 16)
    assert "hf:mine: train: split train without val; val: 10 % of each class of train" in str(vit_bench.table("r"))
    assert plan(*WORDS, "out=r", "task=hf:mine").states == ("done",)
    assert plan(*WORDS, "out=r", "task=hf:mine", "division_seed=1").states == ("to do",)
    cli.app(["data", "verify", "hf:mine:label=label"], standalone_mode=False)
    cli.app(["data", "list", "hf:mine", "format=json"], standalone_mode=False)
    said = capsys.readouterr().out
    assert "  test: 8 images" in said
    assert "  verified\n" in said
    assert '"images": { "train": 18, "val": 2, "test": 8 }' in " ".join(said.split())
    pictures(20, 8).save_to_disk(here / "other")
    (here / "own").mkdir()
    (here / "own" / "task.py").write_text(
        "from vit_bench.suites.sources.hugging_face import hub_task\nOTHER = hub_task('hf:other', name='other')\n"
    )
    frame = vit_bench.run(*WORDS, "include=own", task=["hf:mine:train=train", "other"])
    assert (set(frame["task"]), set(frame["status"])) == ({"hf:mine:train=train", "other"}, {"ok"})
    with pytest.raises(UsageError, match=r"no data for hf:mine/x: it is not in .* `run` downloads it from the Hugging"):
        vit_bench.plan(*WORDS, task="hf:mine/x")
    with pytest.raises(
        UsageError, match=r"2 mistakes:\n.*hf:a/b.* `run` downloads it .*\n.*there is no model 'ViT-mni'"
    ):
        vit_bench.run("suite=fewshot", model="ViT-mni", task="hf:a/b")  # nothing is asked of the Hub


@pytest.mark.slow
def test_a_network_that_was_tuned_on_one_is_scored_on_it(here: Path) -> None:
    words = ("suite=finetune", "model=ViT-mini", "steps=2", "batch=4", "lr=0.01", "seed=0", "save=weights", "out=t")
    assert set(vit_bench.run(*words, task="hf:mine")["status"]) == {"ok"}
    (kept,) = (here / "t" / "kept").glob("*/*.safetensors")
    assert kept.name == "ViT-mini-hf-mine-seed0.safetensors"
    sidecar = yaml.safe_load(kept.with_name(f"{kept.name}.yaml").read_text(encoding="utf-8"))
    assert (sidecar["head"], sidecar["classes"], "listing" in sidecar) == ("hf:mine", ["dark", "light"], False)
    scored = vit_bench.run("suite=classify", "model=ViT-mini", f"weights={kept}", task="hf:mine", out="s")
    assert set(scored["status"]) == {"ok"}
    assert identity(here / "s")["task"]["splits"] == {"test": 8}


class Hub(http.server.BaseHTTPRequestHandler):
    """What `huggingface_hub` asks of the Hub, for someone/pictures and someone/gated."""

    files: ClassVar[dict[str, bytes]] = {}
    asked: ClassVar[list[str]] = []

    def log_message(self, *_: Any) -> None:
        pass

    def answer(self, status: int, content: Any = b"", **headers: str) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {**headers, "Content_Length": str(len(body))}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def row(self, path: str) -> dict[str, Any]:
        content = self.files[path]
        return {"type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        asked = json.loads(body)["paths"] if body[0] == "{" else parse_qs(body)["paths"]
        self.answer(200, [self.row(path) for path in asked if path in self.files])

    def do_GET(self) -> None:
        path = unquote(urlparse(self.path).path)
        self.asked.append(path)
        if "/someone/gated/resolve/" in path:
            self.answer(403, X_Error_Code="GatedRepo")
        elif "/someone/pictures" not in path and "/someone/gated" not in path:
            self.answer(404, X_Error_Code="RepoNotFound")
        elif "/tree/" in path:
            self.list_files(path.partition("/tree/")[2].partition("/")[2])
        elif "/resolve/" in path:
            content = self.files.get(path.partition("/resolve/")[2].partition("/")[2])
            known = {"ETag": f'"{hashlib.sha1(content).hexdigest()}"'} if content else {"X_Error_Code": "EntryNotFound"}
            self.answer(200 if content else 404, content or b"", X_Repo_Commit=COMMIT, **known)
        elif path.rpartition("/revision/")[2] in (path, COMMIT, "main"):
            self.answer(200, {"id": "someone/pictures", "sha": COMMIT, "siblings": []})
        else:
            self.answer(404, X_Error_Code="RevisionNotFound")

    do_HEAD = do_GET

    def list_files(self, folder: str) -> None:
        inside = [
            path.removeprefix(f"{folder}/") for path in self.files if folder == "" or path.startswith(f"{folder}/")
        ]
        folders = {path.partition("/")[0] for path in inside if "/" in path}
        rows = [self.row(f"{folder}/{path}".lstrip("/")) for path in inside if "/" not in path]
        self.answer(200, rows + [{"type": "directory", "path": name, "oid": "0" * 40} for name in sorted(folders)])


@pytest.fixture
def hub(here: Path) -> Iterator[str]:
    """The address of the small Hub."""
    for name, data in (("train", pictures(0, 20)), ("test", pictures(20, 8))):
        data.to_parquet(here / "file.parquet")
        Hub.files[f"data/{name}-00000-of-00001.parquet"] = (here / "file.parquet").read_bytes()
    Hub.asked.clear()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def typed(hub: str, folder: Path, *lines: str) -> list[str]:
    """What each of these commands prints, in a process for which this address is the Hub's."""
    known = {name: value for name, value in os.environ.items() if name not in ("BENCH_OFFLINE", "HF_HUB_OFFLINE")}
    variables = known | {"HF_ENDPOINT": hub, "HF_HOME": str(folder / "home"), "HF_HUB_DISABLE_TELEMETRY": "1"}
    command = [sys.executable, "-c", SCRIPT, *lines]
    ended = subprocess.run(command, env=variables, cwd=folder, capture_output=True, text=True, check=False, timeout=300)
    assert ended.returncode == 0, ended.stderr
    return [text.partition("\n")[2] for text in ended.stdout.split("== ")[1:]]


@pytest.mark.slow
def test_run_downloads_a_data_set_once_and_says_why_it_cannot(
    here: Path, hub: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = " ".join(("run", *WORDS, "device=cpu", "out=r", "task=hf:someone/pictures"))
    missing, gated, unknown, unconfigured, planned, first, again, pinned = typed(
        hub,
        here,
        "data prepare hf:someone/nothing",
        "data prepare hf:someone/gated",
        "data prepare hf:someone/pictures@v2",
        "data prepare hf:someone/pictures:config=large",
        run.replace("run", "plan", 1),
        run,
        run,
        f"data verify hf:someone/pictures@{COMMIT}",
    )
    assert missing.startswith("no data for hf:someone/nothing: the Hub has no such data set, or one that is private or")
    assert gated.startswith("no data for hf:someone/gated: Dataset 'someone/gated' is a gated dataset on the Hub.")
    assert unknown == "no data for hf:someone/pictures@v2: the data set has no such revision\n"
    assert unconfigured == (
        "no data for hf:someone/pictures: BuilderConfig 'large' not found. Available: ['default']. Type :config=NAME "
        "after it\n"
    )
    assert planned.startswith("no data for hf:someone/pictures: it is not in ")
    assert "hf:someone/pictures" in first
    assert again == first
    assert "  verified" in pinned
    assert sum("parquet" in path for path in Hub.asked) == 4  # a HEAD and a GET of each
    told = identity(here / "r")
    assert (told["task"]["revision"], told["source"]) == (COMMIT, "hf")
    cli.app(["explain", str(here / "r")], standalone_mode=False)
    assert re.search(f"their revision +{COMMIT}", capsys.readouterr().out)
    frame = vit_bench.load(here / "r")
    assert set(frame["split_sha"]) == set(vit_bench.run(*WORDS, task="hf:mine")["split_sha"])  # the same pictures
