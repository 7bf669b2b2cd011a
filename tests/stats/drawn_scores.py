from __future__ import annotations

import numpy as np
from hypothesis import settings

from moe_eval_plugin.stats.resampling import Bootstrap

QUICK = Bootstrap(n_resamples=500)


# The machine may have other work to do.
unhurried = settings(deadline=None)


VQA_SCORES = (0.0, 0.3, 0.6, 0.9, 1.0)


def draw_scores(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).choice(VQA_SCORES, n)
