"""The records of a comparison of two runs: a difference is B's score minus A's."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.stats.equivalence import CANNOT_TELL, YES

if TYPE_CHECKING:
    from moe_eval_plugin.results.compare.speed import SpeedComparison
    from moe_eval_plugin.stats.equivalence import Equivalence
    from moe_eval_plugin.stats.paired import PairedDifference

RIGHT_TO_WRONG = "right->wrong"
WRONG_TO_RIGHT = "wrong->right"
WORSE = "worse"
BETTER = "better"
SAME_SCORE = "same score"
NOT_SCORED = "not scored"
WITHIN, LOSES_MORE, GAINS_MORE = "within", "loses more", "gains more"
TOO_FEW = "too few questions"
CHANGES = (RIGHT_TO_WRONG, WRONG_TO_RIGHT, WORSE, BETTER, SAME_SCORE, NOT_SCORED)


@dataclass(frozen=True)
class Setting:
    """One setting of both runs; ``None`` where a run does not record it."""

    name: str
    a: str | None
    b: str | None


@dataclass(frozen=True)
class ScoreComparison:
    """One score of a task in both runs; ``equivalence`` is ``None`` if no margin was given."""

    metric: str
    difference: PairedDifference
    equivalence: Equivalence | None
    is_share: bool = True
    """Whether each question scores from 0 to 1, so that the score is a share of 100 points."""

    @property
    def verdict(self) -> str | None:
        """What the equivalence test shows: ``within``, ``loses more``, ``gains more``, or nothing.

        ``None`` if no margin was given.
        """
        if self.equivalence is None:
            return None
        if self.equivalence.verdict == YES:
            return WITHIN
        if self.equivalence.verdict == CANNOT_TELL:
            return TOO_FEW
        return LOSES_MORE if self.difference.difference < 0 else GAINS_MORE


@dataclass(frozen=True)
class Change:
    """A question whose answer or score differs."""

    task: str
    """Name of the task."""
    question: str
    """Id of the question."""
    prompt: str
    """Text that the model was asked in run A."""
    target: str
    """Expected answer."""
    answer_a: str | None
    """Answer in run A; ``None`` where it is no text."""
    answer_b: str | None
    """Answer in run B; ``None`` where it is no text."""
    scores_a: dict[str, float]
    """The compared scores in run A, by name."""
    scores_b: dict[str, float]
    """The compared scores in run B, by name."""
    change: str
    """One of ``CHANGES``, by the first compared score; right is from half of the points on."""

    def to_dict(self) -> dict[str, Any]:
        """Return the change as plain data, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class TaskComparison:
    """One task in both runs."""

    task: str
    """Name of the task."""
    n_questions: int
    """Questions that are compared."""
    n_only_a: int
    """Questions that only run A has."""
    n_only_b: int
    """Questions that only run B has."""
    clustered_by: str | None
    """Field that questions of one image share; ``None`` where images are not known."""
    equal_answers: float | None
    """Share of equal answers, surrounding white space aside; ``None`` where they are no text."""
    scores: tuple[ScoreComparison, ...]
    """The compared scores."""
    changes: tuple[Change, ...]
    """Questions whose answer or score differs."""
    settings: tuple[Setting, ...]
    """k, model and backend, and whatever differs between the runs."""
    notes: tuple[str, ...]
    """Sentences on the limits of the comparison."""
    speed: SpeedComparison | None = None
    """Speed, length of answers and memory; ``None`` where nothing was measured."""
    kinds: tuple[str | None, str | None] = (None, None)
    """Kind of the settings of A and B: a uniform k, a schedule or a policy; ``None`` not known."""
    prices: tuple[float | None, float | None] = (None, None)
    """Their observed experts per token and layer; ``None`` where not observed."""

    @property
    def change_counts(self) -> dict[str, int]:
        """Number of changes of each kind that occurs."""
        counts = Counter(one.change for one in self.changes)
        return {kind: counts[kind] for kind in CHANGES if counts[kind]}

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as plain data, ready for JSON, with the changes counted."""
        return {**asdict(replace(self, changes=())), "changes": self.change_counts}


@dataclass(frozen=True)
class Comparison:
    """Two runs, as paths of their results files, and each task that was compared."""

    a: str
    b: str
    tasks: tuple[TaskComparison, ...]
    notes: tuple[str, ...]

    @property
    def changes(self) -> list[Change]:
        """The changes of all tasks."""
        return [change for task in self.tasks for change in task.changes]

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as plain data, ready for JSON."""
        return {
            "a": self.a,
            "b": self.b,
            "tasks": [task.to_dict() for task in self.tasks],
            "notes": list(self.notes),
        }
