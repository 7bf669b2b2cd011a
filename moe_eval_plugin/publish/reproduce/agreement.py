"""Records of the comparison of a run with its repetition: a verdict for each number."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from moe_eval_plugin.stats.resampling import Interval

SCHEMA_VERSION = 1
Kind = Literal["accuracy", "experts", "count", "speed"]
Verdict = Literal["agrees", "differs", "not judged"]
AGREES: Verdict = "agrees"
DIFFERS: Verdict = "differs"
NOT_JUDGED: Verdict = "not judged"
# Part of the name of each speed-up over the published k.
SPEED_UP = "speed-up"
TIMED_ONCE = "timed once"


@dataclass(frozen=True)
class Row:
    """One number in both runs."""

    point: str
    """Setting of the sweep, for instance ``k8``."""
    task: str
    """Task; empty if the whole setting is missing."""
    number: str
    """What is compared: a metric, a count or a rate."""
    original: float | None
    """Value in the bundle; ``None`` if it is missing."""
    again: float | None
    """Value in the repetition; ``None`` if it is missing."""
    verdict: Verdict
    """Whether the two agree, differ, or cannot be judged."""
    reason: str
    """Facts that led to the verdict."""
    interval: Interval | None = None
    """Interval of ``again - original`` for accuracy and counts, of ``again`` for speed; ``None``
    where the verdict needs none."""
    kind: Kind = "count"
    """Whether it is an accuracy, the k that tokens used, a speed, or a count: questions, tokens."""
    original_interval: Interval | None = None
    """Interval of ``original`` for speed; ``None`` where it was timed once."""

    @property
    def changed_sign(self) -> bool:
        """Whether a speed-up became a slow-down, or the other way round."""
        if not self.is_speed_up or self.original is None or self.again is None:
            return False
        return (self.original - 1) * (self.again - 1) < 0

    @property
    def is_speed_up(self) -> bool:
        """Whether it is a speed divided by that of the published k."""
        return self.kind == "speed" and SPEED_UP in self.number

    def to_dict(self) -> dict[str, Any]:
        """Return the row as plain data, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Agreement:
    """All rows, the settings in which the two runs differ, and notes."""

    rows: tuple[Row, ...]
    settings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[Verdict, int]:
        """Number of rows of each verdict."""
        found = Counter(row.verdict for row in self.rows)
        verdicts: tuple[Verdict, ...] = (AGREES, DIFFERS, NOT_JUDGED)
        return {verdict: found[verdict] for verdict in verdicts}

    @property
    def agrees(self) -> bool:
        """Whether something was judged, and all of that agrees."""
        return self.counts[DIFFERS] == 0 and self.counts[AGREES] > 0

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data, ready for JSON."""
        return {
            "schema_version": SCHEMA_VERSION,
            "kind": "agreement",
            "agrees": self.agrees,
            "counts": {str(verdict): n for verdict, n in self.counts.items()},
            "rows": [row.to_dict() for row in self.rows],
            "settings": list(self.settings),
            "notes": list(self.notes),
        }
