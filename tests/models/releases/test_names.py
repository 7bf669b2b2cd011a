"""A name that a release of transformers changed is an error, not a silent count of zero."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import DynamicCache, Qwen3MoeForCausalLM, Qwen3VLMoeForConditionalGeneration

from moe_eval_plugin.errors import MeasurementError
from moe_eval_plugin.experts.schedules.parser import parse_experts_k
from moe_eval_plugin.models.families import describe
from moe_eval_plugin.models.releases.names import (
    per_token_among,
    require_known_names,
)
from moe_eval_plugin.override.apply import apply
from moe_eval_plugin.override.forward_pass import phase_of
from moe_eval_plugin.override.observe import observe
from moe_eval_plugin.testing import tiny_moe
from tests.models.tiny_configs import qwen3_moe, qwen3_vl_moe

PROMPT = torch.tensor([[3, 4, 5]])


class RenamedCache(Qwen3MoeForCausalLM):
    """A model of a release that gave the cache another name."""

    def forward(
        self, input_ids: torch.Tensor, kv_store: object = None, **kwargs: Any
    ) -> torch.Tensor:
        return super().forward(input_ids, cache=kv_store, **kwargs)


class RenamedTokens(Qwen3MoeForCausalLM):
    """A model of a release that gave the tokens another name."""

    def forward(self, tokens: torch.Tensor, cache: object = None, **kwargs: Any) -> torch.Tensor:
        return super().forward(tokens, cache=cache, **kwargs)


class PassesOn(Qwen3MoeForCausalLM):
    """A model whose forward has no names of its own, as several of transformers have."""

    def forward(self, **super_kwargs: Any) -> Any:
        return super().forward(**super_kwargs)


class PassesOnRenamed(RenamedCache):
    """A model whose forward passes all on to one that renamed the cache."""

    def forward(self, **super_kwargs: Any) -> Any:
        return super().forward(**super_kwargs)


def test_a_cache_of_another_name_is_refused_before_anything_is_counted() -> None:
    model = RenamedCache(qwen3_moe()).eval()
    with pytest.raises(MeasurementError, match="RenamedCache has no cache") as caught:
        observe(model).__enter__()
    said = str(caught.value)
    assert "cache, past_key_values, cache_params" in said
    assert "kv_store" in said
    assert "transformers>=5.16" in said
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_a_schedule_by_phase_is_refused_where_phases_are_unknown() -> None:
    model = RenamedCache(qwen3_moe()).eval()
    schedule = parse_experts_k("prefill:4/decode:2")
    assert schedule is not None
    resolved = schedule.resolve(describe(model.config))
    with pytest.raises(MeasurementError, match="no cache"), apply(model, resolved):
        pass
    assert {layer.mlp.gate.top_k for layer in model.model.layers} == {4}


def test_tokens_of_another_name_are_refused() -> None:
    with pytest.raises(MeasurementError, match="RenamedTokens has no input tokens"):
        require_known_names(RenamedTokens(qwen3_moe()))


def test_an_image_token_of_another_name_is_refused() -> None:
    model = Qwen3VLMoeForConditionalGeneration(qwen3_vl_moe())
    require_known_names(model)
    model.config = SimpleNamespace(vision_config=object(), picture_token_id=5)
    with pytest.raises(MeasurementError, match=r"no image token .*it has picture_token_id"):
        require_known_names(model)


def test_a_cache_that_arrives_under_another_name_is_refused() -> None:
    with pytest.raises(MeasurementError, match="it has kv_store"):
        phase_of((), {"input_ids": PROMPT[:, :1], "kv_store": DynamicCache()})


def test_a_forward_that_passes_all_on_has_the_names_of_its_base() -> None:
    with pytest.raises(MeasurementError, match=r"no cache .*it has input_ids, kv_store"):
        require_known_names(PassesOnRenamed(qwen3_moe()))
    with observe(PassesOn(qwen3_moe()).eval()) as pending:
        pass
    assert pending.result().n_tokens("text") == 0


@pytest.mark.parametrize("family", ["qwen3_moe", "llama"])
def test_the_decode_passes_of_generate_are_seen_as_such(family: str) -> None:
    model = tiny_moe(family)
    with observe(model) as pending:
        model.generate(PROMPT, max_new_tokens=4, min_new_tokens=4, do_sample=False)
    counts = [pending.result().n_tokens("text", phase) for phase in ("prefill", "decode")]
    assert counts == [3, 3]


def test_inputs_with_an_entry_per_token_are_found_and_an_unknown_one_is_refused() -> None:
    inputs = {
        "mm_token_type_ids": PROMPT,
        "input_ids": PROMPT,
        "attention_mask": PROMPT,
        # One image has a grid of three numbers, as many as the prompt has tokens.
        "image_grid_thw": torch.tensor([[1, 4, 4]]),
        "pixel_values": torch.zeros(16, 8),
    }
    assert per_token_among(inputs) == ["input_ids", "attention_mask", "mm_token_type_ids"]
    with pytest.raises(MeasurementError, match=r"no input per token .*it has token_kinds"):
        per_token_among({**inputs, "token_kinds": PROMPT})
