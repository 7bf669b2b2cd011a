"""Continuations that share their context: scores, batches, and the check of a model's code."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers import OlmoeConfig, OlmoeForCausalLM

from moe_eval_plugin.engines.transformers.shared import contexts
from moe_eval_plugin.engines.transformers.shared.contexts import (
    Choices,
    find_difference,
    in_batches,
    score_choices,
)
from moe_eval_plugin.engines.transformers.shared.prefix import Prefixes


@pytest.fixture(scope="module")
def model() -> Any:
    torch.manual_seed(0)
    config = OlmoeConfig(
        vocab_size=100,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        num_experts=8,
        num_experts_per_tok=2,
        eos_token_id=2,
    )
    return OlmoeForCausalLM(config).eval()


@pytest.fixture(scope="module")
def batch() -> list[Choices]:
    draw = torch.Generator().manual_seed(1)

    def tokens(n: int) -> tuple[int, ...]:
        return tuple(torch.randint(3, 100, (n,), generator=draw).tolist())

    lengths = ((20, (5, 9, 1, 3)), (15, (2, 2)), (2, (4, 1, 6)), (7, (1, 1, 1)))
    return [Choices(tokens(n), tuple(tokens(m) for m in of_each)) for n, of_each in lengths]


@torch.inference_mode()
def score_alone(model: Any, context: tuple[int, ...], target: tuple[int, ...]) -> float:
    ids = torch.tensor([[*context, *target]])
    log_probs = model(input_ids=ids, use_cache=False).logits[0].log_softmax(-1)
    return float(sum(log_probs[len(context) - 1 + i, one] for i, one in enumerate(target)))


def test_scores_are_those_of_each_continuation_alone(model: Any, batch: list[Choices]) -> None:
    scores = score_choices(model, batch, size=3)

    expected = [[score_alone(model, one.context, t) for t in one.continuations] for one in batch]
    found = [[log_prob for log_prob, _ in of_one] for of_one in scores]
    assert found == [pytest.approx(of_one, abs=1e-5) for of_one in expected]


def test_a_continuation_of_the_most_probable_tokens_is_greedy(model: Any) -> None:
    context = (5, 6, 7, 8)
    with torch.inference_mode():
        ids = torch.tensor([context])
        answer = tuple(model.generate(ids, max_new_tokens=3, do_sample=False)[0, 4:].tolist())
    other = (*answer[:-1], 99 if answer[-1] != 99 else 98)

    (scores,) = score_choices(model, [Choices(context, (answer, other))], size=2)

    assert [is_greedy for _, is_greedy in scores] == [True, False]


def test_batches_hold_up_to_so_many_continuations_and_every_context_once(
    batch: list[Choices],
) -> None:
    batches = [[len(one.continuations) for one in part] for part in in_batches(batch, 5)]

    assert batches[0] == [4]
    assert all(sum(part) <= 5 for part in batches)
    assert sorted(n for part in batches for n in part) == [2, 3, 3, 4]
    assert [[len(one.continuations) for one in part] for part in in_batches(batch[:1], 2)] == [[4]]


def test_a_context_of_one_token_or_with_one_prompt_has_nothing_to_share() -> None:
    assert not Choices((1,), ((2, 5), (3, 5))).is_shareable
    assert not Choices((1, 2), ((2, 5),)).is_shareable
    assert not Choices((1, 2), ((2,), (3,))).is_shareable  # both are predicted by one prompt
    assert Choices((1, 2), ((2, 5), (3, 5))).is_shareable


def test_a_model_that_counts_positions_anew_is_found(
    model: Any, batch: list[Choices], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_difference(model, batch[0]) is None

    class Shifted(Prefixes):
        @classmethod
        def compute(cls, *given: Any) -> Any:
            found = super().compute(*given)
            return replace(found, next_positions=found.next_positions + 50)

    monkeypatch.setattr(contexts, "Prefixes", Shifted)

    assert "differ from those without" in str(find_difference(model, batch[0]))


def test_a_model_that_cannot_continue_is_found(
    model: Any, batch: list[Choices], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> Any:
        message = "no such cache"
        raise ValueError(message)

    monkeypatch.setattr(Prefixes, "continued", refuse)

    assert "cannot continue from a context: no such cache" in str(find_difference(model, batch[0]))
