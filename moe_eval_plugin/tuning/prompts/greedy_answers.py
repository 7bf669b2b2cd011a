"""Generate the answers that calibration prompts go on with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from transformers import StoppingCriteriaList

from moe_eval_plugin.engines.transformers.stopping import (
    StopStringCriteria,
    StopStrings,
    cut_answers,
    end_ids,
)
from moe_eval_plugin.errors import NotFiniteError
from moe_eval_plugin.models.releases.names import image_token_ids
from moe_eval_plugin.override.finite import watch_logits

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

GREEDY = {"do_sample": False, "num_beams": 1}


@torch.inference_mode()
def greedy_answers(
    model: Any,  # noqa: ANN401  (one of many classes)
    tokenizer: Any,  # noqa: ANN401  (one of many classes)
    inputs: Mapping[str, Any],
    n_tokens: int,
    until: Sequence[str] = (),
) -> list[list[int]]:
    """Return the likeliest tokens after each prompt, up to and with the end of the answer.

    ``inputs`` are on the CPU. An answer ends with an end token, with one that completes a string
    of ``until``, or after ``n_tokens``. Tokens of images are never chosen: they would stand for
    images that are not there. Raises ``NotFiniteError`` where the model computes NaN or infinity.
    """
    placed = {name: _placed(value, model) for name, value in inputs.items()}
    n_prompt = placed["input_ids"].shape[1]
    stops = StopStrings(tokenizer, until)
    criteria = [StopStringCriteria(stops, n_prompt)] if until else []
    ends = end_ids(model) | ({tokenizer.eos_token_id} - {None})
    with watch_logits(model) as watch:
        rows = model.generate(
            **placed,
            **GREEDY,
            max_new_tokens=n_tokens,
            eos_token_id=sorted(ends) or None,
            pad_token_id=tokenizer.pad_token_id,
            suppress_tokens=list(image_token_ids(model.config)) or None,
            stopping_criteria=StoppingCriteriaList(criteria),
        )
    answers = [list(one) for one in cut_answers(rows[:, n_prompt:].tolist(), ends, stops, 0)]
    steps = watch.first_steps(len(answers))
    if n_bad := sum(step < len(ids) for step, ids in zip(steps, answers, strict=True)):
        message = (
            f"The published model computes NaN or infinity in {n_bad} of {len(answers)} answers to "
            "calibration prompts. float16 is too small for some models: pass dtype=bfloat16 or "
            "dtype=float32."
        )
        raise NotFiniteError(message)
    return answers


def _placed(value: Any, model: Any) -> Any:  # noqa: ANN401  (a tensor, or what a processor adds)
    return value.to(model.device) if isinstance(value, torch.Tensor) else value
