"""Blocks of questions of lm-eval, and a batch that does not fit into the memory."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from moe_eval_plugin.sweeps.plan import SweepPoint
from moe_eval_plugin.sweeps.timing.interleaved import DoesNotFitError
from moe_eval_plugin.sweeps.timing.lm_eval import LmEvalBlocks, divide

N_CHOICES = 4


def asked(n_questions: int) -> list[Any]:
    """Make what the timer needs of the requests of questions with four choices.

    Of two questions in a row one is short, and the other long.
    """
    return [
        SimpleNamespace(doc_id=doc_id, args=("x" * (doc_id % 2 * 1000 + doc_id), f" {choice}"))
        for doc_id in range(n_questions)
        for choice in range(N_CHOICES)
    ]


def questions(blocks: list[list[Any]]) -> list[list[int]]:
    return [[one.doc_id for one in block[::N_CHOICES]] for block in blocks]


@pytest.mark.parametrize(("batch_size", "n"), [(1, 16), (8, 16), (12, 24), (32, 32)])
def test_all_requests_of_a_question_are_in_one_block_of_full_batches(
    batch_size: int, n: int
) -> None:
    blocks = divide(asked(100), batch_size, seed=3)
    n_used = 100 // batch_size * batch_size
    sizes = [len(block) // N_CHOICES for block in blocks]
    assert sum(sizes) == n_used
    assert sizes[:-1] == [n] * (len(sizes) - 1)
    assert sizes[-1] % batch_size == 0
    chosen = [one for block in questions(blocks) for one in block]
    assert len(set(chosen)) == n_used
    for block in blocks:
        assert [one.doc_id for one in block[1::N_CHOICES]] == questions([block])[0]
    # Sorted by length they would make the first blocks differ from the last.
    lengths = [len(block[0].args[0]) for block in blocks]
    assert lengths != sorted(lengths, reverse=True)
    assert questions(divide(asked(100), batch_size, seed=3)) == questions(blocks)
    assert questions(divide(asked(100), batch_size, seed=4)) != questions(blocks)


def test_a_batch_holds_questions_of_about_equal_length() -> None:
    for block in divide(asked(64), 16, seed=0):
        assert len({len(one.args[0]) >= 1000 for one in block}) == 1


def test_questions_that_fill_no_block_are_timed_all_the_same() -> None:
    assert sorted(questions(divide(asked(5), 8, seed=0))[0]) == [0, 1, 2, 3, 4]


class FullModel:
    """A model whose memory is too small for any batch."""

    def set_experts(self, *_: object) -> None:
        """Set nothing."""

    def meter(self) -> None:
        """Measure nothing."""

    def time_requests(self, _: object) -> None:
        raise torch.OutOfMemoryError


def test_a_batch_that_does_not_fit_asks_for_one_of_half_its_size() -> None:
    points = {"k4": SweepPoint("k4", "4")}
    model: Any = FullModel()
    with pytest.raises(DoesNotFitError) as found:
        LmEvalBlocks(model, points, [asked(2)], 8).time("k4", 0)
    assert found.value.batch_size == 4
    with pytest.raises(torch.OutOfMemoryError):
        LmEvalBlocks(model, points, [asked(2)], 1).time("k4", 0)
