"""How often the interval of an accuracy or of a difference holds the truth, in simulated runs.

Each run draws right and wrong answers whose true accuracy is known; answers to one image may be
correlated. Intervals are those of the package, and for comparison those of the same bootstrap
without the made-up questions that the package adds to the resamples. Prints a table in Markdown.

    python benchmarks/simulated_answers.py --runs 600
"""

from __future__ import annotations

import argparse
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from moe_eval_plugin.results.versions import installed_versions
from moe_eval_plugin.stats import accuracy
from moe_eval_plugin.stats.paired import paired_difference
from moe_eval_plugin.stats.resampling import Bootstrap, cluster_codes, cluster_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from moe_eval_plugin.stats.resampling import Interval

    Array = NDArray[np.float64]

BOOTSTRAP = Bootstrap(n_resamples=1000)
# The baseline of a pair is right this often, and its answers to one image are correlated.
RIGHT, CORRELATION = 0.7, 0.2


@dataclass(frozen=True)
class Answers:
    """Answers to the questions about some images, each right with the same probability."""

    n_images: int
    n_questions: int
    """Questions about each image."""
    right: float
    correlation: float = 0.0
    """Correlation of two answers to one image."""

    @property
    def images(self) -> list[int]:
        """The image of each question."""
        return [image for image in range(self.n_images) for _ in range(self.n_questions)]

    def draw(self, generator: np.random.Generator) -> Array:
        """Draw the score of each question, 0 or 1."""
        chances = np.full(self.n_images, self.right)
        if self.correlation:
            scale = (1 - self.correlation) / self.correlation
            ends = self.right * scale, (1 - self.right) * scale
            chances = generator.beta(*ends, self.n_images)
        shape = (self.n_images, self.n_questions)
        return (generator.random(shape) < chances[:, None]).astype(float).ravel()

    def intervals(self, generator: np.random.Generator) -> tuple[Interval, Interval, float]:
        """Return the plain interval of one run, that of the package, and the truth."""
        scores = self.draw(generator)
        rows = cluster_rows([scores], cluster_codes(self.images, len(scores)))
        drawn = BOOTSTRAP.sums(rows)
        plain = BOOTSTRAP.interval(drawn[:, 1] / drawn[:, 0])
        return plain, accuracy(scores, self.images, bootstrap=BOOTSTRAP).interval, self.right


@dataclass(frozen=True)
class Pairs:
    """Answers of two runs to the same questions, some of which are gained or lost."""

    n_images: int
    n_questions: int
    """Questions about each image."""
    gained: float
    """Share of the questions that only the second run answers."""
    lost: float
    """Share of the questions that only the first run answers."""

    def draw(self, generator: np.random.Generator) -> tuple[Array, Array]:
        """Draw the scores of the second and of the first run."""
        base = Answers(self.n_images, self.n_questions, RIGHT, CORRELATION).draw(generator)
        chance = np.where(base == 1, self.lost / RIGHT, self.gained / (1 - RIGHT))
        flips = generator.random(len(base)) < chance
        return np.where(flips, 1 - base, base), base

    def intervals(self, generator: np.random.Generator) -> tuple[Interval, Interval, float]:
        """Return the plain interval of one run, that of the package, and the truth."""
        own, base = self.draw(generator)
        images = Answers(self.n_images, self.n_questions, RIGHT).images
        drawn = BOOTSTRAP.sums(cluster_rows([own, base], cluster_codes(images, len(own))))
        plain = BOOTSTRAP.interval((drawn[:, 1] - drawn[:, 2]) / drawn[:, 0])
        found = paired_difference(own, base, images, bootstrap=BOOTSTRAP)
        return plain, found.interval, self.gained - self.lost


CASES: dict[str, Answers | Pairs] = {
    "1,000 questions, 95% right": Answers(1000, 1, 0.95),
    "100 questions, 99.5% right": Answers(100, 1, 0.995),
    "500 images of 5 questions, 60% right, correlated (0.3)": Answers(500, 5, 0.6, 0.3),
    "10 images of 10 questions, 70% right, correlated (0.3)": Answers(10, 10, 0.7, 0.3),
    "500 pairs, 0.2% gained and 0.4% lost": Pairs(500, 1, 0.002, 0.004),
    "100 images of 5 pairs, 2% gained and 5% lost": Pairs(100, 5, 0.02, 0.05),
}


def coverage(case: Answers | Pairs, n_runs: int, seed: int = 0) -> tuple[float, float]:
    """Return how often the plain interval and that of the package hold the truth."""
    generator = np.random.default_rng(seed)
    held = np.zeros(2)
    for _ in range(n_runs):
        plain, own, truth = case.intervals(generator)
        held += [plain.holds(truth), own.holds(truth)]
    return float(held[0] / n_runs), float(held[1] / n_runs)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=600, help="simulations of each case")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(
        f"{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, "
        f"numpy {np.__version__}, moe-eval-plugin {installed_versions().get('moe-eval-plugin')}; "
        f"{options.runs} runs each\n"
    )
    print("| case | plain bootstrap | with made-up questions |")
    print("|---|---|---|")
    for name, case in CASES.items():
        plain, own = coverage(case, options.runs, options.seed)
        print(f"| {name} | {plain:.1%} | {own:.1%} |", flush=True)


if __name__ == "__main__":
    main()
