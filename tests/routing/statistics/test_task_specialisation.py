"""Specialisation by task: distributions over tasks, and what chance alone gives."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np
import pytest

from moe_eval_plugin.routing.statistics.groups import question_codes
from moe_eval_plugin.routing.statistics.options import StudyOptions
from moe_eval_plugin.routing.statistics.task_specialisation import task_specialisation
from tests.routing.statistics import slow
from tests.routing.traces import layer_of, random_logits, tokens_of

if TYPE_CHECKING:
    from moe_eval_plugin.routing.statistics.tables import TaskSpecialisation
    from moe_eval_plugin.routing.trace import LayerTrace, Tokens

N, N_TASKS = 3000, 3


def tokens_of_tasks() -> Tokens:
    """100 questions of 30 tokens, of three tasks."""
    question = np.arange(N) // 30
    return tokens_of(N, question=question, task=np.minimum(question % 4, 2))


def found_in(layer: LayerTrace, tokens: Tokens) -> TaskSpecialisation:
    found = task_specialisation(layer, tokens, question_codes(tokens), N_TASKS, StudyOptions())
    assert found is not None
    return found


def test_shares_and_divergences_agree_with_loops() -> None:
    tokens, layer = tokens_of_tasks(), layer_of(random_logits(N))
    shares = slow.task_shares(layer, tokens.task.tolist(), N_TASKS)
    load = slow.load(layer)

    found = found_in(layer, tokens)

    overall = [0.25, 0.25, 0.5]
    assert found.task_shares == pytest.approx(overall)
    for entry in found.experts:
        assert entry.tokens == load[entry.expert]
        assert entry.shares == pytest.approx(shares[entry.expert])
        assert entry.divergence == pytest.approx(slow.divergence(shares[entry.expert], overall))
    information = sum(
        n / sum(load) * slow.divergence(of_expert, overall)
        for n, of_expert in zip(load, shares, strict=True)
    )
    entropy = -sum(share * np.log(share) for share in overall)
    assert found.information == pytest.approx(information / entropy)


def test_a_router_that_does_not_see_the_task_is_at_chance() -> None:
    found = found_in(layer_of(random_logits(N)), tokens_of_tasks())

    assert found.information == pytest.approx(found.chance, rel=0.5)
    assert found.information < 0.01
    divergences = [entry.divergence or 0 for entry in found.experts]
    by_chance = [entry.chance or 0 for entry in found.experts]
    assert fmean(divergences) == pytest.approx(fmean(by_chance), rel=0.5)


def test_questions_that_differ_are_no_specialisation_by_task() -> None:
    # Every question has experts of its own, whatever its task: tokens alone would look specialised.
    tokens = tokens_of_tasks()
    logits = 3 * random_logits(100, seed=1)[tokens.question]

    found = found_in(layer_of(logits), tokens)

    independent = (N_TASKS - 1) / (2 * N / 8 * 2)  # of as many independent tokens
    assert found.chance * 1.04 > 5 * independent
    assert found.information == pytest.approx(found.chance, rel=0.6)


def test_a_router_that_sees_the_task_is_far_above_chance() -> None:
    tokens = tokens_of_tasks()
    experts = np.stack([tokens.task * 2, tokens.task * 2 + 1], axis=1).astype(np.int16)
    layer = layer_of(random_logits(N), experts=experts, scores=None, entropy=None)

    found = found_in(layer, tokens)

    assert found.information == pytest.approx(1)
    assert found.chance < 0.1
    assert found.experts[4].shares == (0, 0, 1)
    assert found.experts[4].divergence == pytest.approx(np.log(2))
    assert found.experts[0].divergence == pytest.approx(np.log(4))
    unused = found.experts[7]
    assert (unused.tokens, unused.shares, unused.divergence, unused.chance) == (0, None, None, None)


def test_tokens_of_one_task_have_no_specialisation() -> None:
    tokens = tokens_of(N, task=np.ones(N))
    layer = layer_of(random_logits(N))

    assert (
        task_specialisation(layer, tokens, question_codes(tokens), N_TASKS, StudyOptions()) is None
    )
