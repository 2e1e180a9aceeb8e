"""Adding a suite is one file: it is listed, planned, run, printed, and in the report, with no edit elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from vit_bench import suites as package
from vit_bench.bench import config, fingerprint
from vit_bench.bench.plan import make_plan
from vit_bench.bench.verbs.list import list_verb
from vit_bench.bench.verbs.plan import plan_verb
from vit_bench.bench.verbs.report import report_verb
from vit_bench.bench.verbs.run import run_verb
from vit_bench.registry import UsageError
from vit_bench.results.store import load

SUITE = '''
"""How long features are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .protocol import Context, Measurement, Suite, fingerprint, task_question


@dataclass(frozen=True, kw_only=True)
class FeatureLength(Suite):
    """The mean length of a task's test features."""

    name: ClassVar[str] = "feature-length"
    version: ClassVar[int] = 1
    splits: ClassVar[tuple[str, ...]] = ("test",)
    default_models: ClassVar[tuple[str, ...]] = ("ViT-mini",)
    default_tasks: ClassVar[str] = "digits"

    order: float = 2.0  # of the norm

    def check(self) -> None:
        self.require_positive("order")

    def run(self, context: Context) -> Iterator[Measurement]:
        test = context.features(context.task, ("test",), resize="square")
        yield Measurement(
            metric="feature_length",
            value=float(np.linalg.norm(test.x, ord=self.order, axis=1).mean()),
            unit="length",
            n_test=len(test.labels),
            question={**task_question(context.task), **fingerprint(test), "order": self.order},
            treatment=test.treatment,
        )


FEATURE_LENGTH = FeatureLength()
'''


@pytest.fixture
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A suite's file in a folder that is a part of the package's, as if it had been put there."""
    file = tmp_path / "more" / "feature_length.py"
    file.parent.mkdir()
    file.write_text(SUITE, encoding="utf-8")
    ours = fingerprint._file
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(file.parent)])
    monkeypatch.setattr(fingerprint, "_file", lambda name: file if name == "suites.feature_length" else ours(name))
    package.suites.cache_clear()
    yield file
    package.suites.cache_clear()
    sys.modules.pop("vit_bench.suites.feature_length", None)


def shown(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().out.split())


@pytest.mark.usefixtures("added")
def test_a_suite_of_one_file_is_listed_planned_and_run(
    capsys: pytest.CaptureFixture[str],
) -> None:
    list_verb(["suites", "feature-length"])
    listed = shown(capsys)
    assert "feature-length" in listed
    assert "order=2" in listed
    words = ["suite=feature-length", "out=run"]
    plan_verb(words)
    assert "feature-length" in shown(capsys)
    run_verb(words)
    (value,) = load(Path("run"))["value"]
    assert value > 0
    assert set(make_plan(config.read(words)).states) == {"done"}


@pytest.mark.usefixtures("added")
def test_its_numbers_are_printed_and_in_the_report(capsys: pytest.CaptureFixture[str]) -> None:
    run_verb(["suite=feature-length", "out=run"])
    printed = shown(capsys)
    (value,) = load(Path("run"))["value"]
    report_verb(["run", "out=page.html"])
    page = Path("page.html").read_text(encoding="utf-8")
    assert f"{value:.1f}" in printed
    assert "feature-length" in page
    assert f"{value:.1f}" in page


@pytest.mark.usefixtures("added")
def test_its_settings_and_its_name_are_checked_as_any_others() -> None:
    with pytest.raises(UsageError, match=r"suite.order=0: feature-length needs finite numbers above 0"):
        make_plan(config.read(["suite=feature-length", "order=0"]))
    with pytest.raises(UsageError, match=r"\(feature-length\) has a setting 'oder'. Did you mean 'order'"):
        make_plan(config.read(["suite=feature-length", "oder=1"]))


def test_its_code_is_in_the_key(added: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (job,) = make_plan(config.read(["suite=feature-length"])).jobs
    assert "suites.feature_length" in job.modules
    monkeypatch.setattr(
        fingerprint, "read_text", lambda name, read=fingerprint.read_text: read(name).replace("mean", "max")
    )
    fingerprint.code_sha.cache_clear()
    fingerprint._code.cache_clear()
    (other,) = make_plan(config.read(["suite=feature-length"])).jobs
    fingerprint.code_sha.cache_clear()
    fingerprint._code.cache_clear()
    assert added.exists()
    assert other.identity == job.identity
    assert other.key != job.key
