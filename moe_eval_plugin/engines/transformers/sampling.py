"""Draw sampled answers from a seed of their own."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator


@contextmanager
def seeded(seed: int, devices: Collection[str]) -> Iterator[None]:
    """Seed torch while the block runs, and restore its random numbers on these devices after it.

    transformers samples with torch's global generators.
    """
    gpus = [torch.device(name) for name in devices if name.startswith("cuda")]
    with torch.random.fork_rng(gpus):
        torch.manual_seed(seed)
        yield
