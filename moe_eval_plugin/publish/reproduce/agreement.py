"""What a comparison of a finished run with its repetition holds: a verdict for each number."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from moe_eval_plugin.stats.resampling import Interval

SCHEMA_VERSION = 1
Verdict = Literal["agrees", "differs", "not judged"]
AGREES: Verdict = "agrees"
DIFFERS: Verdict = "differs"
NOT_JUDGED: Verdict = "not judged"


@dataclass(frozen=True)
class Row:
    """One number in both runs; ``None`` stands for "not there".

    ``interval`` is that of ``again - original`` for scores and counts, and that of ``again`` for
    speed; ``None`` where the verdict needs none. ``reason`` tells what the verdict rests on.
    """

    point: str
    task: str
    number: str
    original: float | None
    again: float | None
    verdict: Verdict
    reason: str
    interval: Interval | None = None

    def to_dict(self) -> dict[str, Any]:
        """Give the row as plain data, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Agreement:
    """All rows; ``settings`` tells what the two were made with differently."""

    rows: tuple[Row, ...]
    settings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[Verdict, int]:
        """The number of rows of each verdict."""
        found = Counter(row.verdict for row in self.rows)
        verdicts: tuple[Verdict, ...] = (AGREES, DIFFERS, NOT_JUDGED)
        return {verdict: found[verdict] for verdict in verdicts}

    @property
    def agrees(self) -> bool:
        """Tell whether something was judged, and all of that agrees."""
        return self.counts[DIFFERS] == 0 and self.counts[AGREES] > 0

    def to_dict(self) -> dict[str, Any]:
        """Give everything as plain data, ready for JSON."""
        return {
            "schema_version": SCHEMA_VERSION,
            "kind": "agreement",
            "agrees": self.agrees,
            "counts": {str(verdict): n for verdict, n in self.counts.items()},
            "rows": [row.to_dict() for row in self.rows],
            "settings": list(self.settings),
            "notes": list(self.notes),
        }
