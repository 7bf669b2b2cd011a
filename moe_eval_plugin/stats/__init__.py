"""Statistics of scores and of speed: intervals, paired tests, equivalence.

What each number assumes, and when it misleads, stands in ``docs/explanation/statistics.md``.
"""

from __future__ import annotations

from moe_eval_plugin.stats.accuracy import (
    Accuracy,
    PooledSeeds,
    accuracy,
    accuracy_by_group,
    pool_seeds,
)
from moe_eval_plugin.stats.equivalence import Equivalence, equivalence, questions_needed
from moe_eval_plugin.stats.paired import (
    PairedDifference,
    differences_to_baseline,
    holm,
    paired_difference,
)
from moe_eval_plugin.stats.resampling import Bootstrap, Interval
from moe_eval_plugin.stats.speed import Speed, SpeedRatio, speed, speed_ratio

__all__ = [
    "Accuracy",
    "Bootstrap",
    "Equivalence",
    "Interval",
    "PairedDifference",
    "PooledSeeds",
    "Speed",
    "SpeedRatio",
    "accuracy",
    "accuracy_by_group",
    "differences_to_baseline",
    "equivalence",
    "holm",
    "paired_difference",
    "pool_seeds",
    "questions_needed",
    "speed",
    "speed_ratio",
]
