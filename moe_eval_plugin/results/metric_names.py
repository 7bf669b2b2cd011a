"""Read what the name of a row in the host's table says: a score, a fact, or a unit."""

from __future__ import annotations

import re

# These rows are facts of every score, and no scores themselves.
K_ROW = "num_experts_per_tok"
FROM_CACHE_ROW = "n_answers_from_cache"
PROPORTION = "proportion"
# Rows that are counted or measured have their unit in their name; the others are scores.
UNITS = (
    (r"n_\w+", "count"),
    (r"speed_up", "times the published k"),
    (r"(?:\w+_)?([a-z]+)_per_s", r"\1/s"),
    (r"\w+_s(?:_\w+)?", "s"),
    (r"(?:task_)?seconds_per_\w+", "s"),
    (r"\w+_bytes", "bytes"),
    (r"\w+_gib", "GiB"),
    (r"(?:\w+_)?joules(?:_\w+)?", "J"),
)


def is_fact(metric: str) -> bool:
    """Whether a row says how the scores came about."""
    return K_ROW in metric or metric == FROM_CACHE_ROW


def unit_of(metric: str) -> str | None:
    """Return the unit in the name of a count or a measured value; ``None`` for a score."""
    matches = ((re.fullmatch(pattern, metric), unit) for pattern, unit in UNITS)
    return next((match.expand(unit) for match, unit in matches if match), None)
