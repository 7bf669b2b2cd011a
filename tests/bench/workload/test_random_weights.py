"""Models of random weights: whole, of the asked data type, and with the routing that was asked."""

from __future__ import annotations

from statistics import fmean
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moe_eval_plugin.bench.workload import random_weights
from moe_eval_plugin.bench.workload.random_weights import Routing, build, parse_routing
from moe_eval_plugin.errors import (
    InsufficientMemoryError,
    InvalidArgumentError,
    UnsupportedFamilyError,
)
from moe_eval_plugin.hardware import memory
from moe_eval_plugin.hardware.memory import Memory
from moe_eval_plugin.override.observe import observe
from moe_eval_plugin.testing import tiny_config

# One of each kind of router: softmax, sigmoid with a bias, a class of its own, other names of k.
FAMILIES = ("qwen3_moe", "glm4_moe", "gpt_oss", "mixtral", "granitemoe", "jetmoe", "llama4_text")
N_EXPERTS = 32
COUNT_KEYS = ("num_experts", "n_routed_experts", "num_local_experts")


def a_config(model_type: str = "qwen3_moe", **changes: Any) -> Any:
    """Make a tiny model with enough experts for a choice among them to be seen."""
    config = tiny_config(
        model_type, hidden_size=64, vocab_size=512, max_position_embeddings=256, **changes
    )
    for key in COUNT_KEYS:
        if getattr(config, key, None):
            setattr(config, key, N_EXPERTS)
    return config


def choices(model: Any) -> tuple[float, float]:
    """Generate, and give the evenness of the load and the distinct experts of a decode step."""
    random = torch.Generator().manual_seed(0)
    ids = torch.randint(2, 512, (16, 24), generator=random)
    with observe(model) as pending, torch.inference_mode():
        model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            min_new_tokens=12,
            max_new_tokens=12,
            pad_token_id=0,
        )
    layers = pending.result().layers.values()
    steps = [layer.distinct_per_step("decode") for layer in layers]
    entropy = fmean(layer.load_entropy for layer in layers if layer.load_entropy is not None)
    return entropy, fmean(step.mean for step in steps if step is not None)


@pytest.mark.parametrize("model_type", FAMILIES)
def test_skew_shows_in_the_load_and_in_the_distinct_experts(model_type: str) -> None:
    found = [
        choices(build(a_config(model_type), routing))
        for routing in (Routing(), Routing(0.5), Routing(1.0), Routing(2.0))
    ]
    entropies, distinct = zip(*found, strict=True)
    assert entropies[0] > 0.97
    assert entropies[3] < 0.7
    assert sorted(entropies, reverse=True) == list(entropies)
    assert sorted(distinct, reverse=True) == list(distinct)


def test_popular_experts_differ_by_layer() -> None:
    model = build(a_config(), Routing(2.0))
    with observe(model) as pending, torch.inference_mode():
        model(torch.arange(2, 130)[None])
    loads = [layer.expert_load for layer in pending.result().layers.values()]
    assert len({load.index(max(load)) for load in loads}) > 1


@pytest.mark.parametrize("model_type", FAMILIES)
def test_every_tensor_is_filled_and_buffers_are_those_of_a_normal_build(model_type: str) -> None:
    config = a_config(model_type)
    model = build(config)
    for name, tensor in model.state_dict().items():
        assert not tensor.is_meta, name
        assert tensor.isfinite().all(), name
    expected = dict(type(model)(config).named_buffers())
    for name, buffer in model.named_buffers():
        assert torch.equal(buffer, expected[name]), name


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_weights_have_the_data_type_that_was_asked_for(dtype: str) -> None:
    model = build(a_config(), dtype=dtype)
    assert {p.dtype for p in model.parameters()} == {getattr(torch, dtype)}
    # Rotary frequencies are never rounded, as in a model that is loaded.
    assert model.model.rotary_emb.inv_freq.dtype == torch.float32


def test_without_a_wish_the_data_type_is_that_of_the_configuration() -> None:
    config = a_config()
    config.dtype = torch.bfloat16
    assert build(config).dtype == torch.bfloat16
    config.dtype = None
    assert build(config).dtype == torch.float32


def test_no_tensor_is_ever_held_in_another_data_type(monkeypatch: pytest.MonkeyPatch) -> None:
    config, made = a_config(num_hidden_layers=1, moe_intermediate_size=4096), []
    to_empty = torch.empty_like

    def watch(tensor: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        result = to_empty(tensor, **kwargs)
        made.append((result.dtype, result.numel()))
        return result

    monkeypatch.setattr(torch, "empty_like", watch)
    build(config, dtype="bfloat16")
    largest = max(n for _, n in made)
    assert largest == N_EXPERTS * 2 * 4096 * 64
    assert all(dtype == torch.bfloat16 for dtype, n in made if n > 64)


def test_the_same_seed_gives_the_same_weights_and_leaves_the_generator_alone() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first, again, other = (build(a_config(), seed=seed).state_dict() for seed in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["lm_head.weight"], other["lm_head.weight"])


def test_tied_embeddings_stay_tied() -> None:
    model = build(a_config(tie_word_embeddings=True))
    assert model.lm_head.weight is model.model.embed_tokens.weight


def test_the_configuration_that_was_given_is_not_changed() -> None:
    config = a_config()
    before = config.to_dict()
    build(config, dtype="bfloat16")
    assert config.to_dict() == before


def test_implementations_are_those_that_were_asked_for() -> None:
    model = build(a_config(), experts_implementation="eager", attn_implementation="eager")
    assert model.config._experts_implementation == "eager"
    assert model.config._attn_implementation == "eager"
    assert build(a_config()).config._attn_implementation == "sdpa"


def test_a_model_that_does_not_fit_is_refused_before_it_is_allocated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(random_weights, "free_memory", lambda *_: Memory(1000, "the RAM"))
    with pytest.raises(InsufficientMemoryError, match="Qwen3MoeForCausalLM with random weights"):
        build(a_config())
    assert memory.free_memory("cpu", None) is not None


def test_routers_that_cannot_be_skewed_are_refused() -> None:
    with pytest.raises(UnsupportedFamilyError, match="routing=skewed:1 is not possible for qwen3"):
        build(tiny_config("qwen3"), Routing(1.0))


@given(st.floats(0.01, 100))
def test_a_routing_is_read_as_it_is_written(exponent: float) -> None:
    routing = parse_routing(f"skewed:{exponent!r}")
    assert routing == Routing(exponent)
    assert parse_routing("uniform") == Routing(0.0)
    assert str(Routing()) == "uniform"
    assert str(Routing(1.5)) == "skewed:1.5"


@pytest.mark.parametrize(
    "text", ["skewed", "skewed:", "skewed:x", "skewed:0", "skewed:-1", "skewed:inf", "even", ""]
)
def test_a_routing_that_is_not_known_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgumentError, match="Use uniform, or skewed:S"):
        parse_routing(text)
