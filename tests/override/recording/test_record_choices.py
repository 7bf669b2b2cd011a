"""Recorded choices and scores equal those computed here from the routers' inputs and weights."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from moe_eval_plugin.errors import MeasurementError
from moe_eval_plugin.experts.schedules.parser import parse_experts_k
from moe_eval_plugin.experts.tokens import IMAGE as IMAGE_KIND
from moe_eval_plugin.models.families import describe
from moe_eval_plugin.override.apply import apply
from moe_eval_plugin.override.recording.record_choices import record_choices
from moe_eval_plugin.override.recording.recorded import RowLabel
from moe_eval_plugin.testing import tiny_moe
from tests.families import moe_plus_plus_checkpoint
from tests.families.tiny_configs import MLA
from tests.override.fake_moe import FakeMoE, ids

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transformers import PreTrainedModel

    from moe_eval_plugin.override.recording.record_choices import ChoiceRecorder
    from moe_eval_plugin.override.recording.recorded import RecordedChoices, RecordedLayer

K = 4
FIRST = [RowLabel(task=0, question=0, sequence=0)]


def labels(n: int, **fields: int) -> list[RowLabel]:
    return [RowLabel(**{"task": 0, "question": i, "sequence": i, **fields}) for i in range(n)]


def record(model: torch.nn.Module, rows: list[RowLabel], **inputs: Any) -> RecordedChoices:
    with torch.no_grad(), record_choices(model) as recorder, recorder.labelled(rows):
        model(**inputs)
    return recorder.result()


@contextmanager
def router_logits(model: PreTrainedModel) -> Iterator[list[torch.Tensor]]:
    """List the logits of each call of each router, from its input and weight alone."""
    found: list[torch.Tensor] = []

    def keep(module: torch.nn.Module, args: tuple[torch.Tensor, ...]) -> None:
        hidden = args[0].reshape(-1, args[0].shape[-1])
        found.append(hidden.float() @ module.weight.float().T)

    routers = [layer.mlp.gate for layer in model.model.layers if hasattr(layer.mlp, "gate")]
    handles = [router.register_forward_pre_hook(keep) for router in routers]
    yield found
    for handle in handles:
        handle.remove()


def assert_equal_to_softmax(layer: RecordedLayer, logits: torch.Tensor) -> None:
    probabilities = logits.softmax(-1)
    scores, experts = probabilities.topk(K + 1)
    assert layer.published_k == K
    assert layer.experts.tolist() == experts.tolist()
    np.testing.assert_allclose(layer.scores, scores, rtol=1e-5)
    entropy = -(probabilities * probabilities.log()).sum(-1)
    np.testing.assert_allclose(layer.entropy, entropy, rtol=1e-5)
    assert (layer.ranked_by_score, layer.scores_sum_to_one) == (True, True)


@pytest.mark.parametrize("model_type", ["qwen3_moe", "olmoe", "gpt_oss"])
def test_experts_scores_and_entropy_are_those_of_a_softmax_over_the_logits(model_type: str) -> None:
    model = tiny_moe(model_type)
    tokens = torch.arange(2, 14).reshape(2, 6)
    biases = [getattr(layer.mlp, "router", None) for layer in model.model.layers]
    for router in filter(None, biases):  # of gpt_oss, whose routers are not called gate
        router.bias.data.zero_()
        router_block = next(x for x in model.modules() if getattr(x, "router", None) is router)
        router_block.gate = router
    with router_logits(model) as logits:
        recorded = record(model, labels(2), input_ids=tokens)
    assert recorded.tokens.token_id.tolist() == tokens.flatten().tolist()
    assert recorded.tokens.question.tolist() == [0] * 6 + [1] * 6
    assert recorded.tokens.position.tolist() == [*range(6), *range(6)]
    assert len(recorded.layers) == len(logits) == 3
    for layer, own in zip(recorded.layers, logits, strict=True):
        assert_equal_to_softmax(layer, own)
        assert layer.rows is None


def test_a_router_with_a_bias_is_ordered_by_the_bias_and_scored_without_it() -> None:
    grouped = {
        "n_routed_experts": 8,
        "n_group": 4,
        "topk_group": 2,
        "first_k_dense_replace": 1,
        "head_dim": 8,
    }
    model = tiny_moe("deepseek_v3", **MLA, **grouped, num_experts_per_tok=3)
    with router_logits(model) as logits:
        recorded = record(model, FIRST, input_ids=torch.arange(2, 40)[None])
    routers = [layer.mlp.gate for layer in model.model.layers if hasattr(layer.mlp, "gate")]
    assert routers
    for layer, own, router in zip(recorded.layers, logits, routers, strict=True):
        scores = own.sigmoid()
        biased = (scores + router.e_score_correction_bias).reshape(-1, 4, 2)
        groups = biased.sum(-1).topk(2).indices
        allowed = torch.full_like(biased, -torch.inf)
        for row, chosen in enumerate(groups.tolist()):
            allowed[row, chosen] = biased[row, chosen]
        experts = allowed.flatten(1).topk(4).indices
        assert layer.experts.tolist() == experts.tolist()
        np.testing.assert_allclose(layer.scores, scores.gather(-1, experts), rtol=1e-5)
        shares = scores / scores.sum(-1, keepdim=True)
        np.testing.assert_allclose(layer.entropy, -(shares * shares.log()).sum(-1), rtol=1e-5)
        assert (layer.ranked_by_score, layer.scores_sum_to_one) == (False, False)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_scores_of_a_model_in_half_precision_are_float32(dtype: torch.dtype) -> None:
    model = tiny_moe("gpt_oss").to(dtype)
    recorded = record(model, FIRST, input_ids=torch.arange(2, 40)[None])
    for layer in recorded.layers:
        assert layer.scores is not None
        assert layer.scores.dtype == np.float32
        assert layer.scores_sum_to_one


def test_padding_on_either_side_is_left_out() -> None:
    model = tiny_moe()
    text, more = [5, 6, 7], [8, 9, 10, 11, 12]
    alone = [record(model, FIRST, input_ids=ids(*row)) for row in (text, more)]
    for padded, mask in (([0, 0, *text], [0, 0, 1, 1, 1]), ([*text, 0, 0], [1, 1, 1, 0, 0])):
        recorded = record(
            model,
            labels(2),
            input_ids=torch.tensor([padded, more]),
            attention_mask=torch.tensor([mask, [1] * 5]),
        )
        assert recorded.tokens.token_id.tolist() == [*text, *more]
        assert recorded.tokens.position.tolist() == [0, 1, 2, 0, 1, 2, 3, 4]
        for number, layer in enumerate(recorded.layers):
            expected = np.concatenate([one.layers[number].experts for one in alone])
            assert layer.experts.tolist() == expected.tolist()


def generate(model: PreTrainedModel, recorder: ChoiceRecorder, **inputs: Any) -> torch.Tensor:
    options = {"do_sample": False, "max_new_tokens": 4, **inputs}
    with recorder.labelled(labels(len(inputs["input_ids"]))):
        result: torch.Tensor = model.generate(**options)
    return result


def test_generated_tokens_follow_their_prompt_and_end_with_the_answer() -> None:
    model = tiny_moe()
    prompts = torch.tensor([[0, 5, 6], [7, 8, 9]])
    mask = (prompts != 0).long()
    free = model.generate(input_ids=prompts, attention_mask=mask, max_new_tokens=4, do_sample=False)
    end = int(free[0, 4])  # the second token of the first answer
    assert end not in free[1]
    with record_choices(model, end_ids=[end]) as recorder:
        answers = generate(
            model, recorder, input_ids=prompts, attention_mask=mask, eos_token_id=end
        )
    tokens = recorder.result().tokens
    decoded = tokens.phase == 1
    assert tokens.token_id[~decoded].tolist() == [5, 6, 7, 8, 9]
    # The last token of an answer is never an input, and what follows an end is no answer.
    assert tokens.token_id[decoded & (tokens.question == 0)].tolist() == [int(answers[0, 3])]
    assert tokens.token_id[decoded & (tokens.question == 1)].tolist() == answers[1, 3:6].tolist()
    assert tokens.position[decoded & (tokens.question == 1)].tolist() == [3, 4, 5]
    assert tokens.position[decoded & (tokens.question == 0)].tolist() == [2]
    whole = record(model, FIRST, input_ids=answers[1:2, :6])
    mine = np.flatnonzero(tokens.question == 1)
    for layer, own in zip(recorder.result().layers, whole.layers, strict=True):
        assert layer.experts[mine].tolist() == own.experts.tolist()


def test_passes_without_labels_and_beyond_the_limit_are_not_recorded() -> None:
    model = tiny_moe()
    with torch.no_grad(), record_choices(model, max_tokens=4) as recorder:
        model(input_ids=ids(3, 4, 5))
        for first in (6, 9, 12):
            with recorder.labelled(FIRST):
                model(input_ids=ids(first, first + 1, first + 2))
    recorded = recorder.result()
    assert recorded.tokens.token_id.tolist() == [6, 7, 8, 9, 10, 11]
    assert recorder.is_full
    assert all(len(layer.experts) == 6 for layer in recorded.layers)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_tokens_that_another_text_has_are_left_out() -> None:
    model = tiny_moe()
    whole = record(model, FIRST, input_ids=ids(3, 4, 5, 6))
    rest = record(model, labels(1, n_known=3), input_ids=ids(3, 4, 5, 6))
    assert rest.tokens.token_id.tolist() == [6]
    assert rest.tokens.position.tolist() == [3]
    for layer, own in zip(rest.layers, whole.layers, strict=True):
        assert layer.experts.tolist() == own.experts[3:].tolist()
        assert layer.rows is None


def test_another_k_is_recorded_with_the_expert_that_comes_next() -> None:
    model = tiny_moe()
    tokens = ids(3, 4, 5, 6)
    published = record(model, FIRST, input_ids=tokens)
    schedule = parse_experts_k("2")
    assert schedule is not None
    with apply(model, schedule.resolve(describe(model.config))):
        lowered = record(model, FIRST, input_ids=tokens)
    assert lowered.layers[0].published_k == 2
    assert lowered.layers[0].experts.tolist() == published.layers[0].experts[:, :3].tolist()
    assert lowered.layers[1].scores.shape == (4, 3)


def test_experts_that_compute_nothing_have_the_last_numbers() -> None:
    model = moe_plus_plus_checkpoint.build()
    logits: list[torch.Tensor] = []
    model.layers[0].mlp.moe.gate.register_forward_hook(lambda *call: logits.append(call[2][1]))
    recorded = record(model, FIRST, input_ids=torch.arange(300)[None])
    layer = recorded.layers[0]
    assert (layer.num_experts, layer.num_zero_experts) == (8, 4)
    scores, experts = logits[0].softmax(-1).topk(3)
    assert layer.experts.tolist() == experts.tolist()
    assert max(one.experts[:, :2].max() for one in recorded.layers) >= 8
    np.testing.assert_allclose(layer.scores, scores, rtol=1e-5)


def test_a_choice_without_a_router_has_no_scores() -> None:
    recorded = record(FakeMoE(), FIRST, input_ids=ids(5, 9), choice=torch.tensor([[4, 1], [0, 2]]))
    (layer,) = recorded.layers
    assert layer.experts.tolist() == [[4, 1], [0, 2]]
    assert (layer.scores, layer.entropy, layer.published_k) == (None, None, 2)
    assert recorded.tokens.modality.tolist() == [0, IMAGE_KIND]


def test_tokens_with_fewer_experts_are_left_out_of_the_layer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    choice = torch.tensor([[4, 1], [3, 3], [0, 6], [2, 5]])
    with caplog.at_level(logging.WARNING):
        recorded = record(FakeMoE(), FIRST, input_ids=ids(3, 4, 5, 6), choice=choice)
    (layer,) = recorded.layers
    assert layer.experts.tolist() == [[4, 1], [2, 5]]
    assert layer.rows.tolist() == [0, 3]
    assert "2 tokens used fewer than 2 experts" in caplog.text


def test_rows_that_are_no_tokens_are_not_recorded(caplog: pytest.LogCaptureFixture) -> None:
    choice = torch.tensor([[4, 1], [3, 2]])
    with caplog.at_level(logging.WARNING):
        recorded = record(FakeMoE(), FIRST, input_ids=ids(3, 4, 5), choice=choice)
    assert recorded.layers == ()
    assert "2 rows for 3 tokens" in caplog.text


@pytest.mark.parametrize(("block", "kinds"), [("vision_moe", [1, 3]), ("text_moe", [0, 2])])
def test_the_router_of_one_modality_has_the_rows_of_its_tokens(
    block: str, kinds: list[int]
) -> None:
    choice = torch.tensor([[4, 1], [3, 2]])
    recorded = record(FakeMoE(block), FIRST, input_ids=ids(3, 9, 4, 9), choice=choice)
    (layer,) = recorded.layers
    assert layer.rows.tolist() == kinds
    assert layer.experts.tolist() == choice.tolist()


def test_a_batch_of_other_rows_than_were_announced_is_refused() -> None:
    with pytest.raises(MeasurementError, match="has 1 rows, and 2 were announced"):
        record(tiny_moe(), labels(2), input_ids=ids(3, 4))
