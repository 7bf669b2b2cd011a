from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import (
    AutoConfig,
    DynamicCache,
    StaticCache,
)

from moe_eval_plugin.experts.observation import InputTokenCount
from moe_eval_plugin.override.forward_pass import phase_of
from moe_eval_plugin.override.observe import observe
from moe_eval_plugin.testing import tiny_moe
from tests.override.fake_moe import FakeMoE, generate, ids


def test_rows_that_are_no_tokens_count_as_text() -> None:
    model = FakeMoE()
    with observe(model) as pending:
        model(input_ids=ids(9, 9), choice=torch.tensor([[1], [1], [1]]))
        model(input_ids=ids(9, 9), choice=torch.tensor([[1]]))
        model(torch.zeros(1, 2, 4), torch.tensor([[1], [1]]))
    assert pending.result().by_layer("text") == {"experts": {1: 6}}
    assert pending.result().input_tokens == (InputTokenCount("prefill", "image", 4),)


def test_embeddings_count_as_text_tokens() -> None:
    model = tiny_moe()
    with observe(model) as pending:
        model(inputs_embeds=torch.zeros(2, 3, 32))
    assert pending.result().n_tokens("text") == 6


def test_a_failed_forward_pass_does_not_confuse_the_next() -> None:
    model = FakeMoE()
    with observe(model) as pending:
        with pytest.raises(TypeError):
            model(input_ids=ids(9))
        model(input_ids=ids(9), choice=torch.tensor([[1]]))
        model(input_ids=ids(5), choice=torch.tensor([[1]]))
    assert pending.result().by_layer("image") == {"experts": {1: 1}}
    assert pending.result().by_layer("text") == {"experts": {1: 1}}


def filled(cache: DynamicCache | StaticCache) -> DynamicCache | StaticCache:
    states = torch.zeros(1, 1, 5, 4)
    cache.update(states, states, 0)
    return cache


CONFIG = AutoConfig.for_model("qwen3_moe", num_hidden_layers=1)


@pytest.mark.parametrize("cache_name", ["cache", "past_key_values", "cache_params"])
@pytest.mark.parametrize(
    ("args", "kwargs", "phase"),
    [
        ((ids(5),), {}, "prefill"),
        ((), {"input_ids": ids(5), "CACHE": None}, "prefill"),
        ((), {"input_ids": ids(5), "CACHE": DynamicCache()}, "prefill"),
        ((), {"input_ids": ids(5), "CACHE": filled(DynamicCache())}, "decode"),
        ((ids(5), None, None, filled(DynamicCache())), {}, "decode"),
        ((), {"input_ids": ids(5, 6), "CACHE": filled(DynamicCache())}, "prefill"),
        ((), {"input_ids": ids(5), "CACHE": StaticCache(CONFIG, 8)}, "prefill"),
        ((), {"input_ids": ids(5), "CACHE": filled(StaticCache(CONFIG, 8))}, "decode"),
        ((), {"input_ids": ids(5), "CACHE": ((ids(1), ids(1)),)}, "decode"),
        ((), {"input_ids": ids(5), "CACHE": ()}, "prefill"),
        (
            (),
            {"inputs_embeds": torch.zeros(2, 1, 4), "CACHE": filled(DynamicCache())},
            "decode",
        ),
        ((), {"CACHE": filled(DynamicCache())}, "prefill"),
    ],
)
def test_decode_is_one_new_token_behind_a_filled_cache(
    cache_name: str, args: tuple[Any, ...], kwargs: dict[str, Any], phase: str
) -> None:
    named = {cache_name if name == "CACHE" else name: value for name, value in kwargs.items()}
    assert phase_of(args, named) == phase


def test_a_generation_has_one_prefill_and_a_decode_step_per_further_token() -> None:
    tokens = torch.tensor([[0, 0, 3, 4, 5], [6, 7, 8, 9, 10]])
    observation = generate(tiny_moe(), input_ids=tokens, attention_mask=tokens != 0)
    assert observation.input_tokens == (
        InputTokenCount("decode", "text", 4),
        InputTokenCount("prefill", "padding", 2),
        InputTokenCount("prefill", "text", 8),
    )
    assert observation.missed_tokens() == {}
    for layer in observation.layers.values():
        steps = [layer.distinct_per_step(phase) for phase in ("prefill", "decode")]
        assert [step and step.n_steps for step in steps] == [1, 2]
        assert steps[1] is not None
        assert 4 <= steps[1].smallest <= steps[1].largest <= 8


def test_phases_with_a_static_cache() -> None:
    tokens = torch.tensor([[3, 4, 5], [6, 7, 8]])
    observation = generate(tiny_moe(), input_ids=tokens, cache_implementation="static")
    assert observation.input_tokens == (
        InputTokenCount("decode", "text", 4),
        InputTokenCount("prefill", "text", 6),
    )


def test_phases_of_a_model_whose_first_layer_has_no_kv_cache() -> None:
    model = tiny_moe(
        "granitemoehybrid",
        num_local_experts=8,
        layer_types=["mamba", "attention"],
        num_hidden_layers=2,
        shared_intermediate_size=16,
        mamba_n_heads=4,
        mamba_d_head=16,
        mamba_d_state=8,
    )
    observation = generate(model, input_ids=torch.tensor([[3, 4, 5]]))
    assert observation.n_tokens("text", "prefill") == 3
    assert observation.n_tokens("text", "decode") == 2


def test_phases_of_a_model_without_any_kv_cache() -> None:
    model = tiny_moe("mamba", state_size=4)
    observation = generate(model, input_ids=torch.tensor([[3, 4, 5]]))
    assert observation.n_tokens("text", "prefill") == 3
    assert observation.n_tokens("text", "decode") == 2


def test_without_a_cache_every_step_is_a_prefill() -> None:
    observation = generate(tiny_moe(), input_ids=torch.tensor([[3, 4, 5]]), use_cache=False)
    assert observation.n_tokens("text", "decode") == 0
    assert observation.n_tokens("text", "prefill") == 3 + 4 + 5
