"""Statistics of scores and of speed: intervals, paired tests, equivalence.

``docs/explanation/statistics.md`` says what each number assumes, and when it misleads.
"""

from __future__ import annotations

from moe_eval_plugin.stats.accuracy import (
    Accuracy,
    PooledSeeds,
    accuracy,
    pool_seeds,
)
from moe_eval_plugin.stats.checkpoints import (
    CheckpointDifference,
    CheckpointRatio,
    checkpoint_difference,
    checkpoint_ratio,
)
from moe_eval_plugin.stats.equivalence import Equivalence, equivalence, questions_needed
from moe_eval_plugin.stats.paired import (
    PairedDifference,
    holm,
    paired_difference,
)
from moe_eval_plugin.stats.resampling import Bootstrap, Interval
from moe_eval_plugin.stats.speed import SpeedRatio, Spread, speed_ratio

__all__ = [
    "Accuracy",
    "Bootstrap",
    "CheckpointDifference",
    "CheckpointRatio",
    "Equivalence",
    "Interval",
    "PairedDifference",
    "PooledSeeds",
    "SpeedRatio",
    "Spread",
    "accuracy",
    "checkpoint_difference",
    "checkpoint_ratio",
    "equivalence",
    "holm",
    "paired_difference",
    "pool_seeds",
    "questions_needed",
    "speed_ratio",
]
