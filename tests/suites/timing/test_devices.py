"""What only a GPU has, with a GPU that pretends: events, allocator, NVML, and the columns that come of it."""

from __future__ import annotations

import time
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from vit_bench.bench import config as settings
from vit_bench.bench import environment
from vit_bench.bench.context import Folders, JobContext
from vit_bench.bench.loaded_model import LoadedModel
from vit_bench.bench.plan import make_plan
from vit_bench.registry import UsageError
from vit_bench.suites.protocol import Measurement
from vit_bench.suites.timing import memory, session
from vit_bench.suites.timing.clock import Clock, CUDAClock, MPSClock, clock_of
from vit_bench.suites.timing.monitor import MachineMonitor
from vit_bench.suites.timing.sampling import sample
from vit_bench.suites.timing.settings import StoppingRule

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
QUICK = ("suite.warm_up_seconds=0", "suite.warm_up_steps=1", "suite.min_seconds=0", "suite.max_seconds=0.01")


class Board:
    """A GPU in a few lines: work is given at once and done later, in milliseconds of its own."""

    def __init__(self) -> None:
        self.host = self.device = 0.0
        self.waits = 0

    def give(self, milliseconds: float) -> None:
        self.device = max(self.device, self.host) + milliseconds
        self.host += 0.01

    def synchronize(self, *_: Any) -> None:
        self.waits += 1
        self.host = self.device = max(self.host, self.device)


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> Board:
    made = Board()

    class Event:
        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing

        def record(self, stream: Any) -> None:
            assert stream == "stream"
            self.at = max(made.device, made.host)

        def elapsed_time(self, other: Event) -> float:
            assert other.at <= made.host, "the event was not waited for"
            return other.at - self.at

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: "stream")
    monkeypatch.setattr(torch.cuda, "synchronize", made.synchronize)
    return made


def test_a_gpus_own_time_is_taken_in_seconds_and_waited_for_once_a_block(board: Board) -> None:
    clock = clock_of(GPU)
    assert isinstance(clock, CUDAClock)
    rule = StoppingRule(warm_up_steps=2, min_samples=20, max_seconds=0.0)
    found = sample(lambda _: board.give(5.0), clock, rule, timing="pipelined")
    assert found.seconds == pytest.approx(0.005)
    assert board.waits < len(found.seconds)  # the warm-up's two, and one a block


def test_each_step_is_waited_for_with_timing_sync(board: Board) -> None:
    before = board.waits
    found = sample(
        lambda _: board.give(5.0), CUDAClock(GPU), StoppingRule(warm_up_steps=1, min_samples=20), timing="sync"
    )
    assert board.waits - before == 1 + len(found.seconds)


def test_apples_gpu_is_waited_for_at_every_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[int] = []
    monkeypatch.setattr(torch.mps, "synchronize", lambda: waits.append(1))
    clock = clock_of(torch.device("mps"))
    assert isinstance(clock, MPSClock)
    assert clock.between(clock.mark(), clock.mark()) >= 0
    assert len(waits) == 2


def test_a_gpus_memory_is_what_its_allocator_says(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda _: done.append("reset"))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _: 300)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda _: 400)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda _: done.append("waited"))
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: done.append("emptied"))
    memory.reset_peak(GPU)
    found = memory.peak(GPU)
    memory.release(GPU)
    assert (found.used, found.reserved, found.kind) == (300, 400, "allocated on the device")
    assert done == ["reset", "waited", "emptied"]
    with memory.limit_memory(GPU):
        pass  # only a CPU's memory is limit_memory by us


def test_a_timing_belongs_to_device_driver_and_cuda(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    version = tmp_path / "version"
    version.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  Sun Jul 27\nGCC version: 12.3.0\n")
    monkeypatch.setattr(environment, "DRIVER", version)
    monkeypatch.setattr(environment, "pick_device", lambda _: GPU)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA H100")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    found = environment.machine("cuda")
    assert (found["device"], found["driver"], found["devices"]) == ("NVIDIA H100", "580.65.06", "8")
    assert {"torch", "cuda"} <= set(found)


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
            True,
        ),
        (MemoryError(), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_what_is_out_of_memory(error: Exception, found: bool) -> None:
    assert memory.is_out_of_memory(error) is found


def pretended_nvml(watts: float = 300.0, **changes: Any) -> types.SimpleNamespace:
    joules = iter(range(1000, 10**9, 2000))
    made = {
        "NVMLError": RuntimeError,
        "NVML_CLOCK_SM": 1,
        "nvmlInit": lambda: None,
        "nvmlDeviceGetHandleByUUID": lambda uuid: uuid,
        "nvmlDeviceGetTotalEnergyConsumption": lambda _: next(joules),
        "nvmlDeviceGetPowerUsage": lambda _: 1e3 * watts,
        "nvmlDeviceGetClockInfo": lambda _, __: 1500,
        "nvmlDeviceGetCurrentClocksThrottleReasons": lambda _: 0,
        "nvmlDeviceGetComputeRunningProcesses": lambda _: [],
    }
    return types.SimpleNamespace(**{**made, **changes})


@pytest.fixture
def uuid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: types.SimpleNamespace(uuid="1234"))


def refuse(*_: Any) -> None:
    raise RuntimeError("Not Supported")


@pytest.mark.usefixtures("uuid")
def test_what_a_board_does_not_tell_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    silent = pretended_nvml(nvmlDeviceGetTotalEnergyConsumption=refuse, nvmlDeviceGetPowerUsage=refuse)
    monkeypatch.setitem(__import__("sys").modules, "pynvml", silent)
    monitor = MachineMonitor(GPU)
    with monitor.watch():
        pass
    assert (monitor.absent, monitor.readings.watts, monitor.readings.joules) == ("", [], None)


