"""Count how answers ended: by themselves, at a stop string, at the token limit, in a thought."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from moe_eval_plugin.json_object import JsonObject

EndedBy: TypeAlias = Literal["end_token", "stop_string", "token_limit"]
TagPair: TypeAlias = tuple[str, str]

# What models write around a thought; a host may name more.
REASONING_TAGS: tuple[TagPair, ...] = (
    ("<think>", "</think>"),
    ("<analysis>", "</analysis>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<seed:think>", "</seed:think>"),
    ("◁think▷", "◁/think▷"),
    ("[THINK]", "[/THINK]"),
)


@dataclass(frozen=True)
class AnswerEnds:
    """How the generated answers of a task ended; a round of several counts as an answer."""

    n_answers: int
    """Generated answers; those from a cache are not counted."""
    n_end_token: int
    """Answers that the model ended with an end token."""
    n_stop_string: int
    """Answers that ended at a stop string of the task."""
    n_token_limit: int
    """Answers that the task's token limit cut."""
    n_in_thought: int
    """Answers that end inside a thought, whatever ended them, so that the answer is missing."""
    max_new_tokens: int | None = None
    """The token limit; ``None`` if answers had different limits."""

    @property
    def in_thought(self) -> str | None:
        """Answers that end inside a thought, in words; ``None`` if there are none."""
        if not self.n_in_thought:
            return None
        share = f"{self.n_in_thought:,} of {self.n_answers:,} answers end inside a thought"
        return f"{share} at {self._limit}"

    @property
    def cut(self) -> str | None:
        """Answers that were cut at the limit, in words; ``None`` if there are none."""
        if not self.n_token_limit:
            return None
        verb = "was" if self.n_token_limit == 1 else "were"
        share = f"{self.n_token_limit:,} of {self.n_answers:,} answers"
        return f"{share} {verb} cut at {self._limit}"

    @property
    def note(self) -> str | None:
        """What was cut, as a sentence; ``None`` if nothing was."""
        found = [text for text in (self.in_thought, self.cut) if text is not None]
        return f"{'; '.join(found)}." if found else None

    @property
    def warning(self) -> str | None:
        """What a user must know before believing the scores; ``None`` if nothing was cut."""
        if self.in_thought is not None:
            limit = "max_new_tokens=NUMBER"
            stopped = ""
            if self.n_stop_string:
                limit += ",until=TEXT"
                stopped = f" {self.n_stop_string:,} answers ended at a stop string."
            return (
                f"{self.in_thought}: what is scored is an unfinished thought.{stopped} Use "
                f"--gen_kwargs {limit}, or, if the chat template reads it, pass "
                "enable_thinking=false in --model_args."
            )
        if self.cut is not None:
            return (
                f"{self.cut}: what is scored ends there. For longer answers, raise the limit "
                "with --gen_kwargs max_new_tokens=NUMBER."
            )
        return None

    @property
    def _limit(self) -> str:
        is_one = self.max_new_tokens is not None
        return f"max_new_tokens={self.max_new_tokens}" if is_one else "their token limit"

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as plain JSON data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: JsonObject) -> AnswerEnds:
        """Build the counts from their stored fields; ``DataError`` for a wrong type."""
        return cls(
            n_answers=values.need_integer("n_answers"),
            n_end_token=values.need_integer("n_end_token"),
            n_stop_string=values.need_integer("n_stop_string"),
            n_token_limit=values.need_integer("n_token_limit"),
            n_in_thought=values.need_integer("n_in_thought"),
            max_new_tokens=values.integer("max_new_tokens"),
        )


class AnswerEndCounter:
    """Counts the answers of each task by how they ended.

    ``opened`` are the tags of the thought that the chat template itself opens, so that an answer
    begins inside it.
    """

    def __init__(
        self, tags: Sequence[TagPair] = REASONING_TAGS, opened: TagPair | None = None
    ) -> None:
        self._tags = tags
        self._opened = opened
        self._counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._limits: defaultdict[str, set[int]] = defaultdict(set)

    def add(self, task: str, text: str, ended_by: EndedBy | None, max_new_tokens: int) -> None:
        """Count an answer; ``ended_by`` is ``None`` where the engine does not know it."""
        counts = self._counts[task]
        counts["answers"] += 1
        counts["in_thought"] += ends_in_thought(text, self._tags, self._opened)
        if ended_by is not None:
            counts[ended_by] += 1
        self._limits[task].add(max_new_tokens)

    def result(self) -> dict[str, AnswerEnds]:
        """Return the counts of each task."""
        return {
            task: AnswerEnds(
                counts["answers"],
                counts["end_token"],
                counts["stop_string"],
                counts["token_limit"],
                counts["in_thought"],
                _only(self._limits[task]),
            )
            for task, counts in self._counts.items()
        }


def ends_in_thought(text: str, tags: Iterable[TagPair], opened: TagPair | None = None) -> bool:
    """Whether an answer ends before a thought in it does: the closing tag is missing.

    ``opened`` are the tags of a thought that began before the answer.
    """
    if opened is not None and opened[1] not in text:
        return True
    return any(text.rfind(opening) > text.rfind(closing) for opening, closing in tags)


def joined_ends(ranks: Iterable[Mapping[str, AnswerEnds]], task: str) -> AnswerEnds | None:
    """Add up the counts of one task over processes; ``None`` where none counted."""
    found = [rank[task] for rank in ranks if task in rank]
    if not found:
        return None
    return AnswerEnds(
        n_answers=sum(one.n_answers for one in found),
        n_end_token=sum(one.n_end_token for one in found),
        n_stop_string=sum(one.n_stop_string for one in found),
        n_token_limit=sum(one.n_token_limit for one in found),
        n_in_thought=sum(one.n_in_thought for one in found),
        max_new_tokens=_only({one.max_new_tokens for one in found}),
    )


def _only(values: Iterable[int | None]) -> int | None:
    """Return the one value; ``None`` for several."""
    found = set(values)
    return found.pop() if len(found) == 1 else None
