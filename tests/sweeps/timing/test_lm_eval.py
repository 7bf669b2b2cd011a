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
    """Make what the timer needs of the requests of questions with four choices."""
    return [SimpleNamespace(doc_id=i // N_CHOICES) for i in range(n_questions * N_CHOICES)]


def questions(blocks: list[list[Any]]) -> list[list[int]]:
    return [[one.doc_id for one in block[::N_CHOICES]] for block in blocks]


@pytest.mark.parametrize(("batch_size", "n"), [(1, 16), (8, 16), (12, 24), (32, 32)])
def test_all_requests_of_a_question_are_in_one_block_of_full_batches(
    batch_size: int, n: int
) -> None:
    blocks = divide(asked(100), batch_size, seed=3)
    assert [len(block) for block in blocks] == [n * N_CHOICES] * (100 // n)
    chosen = [one for block in questions(blocks) for one in block]
    assert len(set(chosen)) == len(chosen)
    for block in blocks:
        assert [one.doc_id for one in block[1::N_CHOICES]] == questions([block])[0]
    # Sorted by their order in the data they would make the first blocks differ from the last.
    assert chosen != sorted(chosen)
    assert questions(divide(asked(100), batch_size, seed=3)) == questions(blocks)
    assert questions(divide(asked(100), batch_size, seed=4)) != questions(blocks)


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
