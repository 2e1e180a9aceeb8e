"""A run that was killed, interrupted or ran out of disk goes on as if nothing had been, or says why not."""

from __future__ import annotations

import csv
import json
import re
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from vit_bench.suites.training import loop
from vit_bench.suites.training.contract import Trained, TrainingError, Watch
from vit_bench.suites.training.loop import train

from .toys import CPU, Noisy, Toy, recipe, same, state

HOW = recipe(steps=12, mixup=0.3, polyak=0.6, warmup=2)
CALLS = 3  # of a step: micro-batches
COMPUTE = replace(CPU, micro_batch=3)


class Killed(Exception):
    """Nothing gets to know of it before it comes, as of a kill."""


def run(work: Path | None, act: Callable[[int], None] = lambda _: None, how: Any = HOW, **watch: Any) -> Trained:
    told = Watch(work=work, **{"every_steps": 3, "every_minutes": None, **watch})
    return train(Toy(dropout=0.3), Noisy(act=act), how, seed=4, compute=COMPUTE, watch=told)


def killed_at(step: int) -> Callable[[int], None]:
    def act(call: int) -> None:
        if call == CALLS * step + 2:
            raise Killed

    return act


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, torch.Tensor]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return state(run(None).network)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("step", [0, 2, 3, 7, 11])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_killed_run_ends_with_bitwise_the_same_weights(tmp_path: Path, step: int, optimizer: str) -> None:
    how = replace(HOW, optimizer=optimizer)
    with pytest.raises(Killed):
        run(tmp_path, killed_at(step), how)
    torch.manual_seed(step)  # whatever state the next process is in
    trained = run(tmp_path, how=how)
    assert trained.resumed_at == (step // 3 * 3 or None)
    assert same(state(trained.network), state(run(None, how=how).network))


def test_a_killed_run_of_pre_training_does_too(tmp_path: Path) -> None:
    how = replace(HOW, optimizer="adam", weight_decay=0.1, decay_on="kernels", loss="sigmoid")
    with pytest.raises(Killed):
        run(tmp_path, killed_at(7), how)
    trained = run(tmp_path, how=how)
    assert trained.resumed_at == 6
    assert same(state(trained.network), state(run(None, how=how).network))


@pytest.mark.parametrize("killed", [False, True])
def test_visits_are_told_the_seconds_of_training_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed: bool
) -> None:
    """Also by a run that was killed between two visits, and after steps that it does again."""
    now, told = [50.0], {}
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def act(call: int) -> None:
        now[0] += 1  # a second a micro-batch
        if killed and len(told) == 1 and call == CALLS * 7 + 2:
            raise Killed

    def visit(step: int, _: Any, seconds: float) -> None:
        now[0] += 100  # the visit itself
        told[step] = seconds

    watch = {"visits": frozenset({4, 12}), "visit": visit}
    if killed:
        with pytest.raises(Killed):
            run(tmp_path, act, **watch)
        now[0] += 1000
    run(tmp_path, act, **watch)
    assert told == {4: 4 * CALLS, 12: 12 * CALLS}


def test_a_run_that_has_reached_enough_trains_no_more(tmp_path: Path) -> None:
    visited: list[int] = []
    watch = {
        "visits": frozenset({4, 8, 12}),
        "visit": lambda step, *_: visited.append(step),
        "enough": lambda: 8 in visited,
    }
    calls: list[int] = []
    first = run(tmp_path, calls.append, **watch)
    assert (visited, len(calls)) == ([4, 8], 8 * CALLS)
    again = run(tmp_path, calls.append, **watch)  # killed before anybody knew that it had ended
    assert (visited, len(calls)) == ([4, 8], 8 * CALLS)
    assert (first.resumed_at, again.resumed_at) == (None, 6)


def test_the_checkpoint_decides_micro_batch_and_threads(tmp_path: Path, undisturbed: dict[str, torch.Tensor]) -> None:
    with pytest.raises(Killed):
        run(tmp_path, killed_at(7))
    torch.set_num_threads(2)
    compute = replace(COMPUTE, micro_batch=8)
    trained = train(Toy(dropout=0.3), Noisy(), HOW, seed=4, compute=compute, watch=Watch(work=tmp_path))
    assert trained.micro_batch == 3
    assert same(state(trained.network), undisturbed)
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_writes_a_checkpoint_first(
    tmp_path: Path, undisturbed: dict[str, torch.Tensor], number: signal.Signals
) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)  # as the command line does
    try:
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, lambda call: signal.raise_signal(number) if call == CALLS * 7 + 1 else None)
    finally:
        signal.signal(signal.SIGTERM, before)
    trained = run(tmp_path)
    assert trained.resumed_at == 7
    assert same(state(trained.network), undisturbed)


def test_a_second_signal_takes_effect_at_once(tmp_path: Path) -> None:
    def act(call: int) -> None:
        if call == CALLS * 4 + 1:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, act)
    assert run(tmp_path).resumed_at == 4


