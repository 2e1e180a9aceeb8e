"""Simulated classifiers of known accuracy: which images they get right, over seeds, images and groups of images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

NOISE, OWN = (
    0.3,
    0.2,
)  # shares of the variance: of seeds x images, of a recipe's own taste; the rest is how hard an image is


@dataclass(frozen=True, kw_only=True)
class World:
    """Two recipes and a test set. An image is right where a sum of normal effects is above a threshold.

    `seed_sd` is how much the expected accuracy varies between seeds, in percentage points. Images in one group share
    half of the variance of what is hard about them. With `same_draws` half of the variance of seeds is common to both.
    """

    n: int
    seeds: tuple[int, int] = (1, 1)
    accuracy: float = 80.0  # percent
    seed_sd: tuple[float, float] = (0.0, 0.0)
    groups: int = 0
    uneven: bool = False  # group sizes from a gamma distribution with the spread of an exponential one
    same_draws: bool = False

    def draw(self, gap: float, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """(S_a, N), (S_b, N) right answers, and (N,) groups; A is truly `gap` percentage points better."""
        groups = self._groups(random)
        hard = self._field(groups, random)
        common = random.standard_normal(max(self.seeds))
        rights = []
        for seeds, sd, ahead in zip(self.seeds, self.seed_sd, (gap / 2, -gap / 2), strict=True):
            threshold = float(ndtri((self.accuracy + ahead) / 100))
            spread = sd / 100 * np.sqrt(2 * np.pi) * np.exp(threshold**2 / 2)
            of_seeds = random.standard_normal(seeds)
            if self.same_draws:
                of_seeds = (common[:seeds] + of_seeds) / np.sqrt(2)
            images = np.sqrt(1 - NOISE - OWN) * hard + np.sqrt(OWN) * self._field(groups, random)
            noise = np.sqrt(NOISE) * random.standard_normal((seeds, self.n), dtype=np.float32)
            offset = spread * of_seeds + threshold * np.sqrt(1 + spread**2)  # the mean over seeds and images is exact
            rights.append(noise + images.astype(np.float32) > -offset[:, None].astype(np.float32))
        return rights[0], rights[1], groups

    def _groups(self, random: np.random.Generator) -> np.ndarray | None:
        if not self.groups:
            return None
        if not self.uneven:
            return np.arange(self.n) % self.groups
        weights = random.gamma(1.0, size=self.groups)
        return random.choice(self.groups, self.n, p=weights / weights.sum())

    def _field(self, groups: np.ndarray | None, random: np.random.Generator) -> np.ndarray:
        own = random.standard_normal(self.n)
        return own if groups is None else np.sqrt(0.5) * (own + random.standard_normal(self.groups)[groups])
