"""Simulate timing on a machine whose speed changes: does the interval hold the true speed-up?

Run ``python benchmarks/simulated_timing.py``. A virtual machine works through batches while its
speed drifts, jumps, or drops periodically because of a neighbour; each batch scatters on top, with
outliers. The true speed-ups are known. Settings are timed in blocks, ordered, stopped and
estimated by the functions that the timed pass uses, and, for comparison, one setting after the
other, with the same number of batches. It prints a Markdown table: how often each 95% interval
holds the truth. ``--json FILE`` writes the same numbers.
"""

from __future__ import annotations

import argparse
import json
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from moe_eval_plugin.results.versions import installed_versions
from moe_eval_plugin.stats.interleaved import MIN_BLOCKS, block_order, is_precise
from moe_eval_plugin.stats.speed import LOOKED_AT_CONFIDENCE, median_interval, paired_ratio

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from moe_eval_plugin.stats.speed import SpeedRatio

    Array = NDArray[np.float64]
    # Maps the work done so far, [n_runs, n_batches], to the seconds that it took.
    Machine = Callable[[Array, np.random.Generator], Array]

# Seconds of a batch at each setting, on the machine at full speed; the first one is the baseline.
WORK = {"k8": 1.0, "k4": 0.75, "k2": 0.65, "k1": 0.55}
SETTINGS = tuple(WORK)
BLOCK = sum(WORK.values())
# Batches differ by their questions, alike at all settings; and each scatters, with heavy tails.
SPREAD_OF_WORK = 0.15
SCATTER, DEGREES_OF_FREEDOM = 0.02, 3
SLOWED_BY = 0.3


def steady(work: Array, _generator: np.random.Generator) -> Array:
    """Return the seconds on a machine that keeps its speed."""
    return work


def slows_half_way(work: Array, _generator: np.random.Generator) -> Array:
    """Return the seconds on a machine that loses 30% of its speed half-way through the work."""
    half = work[:, -1:] / 2
    return np.minimum(work, half) + np.maximum(work - half, 0) / (1 - SLOWED_BY)


def drifts(work: Array, _generator: np.random.Generator) -> Array:
    """Return the seconds on a machine that loses 30% of its speed little by little."""
    share = work / work[:, -1:]
    return work * (1 + share / 2 * (1 / (1 - SLOWED_BY) - 1))


def steps(mean_blocks: float) -> Machine:
    """Return a machine whose speed jumps between four levels, each for some blocks."""

    def seconds(work: Array, generator: np.random.Generator) -> Array:
        n_runs, mean = len(work), mean_blocks * BLOCK
        n_steps = int(work.max() / mean * 2) + 20
        lengths = generator.exponential(mean, (n_runs, n_steps))
        speeds = generator.choice([1.0, 0.85, 0.7, 0.5], (n_runs, n_steps))
        zero = np.zeros((n_runs, 1))
        done = np.concatenate([zero, lengths.cumsum(1)], 1)
        took = np.concatenate([zero, (lengths / speeds).cumsum(1)], 1)
        return np.stack([np.interp(work[i], done[i], took[i]) for i in range(n_runs)])

    return seconds


def neighbour(period_blocks: float) -> Machine:
    """Return a machine with a neighbour that takes 30% of its speed in half of each period."""

    def seconds(work: Array, generator: np.random.Generator) -> Array:
        slow = 1 - SLOWED_BY
        period = period_blocks * BLOCK
        work_of_period, work_when_slow = period * (1 + slow) / 2, period * slow / 2
        start = generator.random((len(work), 1)) * work_of_period

        def at(done: Array) -> Array:
            n, rest = np.divmod(done, work_of_period)
            fast = np.maximum(rest - work_when_slow, 0)
            return np.asarray(n * period + np.minimum(rest, work_when_slow) / slow + fast)

        return at(work + start) - at(start)

    return seconds


MACHINES: dict[str, Machine] = {
    "steady": steady,
    "slows by 30% half-way": slows_half_way,
    "drifts to 30% slower": drifts,
    "steps, 6 blocks each on average": steps(6),
    "steps, 1 block each on average": steps(1),
    "neighbour, period 1/4 block": neighbour(0.25),
    "neighbour, period 2/5 block": neighbour(0.4),
    "neighbour, period 1/2 block": neighbour(0.5),
    "neighbour, period 1 block": neighbour(1),
    "neighbour, period 1.1 blocks": neighbour(1.1),
    "neighbour, period 2 blocks": neighbour(2),
    "neighbour, period 4 blocks": neighbour(4),
    "neighbour, period 10 blocks": neighbour(10),
}


