"""How many workers a command has, and what it cannot ask of them. Neither Ray nor torch is imported."""

from __future__ import annotations

from importlib.util import find_spec

from ...registry import UsageError
from ...stable import usable_cores
from .. import environment
from ..config import Config
from ..distributed import process_group

NEEDS_RAY = "engine=ray needs Ray, which is not installed: pip install -e '.[ray]'"


def check(config: Config) -> None:
    """Raise UsageError for settings of workers that contradict each other, or that cannot be here."""
    if not config.on_ray:
        return
    if "engine" in config.origin and config.engine == "here":
        said = "workers" if config.workers is not None else "ray"
        raise UsageError(f"engine=here runs jobs in this process, and {said}= asks for workers: leave one of them out")
    if config.device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"device={config.device}: a worker takes a device of its own. Type device=auto, cpu or cuda")
    if process_group().size > 1:
        raise UsageError("torchrun shares out one job, and engine=ray many: start this without torchrun")
    if find_spec("ray") is None:
        raise UsageError(NEEDS_RAY)


def threads_of_each(workers: int, cores: int) -> int:
    """The threads of each of so many workers: OMP_NUM_THREADS, or an equal share of the cores."""
    return environment.threads_asked() or max(1, cores // workers)


def workers_on(cores: int) -> int:
    """How many workers without GPUs so many cores have where nobody says it."""
    return max(1, cores // (environment.threads_asked() or 1))


def in_parallel(config: Config) -> tuple[int, int]:
    """How many jobs run at once and the threads of each, as far as it is known before the run."""
    if not config.on_ray:
        return 1, environment.threads()
    cores = usable_cores()
    count = config.workers or (1 if config.ray or environment.expects_gpu(config.device) else workers_on(cores))
    return count, threads_of_each(count, cores)


def in_words(config: Config) -> str:
    """The workers of a command, as a plan says them; "" without any."""
    if not config.on_ray:
        return ""
    if config.ray is not None:
        return f"{config.workers or 'as many'} workers{'' if config.workers else ' as fit'} on the cluster {config.ray}"
    if environment.expects_gpu(config.device):
        count = config.workers
        return f"{count} worker{'' if count == 1 else 's'}, a GPU each" if count else "a worker a GPU"
    count, threads = in_parallel(config)
    return f"{count} worker{'' if count == 1 else 's'} of {threads} CPU thread{'' if threads == 1 else 's'}"
