"""The designs whose error rates are simulated, and what is promised of each."""

from __future__ import annotations

from dataclasses import dataclass

from .worlds import World

THREE_SEEDS = 15.0  # percentage points by which three seeds may be below the oracle: see test_best_power.py


@dataclass(frozen=True, kw_only=True)
class Design:
    """A row of the table. `quick` designs are in the default test run."""

    world: World
    promised: bool = True  # a verdict is promised: at least 3 seeds or 10 groups, or these weights on single images
    discrete: bool = False  # so few images can differ that intervals cover more than 98 %
    least_coverage: float = 93.0  # percent
    below_oracle: float = (
        5.0  # percentage points by which power may be below that of the t test that knows the variances
    )
    quick: bool = False

    @property
    def name(self) -> str:
        world = self.world
        parts = [f"{world.seeds[0]} / {world.seeds[1]}", f"{world.n:,}"]
        parts.append(f"{world.groups} uneven" if world.uneven else str(world.groups or ""))
        parts.append(f"{world.accuracy:g}")
        parts.append(f"{world.seed_sd[0]:g} / {world.seed_sd[1]:g}" + (", same draws" if world.same_draws else ""))
        return " | ".join(parts)


def _seeds(a: int, b: int, n: int, sd: tuple[float, float], **more: object) -> Design:
    world = {name: more.pop(name) for name in ("accuracy", "groups", "uneven", "same_draws") if name in more}
    return Design(world=World(n=n, seeds=(a, b), seed_sd=sd, **world), **more)  # pyright: ignore[reportArgumentType]


DESIGNS = (
    # one seed a side, single images: two trained models
    _seeds(1, 1, 100, (0, 0), quick=True),
    _seeds(1, 1, 100, (0, 0), accuracy=99.0, discrete=True),
    _seeds(1, 1, 1000, (0, 0)),
    _seeds(1, 1, 1000, (0, 0), accuracy=99.0, quick=True),
    _seeds(1, 1, 10_000, (0, 0)),
    _seeds(1, 3, 1000, (0, 0)),
    # one seed a side, groups
    _seeds(1, 1, 120, (0, 0), groups=6, promised=False),
    _seeds(1, 1, 200, (0, 0), groups=10, quick=True),
    _seeds(1, 1, 500, (0, 0), groups=25),
    _seeds(1, 1, 500, (0, 0), groups=25, uneven=True, quick=True),
    _seeds(1, 1, 2000, (0, 0), groups=100),
    _seeds(1, 1, 2000, (0, 0), groups=100, uneven=True),
    _seeds(1, 1, 2000, (0, 0), groups=100, accuracy=98.0),
    _seeds(1, 1, 500, (0, 0), groups=25, accuracy=98.0),
    # several seeds, single images: recipes
    _seeds(2, 2, 1000, (0.3, 0.3), promised=False),
    _seeds(2, 2, 1000, (2, 2), promised=False),
    _seeds(2, 5, 1000, (2, 0.5), promised=False),
    _seeds(3, 3, 100, (0.5, 0.5), quick=True, below_oracle=THREE_SEEDS),
    _seeds(3, 3, 1000, (0, 0), below_oracle=THREE_SEEDS),
    _seeds(3, 3, 1000, (1, 1), quick=True, below_oracle=THREE_SEEDS),
    _seeds(3, 3, 10_000, (0.3, 0.3), below_oracle=THREE_SEEDS),
    _seeds(3, 3, 10_000, (1, 1), below_oracle=THREE_SEEDS),
    _seeds(3, 3, 1000, (2, 0.5), quick=True, below_oracle=THREE_SEEDS),
    _seeds(3, 3, 1000, (1, 1), same_draws=True, below_oracle=THREE_SEEDS),
    _seeds(3, 2, 1000, (1, 1), promised=False),
    _seeds(3, 5, 1000, (2, 0.5), below_oracle=THREE_SEEDS),
    _seeds(3, 10, 1000, (1, 1), below_oracle=THREE_SEEDS),
    _seeds(3, 3, 1000, (0.3, 0.3), accuracy=98.0, below_oracle=THREE_SEEDS),
    _seeds(5, 5, 1000, (1, 1), quick=True),
    _seeds(5, 5, 1000, (2, 0.5)),
    _seeds(5, 5, 100, (0.5, 0.5), accuracy=97.0),
    _seeds(5, 5, 1000, (1, 1), same_draws=True),
    _seeds(10, 10, 1000, (1, 1)),
    _seeds(10, 10, 2000, (1, 0.25)),
    # several seeds, groups
    _seeds(3, 3, 120, (1, 1), groups=6, promised=False),
    _seeds(3, 3, 200, (1, 1), groups=10, quick=True, below_oracle=THREE_SEEDS),
    _seeds(3, 3, 500, (1, 1), groups=25, below_oracle=THREE_SEEDS),
    _seeds(3, 3, 500, (1, 1), groups=25, uneven=True, below_oracle=THREE_SEEDS),
    _seeds(3, 3, 500, (0.3, 0.3), groups=25, accuracy=98.0, below_oracle=THREE_SEEDS),
    _seeds(5, 5, 2000, (1, 1), groups=100),
    # the hardest: seeds make nearly all of the variance, and those of one side most of that
    _seeds(3, 3, 10_000, (2, 0.5), below_oracle=THREE_SEEDS),
    # near 100 % a few hard groups make all of the difference: intervals are too narrow there
    _seeds(1, 1, 1000, (0, 0), groups=10, accuracy=99.0, least_coverage=90.0, discrete=True),
    _seeds(3, 3, 1000, (0.3, 0.3), groups=10, accuracy=95.0, least_coverage=89.0, discrete=True),
    _seeds(5, 5, 1000, (0.3, 0.3), groups=10, accuracy=99.0, least_coverage=85.0, discrete=True),
)