@dataclass(frozen=True)
class Coverage:
    """How often 95% intervals held the true speed-up, by setting, and what they cost."""

    interleaved: dict[str, float]
    """Share of the runs, settings timed in blocks."""
    sequential: dict[str, float]
    """Share of the runs, one setting timed after the other."""
    blocks: float
    """Median number of blocks until the pass ended."""
    width: float
    """Median width of the intervals of the last setting, as a share of the ratio."""


@cache
def orders(n_runs: int, n_blocks: int, *, rotating: bool = False) -> NDArray[np.int64]:
    """Return the places of the settings in each block, ``[n_runs, n_blocks, n_settings]``."""
    n = len(SETTINGS)
    if rotating:
        one = [[(block + place) % n for place in range(n)] for block in range(n_blocks)]
        return np.broadcast_to(np.array(one), (n_runs, n_blocks, n))
    place = {name: index for index, name in enumerate(SETTINGS)}
    return np.array(
        [
            [[place[name] for name in block_order(SETTINGS, number, seed)] for number in blocks]
            for seed, blocks in enumerate([range(n_blocks)] * n_runs)
        ]
    )


def timed(machine: Machine, order: NDArray[np.int64], generator: np.random.Generator) -> Array:
    """Return the seconds of each batch by block and setting, timed in an order; shapes equal."""
    shape = order.shape
    size = np.exp(SPREAD_OF_WORK * generator.standard_normal((*shape[:2], 1)))
    scatter = np.exp(SCATTER * generator.standard_t(DEGREES_OF_FREEDOM, shape))
    work = np.array(list(WORK.values()))[order] * size * scatter
    ends = machine(work.reshape(shape[0], -1).cumsum(1), generator)
    by_place = np.diff(ends, axis=1, prepend=0.0).reshape(shape)
    seconds = np.empty(shape)
    np.put_along_axis(seconds, order, by_place, 2)
    return seconds


def timed_one_after_the_other(
    machine: Machine, n_runs: int, n_batches: int, generator: np.random.Generator
) -> Array:
    """Return the seconds of all batches at the first setting, then at the next, and so on."""
    size = np.exp(SPREAD_OF_WORK * generator.standard_normal((n_runs, 1, n_batches)))
    scatter = np.exp(
        SCATTER * generator.standard_t(DEGREES_OF_FREEDOM, (n_runs, len(SETTINGS), n_batches))
    )
    work = np.array(list(WORK.values()))[:, None] * size * scatter
    ends = machine(work.reshape(n_runs, -1).cumsum(1), generator)
    return np.diff(ends, axis=1, prepend=0.0).reshape(work.shape).transpose(0, 2, 1)


def first_precise(seconds: Array, precision: float) -> NDArray[np.int64]:
    """Return the number of blocks after which each run ends, all runs at once."""
    logs = np.log(seconds[:, :, :1] / seconds[:, :, 1:])
    return _stops(logs, precision, LOOKED_AT_CONFIDENCE)[0]


def stopped_once_narrow(
    scatter: float,
    confidence: float,
    *,
    n_runs: int = 4000,
    n_blocks: int = 160,
    precision: float = 0.03,
) -> tuple[float, float]:
    """Return how often an interval of a formula's confidence holds the truth, and the mean blocks.

    One setting and the baseline, on a steady machine: each block is looked at, and the first narrow
    interval is kept. ``scatter`` is the standard deviation of the logarithm of a block's ratio.
    """
    logs = scatter * np.random.default_rng(0).standard_normal((n_runs, n_blocks, 1))
    ends, low, high = _stops(logs, precision, confidence)
    return float(np.mean((low <= 0) & (high >= 0))), float(ends.mean())


def _stops(
    logs: Array, precision: float, confidence: float
) -> tuple[NDArray[np.int64], Array, Array]:
    """Return when each run ends, and the ends of its intervals then, ``[n_runs, n_ratios]``.

    ``logs`` are those of the ratios, ``[n_runs, n_blocks, n_ratios]``.
    """
    n_runs, n_blocks, n_ratios = logs.shape
    ends = np.full(n_runs, n_blocks)
    lows, highs = np.empty((2, n_runs, n_ratios))
    for n in range(n_blocks, MIN_BLOCKS - 1, -1):
        ordered = np.sort(logs[:, :n], axis=1)
        low, high = (np.tensordot(weights, ordered, (0, 1)) for weights in _weights(n, confidence))
        middle = np.median(ordered, axis=1)
        narrow = (np.exp(high - middle) - np.exp(low - middle) < precision).all(1)
        narrow |= n == n_blocks
        ends[narrow], lows[narrow], highs[narrow] = n, low[narrow], high[narrow]
    return ends, lows, highs


@cache
def _weights(n: int, confidence: float) -> tuple[Array, Array]:
    """Return what each sorted logarithm adds to the ends of the interval of ``n`` of them.

    The interval is linear in the sorted logarithms, so that it is known from its values for steps.
    """
    ends = []
    for place in range(n):
        step = [1.0] * place + [np.e] * (n - place)
        found = median_interval(step, confidence)
        ends.append(np.log([found.low, found.high]) if found else np.zeros(2))
    low, high = (one - np.append(one[1:], 0.0) for one in np.array(ends).T)
    return low, high