@pytest.mark.usefixtures("uuid")
@pytest.mark.parametrize(("numbers", "others"), [((), 0), ((4242,), 0), ((4242, 4242), 0), ((1, 4242), 1)])
def test_of_the_processes_on_a_gpu_one_is_this_whatever_its_number(
    numbers: tuple[int, ...], others: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a container, NVML gives the host's numbers. What a board does not tell does not hide the rest."""
    running = [types.SimpleNamespace(pid=number) for number in numbers]
    nvml = pretended_nvml(nvmlDeviceGetComputeRunningProcesses=lambda _: running, nvmlDeviceGetPowerUsage=refuse)
    monkeypatch.setitem(__import__("sys").modules, "pynvml", nvml)
    monitor = MachineMonitor(GPU)
    with monitor.watch():
        pass
    assert monitor.readings.others == others
    assert monitor.readings.clocks


def test_a_gpu_is_picked_without_putting_anything_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that starts others would be seen beside them, and all processes of a node would sit on its first."""
    monkeypatch.setattr(torch, "empty", refuse)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: [None][device.index or 0])
    assert environment.pick_device("cuda") == torch.device("cuda")
    assert environment.pick_device("cuda:0") == GPU


@pytest.mark.usefixtures("uuid")
def test_nvml_that_does_not_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pynvml", pretended_nvml(nvmlInit=refuse))
    monitor = MachineMonitor(GPU)
    with monitor.watch():
        pass
    assert monitor.readings.joules is None
    assert monitor.absent == "NVML: Not Supported"


def measured(tmp_path: Path, *words: str) -> list[Measurement]:
    """A small run of the suite in this process."""
    plan = make_plan(settings.read(["suite=throughput", "model=ViT-mini", "device=cpu", *QUICK, *words]))
    job = plan.jobs[0]

    class Reporter:
        def say(self, text: str) -> None: ...

        def advance(self, images: int, note: str = "") -> None: ...

    folders = Folders(data=tmp_path, cache=tmp_path, out=tmp_path)
    return list(
        job.suite.run(JobContext(job, LoadedModel(job.model, job.weights, CPU), folders, Reporter(), batch_size=1))
    )


@pytest.mark.usefixtures("uuid")
@pytest.mark.slow
def test_power_clocks_and_energy_are_columns_and_throttling_is_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clocks = iter([1980, *[1400] * 10**6])
    nvml = pretended_nvml(
        nvmlDeviceGetClockInfo=lambda _, __: next(clocks), nvmlDeviceGetCurrentClocksThrottleReasons=lambda _: 0x4
    )
    monkeypatch.setattr("vit_bench.suites.timing.monitor.PERIOD", 0.001)
    monkeypatch.setitem(__import__("sys").modules, "pynvml", nvml)
    monkeypatch.setattr(session, "MachineMonitor", lambda _: MachineMonitor(GPU))
    found = measured(tmp_path, "suite.image_size=32", "suite.batch_size=4", "suite.scenario=offline")
    value = {one.metric: one.value for one in found}
    steps = value["timed_steps"]
    assert value["mean_power"] == 300.0
    assert value["clock"] is not None and 1400 <= value["clock"] <= 1980
    assert steps is not None and value["energy_per_image"] == pytest.approx(2.0 / (4 * steps))  # 2000 mJ
    verdict = next(one.verdict for one in found if one.metric == "images_per_second")
    assert "throttled: software power cap" in verdict
    assert {"share_of_products", "float32_difference", "float32_difference_allowed"} <= set(value)


@pytest.mark.slow
def test_a_model_in_turn_with_itself_is_about_as_fast_and_a_part_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the time of this process, which other processes take nothing of."""
    monkeypatch.setattr(Clock, "now", lambda _: time.process_time())
    words = ("suite.image_size=32,48", "suite.batch_size=2", "suite.scenario=offline", "suite.ceilings=false")
    found = measured(tmp_path, *words, "suite.against=ViT-mini", "suite.against_at=32", "suite.max_seconds=0.5")
    duel = {one.metric: one for one in found if "against" in one.at}
    assert {one.at["image_size"] for one in duel.values()} == {32}
    ratio = duel["speed_ratio"].value
    assert ratio is not None and 0.5 < ratio < 2
    if "no interval: the rounds depend on each other" not in duel["speed_ratio"].verdict:
        low, high = (duel[f"speed_ratio_{end}"].value for end in ("low", "high"))
        assert low is not None and high is not None and low <= ratio <= high
    assert duel["speed_ratio"].arrays["samples"].shape == (2, duel["rounds"].value)


def test_another_model_that_is_not_there_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"timm has no ViT-mini that is known here\. Name its model: timm:NAME"):
        measured(tmp_path, "suite.image_size=32", "suite.against=timm")


def test_a_budget_that_is_over_leaves_rows_and_says_so(tmp_path: Path) -> None:
    words = ("suite.image_size=32,48,64", "suite.batch_size=2", "suite.scenario=offline", "suite.ceilings=false")
    found = measured(tmp_path, *words, "suite.budget=0.001")
    assert [one.at["image_size"] for one in found if one.metric == "images_per_second" and one.value] == [32]
    left = [one for one in found if one.error]
    assert [one.at["image_size"] for one in left] == [48, 64]
    assert {one.error for one in left} == {"not reached within 0.001 s (suite.budget)"}
