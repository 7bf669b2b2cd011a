"""What a comparison of two runs holds: B against A, so a difference is B's score minus A's."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moe_eval_plugin.stats.equivalence import Equivalence
    from moe_eval_plugin.stats.paired import PairedDifference

RIGHT_TO_WRONG = "right->wrong"
WRONG_TO_RIGHT = "wrong->right"
WORSE = "worse"
BETTER = "better"
SAME_SCORE = "same score"
NOT_SCORED = "not scored"
CHANGES = (RIGHT_TO_WRONG, WRONG_TO_RIGHT, WORSE, BETTER, SAME_SCORE, NOT_SCORED)


@dataclass(frozen=True)
class Setting:
    """One thing that the runs were made with; ``None`` where a run does not tell."""

    name: str
    a: str | None
    b: str | None


@dataclass(frozen=True)
class ScoreComparison:
    """One score of a task in both runs; ``equivalence`` is ``None`` if no margin was given."""

    metric: str
    difference: PairedDifference
    equivalence: Equivalence | None


@dataclass(frozen=True)
class Change:
    """A question whose answer or score differs.

    ``change`` is one of ``CHANGES``, by the first score that is compared. An answer is right with
    at least half of the points that a question can give.
    """

    task: str
    question: str
    prompt: str
    target: str
    answer_a: str | None
    answer_b: str | None
    scores_a: dict[str, float]
    scores_b: dict[str, float]
    change: str

    def to_dict(self) -> dict[str, Any]:
        """Give the change as plain data, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class TaskComparison:
    """One task in both runs.

    ``equal_answers`` is the share of questions whose answers are the same text, white space around
    them apart; ``None`` where answers are no text. ``clustered_by`` names the field that questions
    of one image share, ``None`` where each question stands for itself. ``settings`` holds k, and
    what differs between the runs. ``notes`` are what a reader should know.
    """

    task: str
    n_questions: int
    n_only_a: int
    n_only_b: int
    clustered_by: str | None
    equal_answers: float | None
    scores: tuple[ScoreComparison, ...]
    changes: tuple[Change, ...]
    settings: tuple[Setting, ...]
    notes: tuple[str, ...]

    @property
    def change_counts(self) -> dict[str, int]:
        """The number of changes of each kind that occurs."""
        counts = Counter(one.change for one in self.changes)
        return {kind: counts[kind] for kind in CHANGES if counts[kind]}

    def to_dict(self) -> dict[str, Any]:
        """Give the comparison as plain data, ready for JSON, with the changes counted."""
        return {**asdict(replace(self, changes=())), "changes": self.change_counts}


@dataclass(frozen=True)
class Comparison:
    """Two runs, by the paths of their results files, and each task that was compared."""

    a: str
    b: str
    tasks: tuple[TaskComparison, ...]
    notes: tuple[str, ...]

    @property
    def changes(self) -> list[Change]:
        """The changes of all tasks."""
        return [change for task in self.tasks for change in task.changes]

    def to_dict(self) -> dict[str, Any]:
        """Give the comparison as plain data, ready for JSON."""
        return {
            "a": self.a,
            "b": self.b,
            "tasks": [task.to_dict() for task in self.tasks],
            "notes": list(self.notes),
        }