def ratios(seconds: Array, ended: int) -> list[SpeedRatio]:
    """Return the speed-ups of one run, as the timed pass has them at its end."""
    counted = seconds[:ended].T.tolist()
    stopped = ended < len(seconds)
    return [paired_ratio(own, counted[0], repeated_looks=stopped) for own in counted[1:]]


def coverage(
    machine: Machine,
    *,
    n_runs: int = 1000,
    n_blocks: int = 64,
    precision: float = 0.03,
    seed: int = 0,
    rotating: bool = False,
) -> Coverage:
    """Simulate passes that end at ``precision``, or after ``n_blocks``, which is the budget."""
    generator = np.random.default_rng(seed)
    seconds = timed(machine, orders(n_runs, n_blocks, rotating=rotating), generator)
    ends = first_precise(seconds, precision)
    found = [ratios(one, int(end)) for one, end in zip(seconds, ends, strict=True)]
    for one, end in zip(found, ends, strict=True):
        assert end == n_blocks or is_precise(one, precision)  # noqa: S101
    one_by_one = timed_one_after_the_other(machine, n_runs, int(np.median(ends)), generator)
    others = [ratios(one, len(one)) for one in one_by_one]
    widths = [one[-1].width or 0.0 for one in found]
    return Coverage(
        _shares(found), _shares(others), float(np.median(ends)), float(np.median(widths))
    )


def _shares(found: Sequence[Sequence[SpeedRatio]]) -> dict[str, float]:
    """Return how often the interval of each setting holds the truth."""
    shares = {}
    for place, name in enumerate(SETTINGS[1:]):
        truth = WORK[SETTINGS[0]] / WORK[name]
        intervals = [one[place].interval for one in found]
        shares[name] = sum(one is not None and one.holds(truth) for one in intervals) / len(found)
    return shares


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000, help="simulations of each machine")
    parser.add_argument("--blocks", type=int, default=64, help="the budget, in blocks")
    parser.add_argument("--precision", type=float, default=0.03, help="as --speed-precision")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="a file for the numbers")
    options = parser.parse_args()
    origin = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "moe-eval-plugin": installed_versions().get("moe-eval-plugin"),
        "runs": options.runs,
        "blocks": options.blocks,
        "precision": options.precision,
        "seed": options.seed,
    }
    print(", ".join(f"{name} {value}" for name, value in origin.items()) + "\n")
    machines = _print_machines(options)
    looks = _print_looks(options.precision)
    if options.json:
        found = {"origin": origin, "machines": machines, "looks": looks}
        options.json.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


def _print_machines(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Print how often intervals hold the truth on each machine, and return the same."""
    print("| machine | in blocks | rotating order | one after the other | blocks | width |")
    print("|---|---|---|---|---|---|")
    rows = []
    for name, machine in MACHINES.items():
        found, rotated = (
            coverage(
                machine,
                n_runs=options.runs,
                n_blocks=options.blocks,
                precision=options.precision,
                seed=options.seed,
                rotating=rotating,
            )
            for rotating in (False, True)
        )
        print(
            f"| {name} | {_text(found.interleaved)} | {_text(rotated.interleaved)} "
            f"| {_text(found.sequential)} | {found.blocks:.0f} | {found.width:.1%} |",
            flush=True,
        )
        rows.append(
            {
                "machine": name,
                "in_blocks": found.interleaved,
                "rotating_order": rotated.interleaved,
                "one_after_the_other": found.sequential,
                "blocks": found.blocks,
                "width": found.width,
            }
        )
    return rows


def _print_looks(precision: float) -> list[dict[str, float]]:
    """Print what looking after each block does to the interval of a speed-up; return the same."""
    levels = (0.95, LOOKED_AT_CONFIDENCE)
    print(f"\n| scatter | {' | '.join(f'{one:.1%} by its formula' for one in levels)} |")
    print("|---" * (1 + len(levels)) + "|")
    rows = []
    for scatter in (0.014, 0.02, 0.03, 0.04):
        found = {one: stopped_once_narrow(scatter, one, precision=precision) for one in levels}
        cells = [f"{share:.1%} in {blocks:.0f} blocks" for share, blocks in found.values()]
        print(f"| {scatter:.1%} | {' | '.join(cells)} |", flush=True)
        rows += [
            {"scatter": scatter, "formula": level, "coverage": share, "blocks": blocks}
            for level, (share, blocks) in found.items()
        ]
    return rows


def _text(shares: dict[str, float]) -> str:
    return ", ".join(f"{share:.1%}" for share in shares.values())


if __name__ == "__main__":
    main()
