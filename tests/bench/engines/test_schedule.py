"""Which job a worker takes next: whole passes, one network a worker, the longest first, and none lost or twice."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from vit_bench.bench import config
from vit_bench.bench.engines.schedule import Schedule, cost
from vit_bench.bench.job import Job
from vit_bench.bench.plan import make_plan


def jobs_of(*words: str) -> list[Job]:
    return make_plan(config.read([*words, "out=r"])).pending


@pytest.fixture(scope="module")
def minis() -> list[Job]:
    return jobs_of("suite=vtab-mini,fewshot", "model=ViT-mini,BiT-mini", "task=digits,photos,sprite-x,sprite-angle")


def test_a_worker_ends_a_pass_and_stays_with_its_network(minis: list[Job]) -> None:
    schedule = Schedule(minis)
    taken = [schedule.take("alone") for _ in minis]
    assert {job.key for job in taken if job} == {job.key for job in minis}
    assert schedule.take("alone") is None
    visited = [(job.group, job.task.image_set) for job in taken if job]
    passes, networks = (list(dict.fromkeys(each)) for each in (visited, [group for group, _ in visited]))
    assert visited == sorted(visited, key=passes.index)  # none is left and come back to
    assert [group for group, _ in visited] == sorted((group for group, _ in visited), key=networks.index)


def test_the_longest_network_and_its_longest_pass_go_first() -> None:
    jobs = jobs_of("suite=vtab-mini", "model=ViT-mini,ViT-B/16,ViT-S/16", "weights=random", "task=digits,sprite-x")
    schedule = Schedule(jobs)
    first, second, third = (schedule.take(worker) for worker in "abc")
    assert first and second and third
    assert [job.model.name for job in (first, second, third)] == ["ViT-B/16", "ViT-S/16", "ViT-mini"]
    assert cost(first) == max(map(cost, jobs))
    helped = schedule.take("d")  # no network is left that nobody is at
    assert helped
    assert helped.model.name == "ViT-B/16"


def test_trainings_share_no_pass() -> None:
    jobs = jobs_of("suite=finetune", "model=ViT-mini", "task=digits", "suite.recipe=short", "suite.steps=4,8")
    schedule = Schedule(jobs)
    longest, other = schedule.take("a"), schedule.take("b")
    assert longest and other
    assert (longest.work.trained, cost(longest)) > (other.work.trained, cost(other))


def test_who_has_nothing_left_helps_where_the_pass_is_over() -> None:
    jobs = jobs_of("suite=fewshot,vtab-mini", "model=ViT-mini", "task=sprite-x,sprite-angle", "shots=1", "seed=0")
    assert len(jobs) == 4
    schedule = Schedule(jobs)
    assert schedule.take("a")
    assert schedule.take("b") is None  # it would repeat the pass that a is at
    assert schedule.take("a")
    assert schedule.take("b")
    assert schedule.take("a")
    assert len(schedule) == 0


def test_the_rest_of_a_pass_whose_worker_is_gone_is_for_others() -> None:
    jobs = jobs_of("suite=vtab-mini", "model=ViT-mini", "task=sprite-x,sprite-angle")
    schedule = Schedule(jobs)
    first = schedule.take("a")
    schedule.leave("a")  # its job has failed, and is not given back
    second = schedule.take("b")
    assert first and second
    assert first.key != second.key
    schedule.leave("b", second)
    assert schedule.take("c") is second


def test_no_job_is_lost_or_done_twice_whoever_dies(minis: list[Job]) -> None:
    for seed in range(50):
        chance, schedule, ended = random.Random(seed), Schedule(minis), Counter[str]()
        at: dict[int, Job] = {}
        for step in range(1000):
            worker = chance.randrange(4) + 10 * (step // 100)  # after a while others come
            if worker in at:
                job = at.pop(worker)
                if chance.random() < 0.2:
                    schedule.leave(worker, job)
                    continue
                ended[job.key] += 1
            if (job := schedule.take(worker)) is not None:
                at[worker] = job
            for gone in [other for other in at if other < 10 * (step // 100)]:
                schedule.leave(gone, at.pop(gone))
        assert ended == Counter(job.key for job in minis)
