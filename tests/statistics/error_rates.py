"""Error rates of verdicts, measured on simulated truth through the public functions.

`python -m vit_bench.tests.statistics.error_rates 4000` writes the tables into docs/verdicts.md (8 minutes of one core).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats
from vit_bench.results.statistics import Difference, difference_of_accuracies, holm, welch_of_summaries

from .designs import DESIGNS, Design
from .worlds import World

PAGE = Path(__file__).parents[2] / "docs" / "verdicts.md"
AIM = 3.0  # standard errors between the two models where power is measured


@dataclass(frozen=True, kw_only=True)
class Rates:
    """What was measured, in percent of the replications; `gap` in percentage points."""

    size: float  # verdicts though the models are equal
    coverage: tuple[float, float]  # of equal models, and of models `gap` apart
    gap: float
    power: float
    t_oracle: float  # power of the t test of the same degrees of freedom that knows the ratio of the variances
    z_oracle: float  # power of the z test that knows all variances
    false_equivalent: float | None  # "equivalent within `gap`" though they are `gap` apart; None: not tested
    disagreeing: float  # intervals that say other than p

    def shown(self, replications: int) -> list[str]:
        def percent(rate: float) -> str:
            return f"{rate:.1f} ± {100 * error(rate, replications) / 100:.1f}"

        numbers = (self.size, *self.coverage, self.power)
        texts = [percent(rate) for rate in numbers]
        oracles = [f"{rate:.1f}" for rate in (self.t_oracle, self.z_oracle)]
        equivalent = "not tested" if self.false_equivalent is None else percent(self.false_equivalent)
        return [*texts[:3], f"{self.gap:.1f}", texts[3], *oracles, equivalent]


def error(rate: float, replications: int) -> float:
    """The Monte-Carlo standard error of a rate in percent, at least that of one event."""
    share = min(max(rate / 100, 1 / replications), 1 - 1 / replications)
    return 100 * (share * (1 - share) / replications) ** 0.5


def measured(design: Design, replications: int, seed: int = 0) -> Rates:
    """The rates of a design, from two times `replications` simulated comparisons."""
    random = np.random.default_rng(seed)
    equal, _ = _simulated(design.world, 0.0, None, replications, random)
    spread = float(np.std([one.value for one in equal]))
    gap = round(min(AIM * spread, 1.8 * (100 - design.world.accuracy)), 2)
    apart, seeds = _simulated(design.world, gap, gap, replications, random)
    values = np.array([one.value for one in apart])
    freedom = _freedom(design.world, values.var(), seeds)
    bound, away = stats.t.ppf(0.975, freedom), gap / values.std()
    equivalent = [one.p_equivalent <= 0.05 for one in apart if one.p_equivalent is not None]
    everything = [*equal, *apart]
    return Rates(
        size=_rate(one.p is not None and one.p <= 0.05 for one in equal),
        coverage=(_rate(one.low <= 0 <= one.high and (one.p or 1) > 0.05 for one in equal), _covered(apart, gap)),
        gap=gap,
        power=_rate(one.p is not None and one.p <= 0.05 for one in apart),
        t_oracle=100 * float(stats.nct.sf(bound, freedom, away)),
        z_oracle=100 * float(stats.norm.sf(1.96 - away)),
        false_equivalent=_rate(equivalent) if equivalent else None,
        disagreeing=_rate((one.p or 0) <= 0.05 and one.low < 0 < one.high for one in everything)
        + _rate((one.p or 0) > 0.05 and not one.low <= 0 <= one.high for one in everything),
    )


def _simulated(
    world: World, gap: float, margin: float | None, replications: int, random: np.random.Generator
) -> tuple[list[Difference], np.ndarray]:
    """The differences found, and the mean over replications of the variance of each side's mean over its seeds."""
    found, seeds = [], np.zeros(2)
    for _ in range(replications):
        a, b, groups = world.draw(gap, random)
        found.append(difference_of_accuracies(a, b, groups, same_draws=world.same_draws, margin=margin))
        if min(world.seeds) > 1:
            sides = [a.mean(axis=1) - b.mean(axis=1)] if world.same_draws else [a.mean(axis=1), b.mean(axis=1)]
            seeds[: len(sides)] += [1e4 * side.var(ddof=1) / len(side) / replications for side in sides]
    return found, seeds


def _freedom(world: World, variance: float, seeds: np.ndarray) -> float:
    """Degrees of freedom of the variance where its parts are known; of single images without seeds they are endless."""
    units = world.groups or (world.n if max(world.seeds) > 1 else 10**9)
    images = max(variance - seeds.sum(), 0.0)
    of_seeds = sum(part**2 / max(number - 1, 1) for part, number in zip(seeds, world.seeds, strict=True))
    return variance**2 / (of_seeds + images**2 / (units - 1))


