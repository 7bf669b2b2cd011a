"""The seed with which the scores of a suite were published, used where the user names none."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

logger = logging.getLogger(__name__)

# Key of the metadata of a group.
PUBLISHED_SEED = "published_seed"
# Generators that lm-eval seeds: random, NumPy, torch, few-shot examples.
N_SEEDS = 4


def published_seed(tasks: Iterable[Any], index: Mapping[str, Any]) -> int | None:
    """Return the seed that the definitions of groups name; ``None`` where none does.

    ``tasks`` are names or definitions, and ``index`` is the host's. Raises
    ``InvalidArgumentError`` for groups with different seeds.
    """
    found: dict[str, int] = {}
    for one in tasks:
        entry = index.get(one) if isinstance(one, str) else None
        metadata = ((entry.cfg or {}) if entry else {}).get("metadata") or {}
        if isinstance(metadata, dict) and PUBLISHED_SEED in metadata:
            found[one] = int(metadata[PUBLISHED_SEED])
    if len(set(found.values())) > 1:
        named = ", ".join(f"{name} with {seed}" for name, seed in found.items())
        message = f"These suites were published with different seeds: {named}. Set --seed."
        raise InvalidArgumentError(message)
    return next(iter(found.values()), None)


def use_published_seed(config: Any, index: Mapping[str, Any]) -> bool:  # noqa: ANN401  (the host's)
    """Set all seeds of a run to that of its suite, unless the user set one; return whether so.

    The seeds of the results file are then those that were used.
    """
    if config.seed != type(config)().seed:
        return False
    seed = published_seed(config.tasks, index)
    if seed is None:
        return False
    config.seed = [seed] * N_SEEDS
    logger.warning(
        "The seed of this run is %d, with which the suite was published; --seed sets another.", seed
    )
    return True
