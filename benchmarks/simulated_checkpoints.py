"""How often intervals over checkpoints hold the truth, in simulations with a known effect.

Each run draws the differences of some checkpoints on the same questions: a part of the checkpoint,
a part of the question, and a rest. Prints a table in Markdown.

    python benchmarks/simulated_checkpoints.py --runs 400
"""

from __future__ import annotations

import argparse
import platform
from datetime import UTC, datetime

import numpy as np

from moe_eval_plugin.results.versions import installed_versions
from moe_eval_plugin.stats.checkpoints import checkpoint_difference
from moe_eval_plugin.stats.resampling import Bootstrap

# Standard deviations of a difference: of a checkpoint, of a question, and the rest.
CASES = {
    "checkpoints differ by 3 points": (0.03, 0.2, 0.3),
    "checkpoints differ by 1 point": (0.01, 0.2, 0.3),
    "only questions differ": (0.0, 0.3, 0.2),
}
N_CHECKPOINTS = (2, 3, 5, 10)
BOOTSTRAP = Bootstrap(n_resamples=500)
# Room for the drawn differences, which are no scores of 0 and 1.
BOUNDS = (-0.5, 0.5)


def coverage(
    n: int, deviations: tuple[float, float, float], n_questions: int, n_runs: int, seed: int
) -> list[float]:
    """Return the shares of runs whose interval holds 0: of both, of checkpoints, of questions."""
    generator = np.random.default_rng(seed)
    held = np.zeros(3)
    for _ in range(n_runs):
        shapes = ((n, 1), (1, n_questions), (n, n_questions))
        parts = zip(deviations, shapes, strict=True)
        scores = np.sum(
            [np.broadcast_to(generator.normal(0, d, s), shapes[-1]) for d, s in parts], axis=0
        )
        found = checkpoint_difference(
            list(scores), list(np.zeros_like(scores)), bounds=BOUNDS, bootstrap=BOOTSTRAP
        )
        ends = (found.interval, found.over_checkpoints, found.over_questions)
        held += [one is not None and one.holds(0.0) for one in ends]
    shares: list[float] = (held / n_runs).tolist()
    return shares


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=400, help="simulations of each case")
    parser.add_argument("--questions", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(
        f"{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, "
        f"numpy {np.__version__}, moe-eval-plugin {installed_versions().get('moe-eval-plugin')}; "
        f"{options.runs} runs each, {options.questions} questions\n"
    )
    print("| case | checkpoints | both | these questions | these checkpoints |")
    print("|---|---|---|---|---|")
    for name, deviations in CASES.items():
        for n in N_CHECKPOINTS:
            shares = coverage(n, deviations, options.questions, options.runs, options.seed)
            cells = " | ".join(f"{one:.1%}" for one in shares)
            print(f"| {name} | {n} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