def test_the_last_two_checkpoints_are_kept(tmp_path: Path) -> None:
    run(tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["step-00000009.json", "step-00000009.pt", "step-00000012.json", "step-00000012.pt"]


def test_a_finished_run_is_not_done_again(tmp_path: Path, undisturbed: dict[str, torch.Tensor]) -> None:
    run(tmp_path)
    data = Noisy()
    again = train(Toy(dropout=0.3), data, HOW, seed=4, compute=COMPUTE, watch=Watch(work=tmp_path))
    assert not data.seen
    assert again.resumed_at == 12
    assert again.loss == pytest.approx(json.loads((tmp_path / "step-00000012.json").read_text())["loss"])
    assert same(state(again.network), undisturbed)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def another_step(path: Path) -> None:
    path.write_text(path.read_text().replace('"step": 9', '"step": 3'))


@pytest.mark.parametrize(
    ("suffix", "damage", "words"),
    [
        (".pt", cut, "is damaged (its checksum does not fit)"),
        (".pt", flip, "is damaged (its checksum does not fit)"),
        (".pt", Path.unlink, "is damaged (FileNotFoundError"),
        (".json", cut, "is damaged (JSONDecodeError"),
        (".json", another_step, "is damaged (its checksum does not fit)"),
    ],
)
def test_of_a_damaged_checkpoint_the_one_before_is_used(
    tmp_path: Path, undisturbed: dict[str, torch.Tensor], suffix: str, damage: Callable[[Path], None], words: str
) -> None:
    with pytest.raises(Killed):
        run(tmp_path, killed_at(10))
    damage(tmp_path / f"step-00000009{suffix}")
    said: list[str] = []
    trained = run(tmp_path, say=said.append)
    assert words in said[0]
    assert "step-00000009.pt" in said[0]
    assert trained.resumed_at == 6
    assert same(state(trained.network), undisturbed)


@pytest.mark.parametrize("change", ["lr", "seed", "weights", "data"])
def test_another_runs_checkpoint_is_not_used(tmp_path: Path, change: str) -> None:
    run(tmp_path)
    said: list[str] = []
    network, data = Toy(dropout=0.3), Noisy(count=20 if change == "data" else 21)
    if change == "weights":
        torch.nn.init.constant_(network.head.bias, 0.5)
    trained = train(
        network,
        data,
        HOW.at(0.2) if change == "lr" else HOW,
        seed=5 if change == "seed" else 4,
        compute=COMPUTE,
        watch=Watch(work=tmp_path, say=said.append),
    )
    assert trained.resumed_at is None
    assert "belongs to another run" in said[0]


def test_with_two_checkpoints_gone_a_run_begins_anew(tmp_path: Path, undisturbed: dict[str, torch.Tensor]) -> None:
    with pytest.raises(Killed):
        run(tmp_path, killed_at(10))
    for path in tmp_path.glob("*.pt"):
        cut(path)
    trained = run(tmp_path)
    assert trained.resumed_at is None
    assert same(state(trained.network), undisturbed)


def test_a_full_disk_leaves_the_checkpoint_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: dict[str, torch.Tensor]
) -> None:
    write, calls = torch.save, []

    def full(thing: Any, file: Any) -> None:
        calls.append(thing)
        if len(calls) == 3:
            file.write(b"half of it")
            raise OSError(28, "No space left on device")
        write(thing, file)

    monkeypatch.setattr(torch, "save", full)
    message = r"the checkpoint of step 9 cannot be written to .* \(No space left on device\)\. Make room"
    with pytest.raises(TrainingError, match=message):
        run(tmp_path)
    assert not list(tmp_path.glob(".*"))
    monkeypatch.undo()
    trained = run(tmp_path)
    assert trained.resumed_at == 6
    assert same(state(trained.network), undisturbed)


def test_a_micro_batch_halved_for_memory_is_remembered(tmp_path: Path) -> None:
    def act(call: int) -> None:
        if call == 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried")
        if call == 50:
            raise Killed

    with pytest.raises(Killed):
        run(tmp_path, act)
    trained = run(tmp_path)
    assert trained.micro_batch == 1
    assert "out of memory" in trained.notes[0]


def test_the_curves_file_has_every_step_once(tmp_path: Path) -> None:
    curves, work = tmp_path / "curves.csv", tmp_path / "work"
    run(None, curves=curves, labels={"phase": "select", "lr": 0.1, "seed": 0})
    labels = {"phase": "final", "lr": 0.1, "seed": 4}
    with pytest.raises(Killed):
        run(work, killed_at(5), curves=curves, labels=labels)
    run(work, curves=curves, labels=labels)
    rows = list(csv.DictReader(curves.read_text(encoding="utf-8").splitlines()))
    for phase in ("select", "final"):
        assert [int(row["step"]) for row in rows if row["phase"] == phase] == list(range(1, 13))
    first = ["phase", "lr", "seed", "step", "loss", "learning_rate", "grad_norm", "images_per_second"]
    assert list(rows[0]) == [*first, "recipe", "top1_val", "images"]
    assert [int(row["images"]) for row in rows[:12]] == [8 * step for step in range(1, 13)]
    assert [row["loss"] for row in rows[:12]] == [row["loss"] for row in rows[12:]]
    assert float(rows[1]["learning_rate"]) == pytest.approx(0.05)


def test_progress_says_how_far_and_how_fast() -> None:
    said: list[tuple[int, str]] = []
    run(None, advance=lambda images, note: said.append((images, note)))
    assert sum(images for images, _ in said) == 12 * 8
    assert re.fullmatch(r"step 12/12, loss \d\.\d+, [\d,]+ images/s, lr \d\.\d+", said[-1][1])


def test_tensorboard_is_written_or_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys
    import types

    from vit_bench.registry import UsageError

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UsageError, match=r"the package tensorboard is not installed\. Type: pip install tensorboard"):
        run(None, tensorboard=tmp_path)
    written: list[tuple[str, float, int]] = []
    writer = types.SimpleNamespace(
        add_scalar=lambda *row: written.append(row), close=lambda: written.append(("", 0, 0))
    )
    module = types.SimpleNamespace(SummaryWriter=lambda *_, **__: writer)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    run(None, tensorboard=tmp_path)
    assert [row[2] for row in written if row[0] == "loss"] == list(range(1, 13))
    assert written[-1] == ("", 0, 0)
