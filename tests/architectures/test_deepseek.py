"""The class of type ``deepseek`` computes what the paper of DeepSeekMoE states, at each k."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors import safe_open
from transformers import AutoConfig, AutoModelForCausalLM

from moe_eval_plugin.api.experts import experts_k
from moe_eval_plugin.errors import UserError
from moe_eval_plugin.models.parameters import build_on_meta
from moe_eval_plugin.testing import tiny_config, tiny_moe
from tests.architectures.plain_forward import logits_at_k, read_weights

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedModel

E, K, LAYERS = 8, 6, 3
SIZES = {
    "n_routed_experts": E,
    "num_experts_per_tok": K,
    "first_k_dense_replace": 1,
    "num_hidden_layers": LAYERS,
}
IDS = [5, 17, 3, 60, 22, 22, 41, 9, 13, 50, 2, 33]
TOKENS = torch.tensor([IDS])


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    """A tiny model of this type with random weights, in float32."""
    return tiny_moe("deepseek", **SIZES)


@pytest.fixture(scope="module")
def folder(model: PreTrainedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model as a checkpoint."""
    folder = tmp_path_factory.mktemp("deepseek")
    model.save_pretrained(folder)
    return folder


@torch.no_grad()
def logits(model: PreTrainedModel, tokens: torch.Tensor = TOKENS) -> torch.Tensor:
    found: torch.Tensor = model(tokens).logits
    return found


@pytest.mark.parametrize("k", range(1, K + 1))
def test_logits_are_those_of_a_plain_forward_pass(
    model: PreTrainedModel, folder: Path, k: int
) -> None:
    expected = logits_at_k(model.config, read_weights(folder), IDS, k)
    with experts_k(model, k) as in_use:
        found = logits(model)[0]
    assert in_use.observed == k
    # float32 against float64; the logits' standard deviation is about 1.
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max()


def test_k_matters(folder: Path, model: PreTrainedModel) -> None:
    weights = read_weights(folder)
    few, many = (logits_at_k(model.config, weights, IDS, k) for k in (K - 1, K))
    assert (few - many).abs().max() > 1e-2 * many.abs().max()


def test_a_checkpoint_has_the_published_names_and_loads_as_it_was(
    model: PreTrainedModel, folder: Path
) -> None:
    with safe_open(folder / "model.safetensors", "pt") as weights:
        names = set(weights.keys())
    assert names == published_names()
    loaded, found = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not any(found.values()), found
    assert torch.equal(logits(loaded), logits(model))


def published_names() -> set[str]:
    """Return the names of DeepSeekMoE-16B's weights, for this many layers and experts."""
    three = [f"{name}_proj.weight" for name in ("gate", "up", "down")]
    names = {"model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"}
    for layer in range(LAYERS):
        path = f"model.layers.{layer}"
        names |= {f"{path}.input_layernorm.weight", f"{path}.post_attention_layernorm.weight"}
        names |= {f"{path}.self_attn.{name}_proj.weight" for name in "qkvo"}
        if layer == 0:
            names |= {f"{path}.mlp.{name}" for name in three}
            continue
        names |= {f"{path}.mlp.gate.weight"}
        names |= {f"{path}.mlp.shared_experts.{name}" for name in three}
        names |= {f"{path}.mlp.experts.{expert}.{name}" for expert in range(E) for name in three}
    return names


def test_generation_with_a_cache_equals_generation_without(model: PreTrainedModel) -> None:
    settings: dict[str, Any] = {
        "attention_mask": torch.ones_like(TOKENS),
        "max_new_tokens": 8,
        "min_new_tokens": 8,
        "do_sample": False,
    }
    cached = model.generate(TOKENS, use_cache=True, **settings)
    assert torch.equal(cached, model.generate(TOKENS, use_cache=False, **settings))
    assert len(set(cached[0, len(IDS) :].tolist())) > 1


def test_the_ways_to_compute_experts_agree(model: PreTrainedModel) -> None:
    results = []
    for name in ("eager", "grouped_mm"):
        model.set_experts_implementation(name)
        assert model.model.layers[1].mlp.experts.config._experts_implementation == name
        results.append(logits(model))
    torch.testing.assert_close(results[1], results[0], rtol=1e-5, atol=1e-5)


def test_the_loss_is_the_cross_entropy_of_the_next_tokens(model: PreTrainedModel) -> None:
    labels = TOKENS.clone()
    labels[0, :4] = -100
    found = model(TOKENS, labels=labels)
    expected = torch.nn.functional.cross_entropy(found.logits[0, 3:-1], TOKENS[0, 4:])
    torch.testing.assert_close(found.loss, expected)


def test_logits_of_the_last_tokens_can_be_asked_for(model: PreTrainedModel) -> None:
    with torch.no_grad():
        last = model(TOKENS, logits_to_keep=2, return_dict=False)[0]
    torch.testing.assert_close(last, logits(model)[:, -2:])


def test_the_router_computes_in_float32_in_a_model_of_bfloat16(folder: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    router = model.model.layers[1].mlp.gate
    seen: list[torch.Tensor] = []
    router.register_forward_hook(lambda _m, _i, outputs: seen.extend(outputs[:2]))
    logits(model)
    assert [one.dtype for one in seen] == [torch.float32, torch.float32]
    assert model.lm_head.weight.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("first", "freq", "layers"), [(0, 1, [0, 1, 2, 3]), (1, 1, [1, 2, 3]), (1, 2, [2])]
)
def test_layers_with_experts_are_those_of_the_two_keys(
    first: int, freq: int, layers: list[int]
) -> None:
    config = AutoConfig.for_model("deepseek", first_k_dense_replace=first, moe_layer_freq=freq)
    config.num_hidden_layers = 4
    kinds = enumerate(config.mlp_layer_types)
    assert [layer for layer, kind in kinds if kind == "sparse"] == layers
    assert "mlp_layer_types" not in config.to_dict()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"norm_topk_prob": True}, "norm_topk_prob=True: the routers of class deepseek"),
        ({"scoring_func": "sigmoid"}, "scoring_func='sigmoid': the routers of class deepseek"),
        ({"n_shared_experts": None}, "8 routed and None shared experts"),
    ],
)
def test_what_the_layers_cannot_compute_is_refused(changes: dict[str, Any], message: str) -> None:
    config = tiny_config("deepseek", **SIZES | changes)
    with pytest.raises(ValueError, match=message):
        AutoModelForCausalLM.from_config(config)
    with pytest.raises(UserError, match=message):
        build_on_meta(config)


@pytest.mark.parametrize(
    ("k", "options", "least"),
    [("1:2/2:4", {}, 2), (3, {"renorm": "unit"}, 3), (6, {"experts_policy": "top_p:0.5"}, 1)],
)
def test_k_by_layer_renormalisation_and_policies_take_effect(
    model: PreTrainedModel, k: object, options: dict[str, str], least: int
) -> None:
    published = logits(model)
    with experts_k(model, k, **options) as in_use:
        changed = logits(model)
    by_layer = in_use.observation.by_layer()
    assert min(min(histogram) for histogram in by_layer.values()) == least
    assert len(by_layer) == LAYERS - 1
    assert not torch.equal(changed, published)
    assert torch.equal(logits(model), published)
