"""Pair the questions of one task in two runs, of one host or of two."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.results.run import QUESTION_ID
from moe_eval_plugin.text import first_few

if TYPE_CHECKING:
    from moe_eval_plugin.results.samples import AnsweredTask, Question

    Pair = tuple[Question, Question]


def pair(
    a: AnsweredTask, b: AnsweredTask, *, common: bool
) -> tuple[AnsweredTask, AnsweredTask, list[Pair]]:
    """Pair the questions by their ids, or else by the host's numbers of them.

    Returns the tasks with the ids that were used, and the pairs in the order of A. Raises
    ``DataError`` if they are not the same questions.
    """
    a, b = _with_one_kind_of_id(a, b)
    pairs = [(one, b.questions[key]) for key, one in a.questions.items() if key in b.questions]
    only_a = [key for key in a.questions if key not in b.questions]
    only_b = [key for key in b.questions if key not in a.questions]
    if not pairs or ((only_a or only_b) and not common):
        raise DataError(_differing(a, only_a, only_b, len(pairs)))
    # Two hosts may write the target of one question in different ways; its own id identifies it.
    is_certain = a.run.host != b.run.host and a.key_name == QUESTION_ID
    others = [one.key for one, two in pairs if one.target.strip() != two.target.strip()]
    if others and not is_certain:
        message = (
            f"{len(others):,} questions of {a.task.task} have the same {a.key_name} in A and B and "
            f"another target (first: {first_few(others)}), so they are not the same questions. "
            "Compare runs over the same data."
        )
        raise DataError(message)
    return a, b, pairs


def _with_one_kind_of_id(a: AnsweredTask, b: AnsweredTask) -> tuple[AnsweredTask, AnsweredTask]:
    """Return the tasks by the host's numbers, where only one of them has ids of its own."""
    if a.key_name == b.key_name:
        return a, b
    numbered = a.by_doc_id(), b.by_doc_id()
    if numbered[0] is None or numbered[1] is None:
        message = (
            f"Questions of {a.task.task} are identified by {a.key_name} in A and by {b.key_name} "
            "in B, so they cannot be paired. Run both with the same task definition."
        )
        raise DataError(message)
    return numbered[0], numbered[1]


def _differing(a: AnsweredTask, only_a: list[str], only_b: list[str], n_shared: int) -> str:
    texts = [
        f"{len(keys):,} are only in {name}{f' (first: {first_few(keys)})' if keys else ''}"
        for name, keys in (("A", only_a), ("B", only_b))
    ]
    advice = f"Add --common to compare the {n_shared:,} that both have, or run both on the same."
    return (
        f"The questions of {a.task.task} differ, by {a.key_name}: {', '.join(texts)}. "
        f"{advice if n_shared else 'They share none.'}"
    )
