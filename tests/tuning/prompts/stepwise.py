"""The logits of real generation, step by step, to compare a single pass with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from moe_eval_plugin.models.releases.names import per_token_among

if TYPE_CHECKING:
    from torch import Tensor

    from moe_eval_plugin.tuning.calibration import PromptBatch


@torch.no_grad()
def single_pass(model: Any, batch: PromptBatch) -> Tensor:
    """Return the logits that predict each token of the answers (rows, answer, vocabulary)."""
    logits: Tensor = model(**batch.inputs, use_cache=False).logits
    return logits[:, batch.n_prompt - 1 :].float()


@torch.no_grad()
def step_by_step(model: Any, batch: PromptBatch) -> Tensor:
    """Return the same logits as ``generate`` computes them, with a cache and token by token."""
    prompt = {name: value for name, value in batch.inputs.items() if name != "position_ids"}
    for name in per_token_among(prompt):
        prompt[name] = prompt[name][:, : batch.n_prompt]
    answers = batch.answer_ids.clamp_min(0)

    def forced(row: int, ids: Tensor) -> list[int]:
        return [int(answers[row, len(ids) - batch.n_prompt])]

    generated = model.generate(
        **prompt,
        do_sample=False,
        max_new_tokens=answers.shape[1],
        eos_token_id=None,
        prefix_allowed_tokens_fn=forced,
        output_logits=True,
        return_dict_in_generate=True,
    )
    assert generated.sequences[:, batch.n_prompt :].tolist() == answers.tolist()
    return torch.stack(generated.logits, dim=1).float()


def assert_same_logits(model: Any, batch: PromptBatch) -> None:
    """Assert that a single pass predicts every token of the answers as generation does."""
    is_predicted = batch.answer_ids >= 0
    found, expected = single_pass(model, batch), step_by_step(model, batch)
    torch.testing.assert_close(found[is_predicted], expected[is_predicted], atol=2e-5, rtol=2e-4)
