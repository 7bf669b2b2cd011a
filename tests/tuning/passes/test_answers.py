"""One pass over a prompt with its answer, at the k of both phases, is what generation computes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from PIL import Image

from moe_eval_plugin.engines.transformers.engine import HFEngine
from moe_eval_plugin.engines.transformers.options import EngineOptions
from moe_eval_plugin.tuning.passes.batch_passes import BatchPasses
from moe_eval_plugin.tuning.prompts.batches import prompt_batch
from tests.families.contract import inputs_of
from tests.tuning.passes.calibrations import BY_ID, Loaded, family, loaded, with_answers

if TYPE_CHECKING:
    from moe_eval_plugin.tuning.calibration import PromptBatch

ANSWERS = ((20, 21, 23, 30), (24, 25, 26, 27))
SCHEDULES = ("prefill:3/decode:1", "prefill:1/decode:3", "text:4/image:2/decode:1/decode+1:3")


def demo() -> tuple[Loaded, PromptBatch, dict[str, Any]]:
    """Return the embedded model, and two questions of different length with an image."""
    engine = HFEngine(EngineOptions("demo", dtype="float32"))
    image = {"type": "image", "image": Image.new("RGB", (64, 64), "red")}
    texts = ("what color is this?", "is there a shape in the picture, and is it blue?")
    conversations: list[Any] = [
        [{"role": "user", "content": [image, {"type": "text", "text": text}]}] for text in texts
    ]
    given = dict(engine.encode(conversations).tensors)
    return loaded(engine.model), prompt_batch(engine.model, given, ANSWERS), given


def two_routers() -> tuple[Loaded, PromptBatch, dict[str, Any]]:
    """Return a model with a router for each modality in each layer, and two prompts."""
    model, _ = family("ernie4_5_vl_moe")
    given = inputs_of(BY_ID["ernie4_5_vl_moe"])
    batch = with_answers(model, given, ANSWERS)
    prompt = {
        name: value[:, : batch.n_prompt] if value.shape[:1] == (2,) and value.dim() == 2 else value
        for name, value in batch.inputs.items()
        if name != "position_ids"
    }
    return model, batch, prompt


@pytest.mark.parametrize("build", [demo, two_routers])
def test_one_pass_is_prefill_and_decode_steps(build: Any) -> None:
    model, batch, prompt = build()
    n_prompt = batch.n_prompt

    def next_token(row: int, ids: torch.Tensor) -> list[int]:
        return [ANSWERS[row][len(ids) - n_prompt]]

    for text in SCHEDULES:
        request = model.config.request(text)
        model.at_k.set(request, has_answers=True)
        outcome = BatchPasses(model, batch, None).run(frozenset(), observes=True)
        model.at_k.set(request)
        generated = model.module.generate(
            **prompt,
            max_new_tokens=4,
            min_new_tokens=4,
            do_sample=False,
            prefix_allowed_tokens_fn=next_token,
            output_logits=True,
            return_dict_in_generate=True,
        )
        assert generated.sequences[:, n_prompt:].tolist() == [list(one) for one in ANSWERS]
        expected = torch.stack(generated.logits, dim=1)
        torch.testing.assert_close(outcome.logits, expected, rtol=1e-4, atol=1e-4)
        assert outcome.observation is not None
        decode_ks = {1, 3} if "+1" in text else {int(text[-1])}
        assert set(outcome.observation.distinct_k("text", "decode")) == decode_ks
    model.at_k.close()