def _rate(events) -> float:
    return 100 * float(np.mean(list(events)))


def _covered(found: Sequence[Difference], gap: float) -> float:
    return _rate(one.low - 1e-9 <= gap <= one.high + 1e-9 for one in found)


def family_error(world: World, tasks: int, replications: int, seed: int = 0) -> float:
    """Percent of comparisons of equal models over `tasks` tasks in which Holm leaves any verdict."""
    random = np.random.default_rng(seed)
    wrong = 0
    for _ in range(replications):
        ps = holm([difference_of_accuracies(*world.draw(0.0, random)).p for _ in range(tasks)])
        wrong += any(p is not None and p <= 0.05 for p in ps)
    return 100 * wrong / replications


FAMILIES = ((World(n=500), 19), (World(n=500, seeds=(3, 3), seed_sd=(1, 1)), 19), (World(n=200, groups=10), 5))
SEEDS = (
    (2, 2, 1),
    (2, 5, 1),
    (2, 5, 4),
    (3, 3, 1),
    (3, 3, 4),
    (3, 5, 1),
    (3, 5, 4),
    (5, 5, 4),
    (3, 10, 1),
    (10, 10, 1),
)


def welch_rates(a: int, b: int, ratio: float, replications: int, seed: int = 0) -> tuple[float, float, float, float]:
    """Size, coverage, power and the t oracle's power of values over seeds only; A has `ratio` times the spread of B."""
    random = np.random.default_rng(seed)
    values = ratio * random.standard_normal((replications, a)), random.standard_normal((replications, b))
    sides = [np.stack([v.mean(axis=1), v.var(axis=1, ddof=1), np.full(replications, v.shape[1])]) for v in values]
    parts = ratio**2 / a, 1 / b
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / (a - 1) + parts[1] ** 2 / (b - 1))
    away = AIM if freedom > 4 else AIM * 1.5
    equal = welch_of_summaries(sides[0], sides[1])
    sides[0][0] += away * sum(parts) ** 0.5
    apart = welch_of_summaries(sides[0], sides[1])
    size, power = (_rate(one.p is not None and one.p <= 0.05 for one in found) for found in (equal, apart))
    return size, _covered(equal, 0.0), power, 100 * float(stats.nct.sf(stats.t.ppf(0.975, freedom), freedom, away))


def tables(replications: int) -> str:
    """The three tables of the page, in Markdown."""
    heads = "seeds A / B|images|groups|accuracy|sd of seeds A / B|size|coverage, equal|coverage, apart|apart by|power"
    lines = [_line([*heads.split("|"), "t oracle", "z oracle", "falsely equivalent", ""]), _line(["---"] * 14)]
    with ProcessPoolExecutor(max_workers=3) as pool:
        for line in pool.map(_design_line, range(len(DESIGNS)), [replications] * len(DESIGNS)):
            lines.append(line)
            print(line, flush=True)  # noqa: T201
    lines += ["", _line(["seeds A / B, values only", "sd A / sd B", "size", "coverage", "power", "t oracle"])]
    lines.append(_line(["---"] * 6))
    for a, b, ratio in SEEDS:
        *rates, oracle = welch_rates(a, b, ratio, replications)
        shown = [f"{rate:.1f} ± {error(rate, replications):.1f}" for rate in rates]
        lines.append(_line([f"{a} / {b}", f"{ratio:g}", *shown, f"{oracle:.1f}"]))
    lines += ["", _line(["tasks, Holm", "seeds", "images", "groups", "any wrong verdict"]), _line(["---"] * 5)]
    for world, tasks in FAMILIES:
        rate = family_error(world, tasks, replications // 2)
        shown = f"{rate:.1f} ± {error(rate, replications // 2):.1f}"
        lines.append(_line([str(tasks), str(world.seeds[0]), str(world.n), str(world.groups or ""), shown]))
    return "\n".join(lines) + "\n"


def _design_line(i: int, replications: int) -> str:
    design = DESIGNS[i]
    rates = measured(design, replications, seed=i)
    marks = {"too narrow": design.least_coverage < 93, "discrete": design.discrete, "no promise": not design.promised}
    mark = next((mark for mark, holds in marks.items() if holds), "")
    return _line([*design.name.split(" | "), *rates.shown(replications), mark])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def write(page: Path, replications: int) -> None:
    """Put the tables between the two marks of the page."""
    begin, end = "<!-- tables -->\n", "<!-- end of tables -->"
    before, _, rest = page.read_text(encoding="utf-8").partition(begin)
    after = rest.partition(end)[2]
    about = (
        f"{replications:,} replications (families half as many); in percent; ± is one Monte-Carlo standard error.\n\n"
    )
    page.write_text(before + begin + about + tables(replications) + end + after, encoding="utf-8")


if __name__ == "__main__":
    write(PAGE, int(sys.argv[1]))
