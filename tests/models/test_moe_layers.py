"""Real tiny models of families that pass their choice of experts on in different ways."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, PreTrainedModel

from moe_eval_plugin.models import moe_layers
from moe_eval_plugin.models.moe_layers import Call, ChoiceReader
from moe_eval_plugin.override.observe import observe
from moe_eval_plugin.testing import TINY_TEXT, tiny_moe
from tests.families import moe_plus_plus_checkpoint

if TYPE_CHECKING:
    from moe_eval_plugin.experts.observation import Observation

K = 4
MLA = {
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 8,
    "v_head_dim": 8,
    "num_key_value_heads": 2,
    "head_dim": 8,
}
FAMILIES: dict[str, dict[str, Any]] = {
    "qwen3_moe": {},
    "olmoe": {},
    "mixtral": {"num_local_experts": 8},
    "gpt_oss": {"num_local_experts": 8},
    "granitemoeshared": {"num_local_experts": 8, "shared_intermediate_size": 16},
    "deepseek_v3": {
        **MLA,
        "n_routed_experts": 8,
        "n_group": 2,
        "topk_group": 2,
        "first_k_dense_replace": 1,
    },
    "llama4_text": {
        "num_local_experts": 8,
        "intermediate_size_mlp": 32,
        "interleave_moe_layer_step": 1,
    },
    "jetmoe": {"num_local_experts": 8, "kv_channels": 8},
    "doge": {"num_experts": 16, "is_moe": True, "keep_window_size": 64},
}
LAYERS = {
    "deepseek_v3": [f"model.layers.{i}.mlp.experts" for i in (1, 2)],
    "granitemoeshared": [f"model.layers.{i}.block_sparse_moe.experts" for i in range(3)],
    "llama4_text": [f"model.layers.{i}.feed_forward.experts" for i in range(3)],
    "jetmoe": [
        f"model.layers.{i}.{p}" for i in range(3) for p in ("self_attention.experts", "mlp")
    ],
    "doge": [f"model.layers.{i}.mlp" for i in range(3)],
}
TOKENS = torch.arange(2, 26).reshape(2, 12)


def build(model_type: str) -> PreTrainedModel:
    return tiny_moe(model_type, **FAMILIES[model_type])


def layers_of(model_type: str) -> list[str]:
    return LAYERS.get(model_type, [f"model.layers.{i}.mlp.experts" for i in range(3)])


@torch.no_grad()
def observe_generation(model: PreTrainedModel) -> Observation:
    with observe(model) as pending:
        model.generate(TOKENS, do_sample=False, min_new_tokens=3, max_new_tokens=3)
    return pending.result()


def set_k(model: PreTrainedModel, k: int) -> None:
    for module in model.modules():
        if isinstance(vars(module).get("top_k"), int):
            module.top_k = k


@pytest.mark.parametrize("model_type", FAMILIES)
@pytest.mark.parametrize("k", [1, K, 6])
def test_every_layer_shows_the_k_of_its_tokens(model_type: str, k: int) -> None:
    model = build(model_type)
    set_k(model, k)
    observation = observe_generation(model)
    assert set(observation.by_layer()) == set(layers_of(model_type))
    assert all(seen == {k: 24} for seen in observation.by_layer(phase="prefill").values())
    assert all(seen == {k: 4} for seen in observation.by_layer(phase="decode").values())
    assert observation.missed_tokens() == {}
    assert observation.mean_ffn_k() == observation.mean_k() == k
    for layer in observation.layers.values():
        assert sum(layer.load) == k * 28


@pytest.mark.parametrize("model_type", FAMILIES)
def test_weights_of_routed_experts_are_found(model_type: str) -> None:
    model = build(model_type)
    found = moe_layers.find_experts(model)
    num_experts = FAMILIES[model_type].get("num_experts", 8)
    assert all(model.get_submodule(path) is module for path, module in found.items())
    weights = [p for module in found.values() for p in module.parameters()]
    assert weights
    assert {len(p) for p in weights} == {num_experts}
    prefixes = tuple(layers_of(model_type))
    assert all(path.startswith(prefixes) for path in found)


def longcat(num_zero_experts: int) -> PreTrainedModel:
    own = {"num_layers": 1, "n_routed_experts": 8, "moe_topk": K, "zero_expert_num": 4}
    sizes = {"expert_ffn_hidden_size": 16, "ffn_hidden_size": 32}
    same = ("vocab_size", "hidden_size", "num_attention_heads", "pad_token_id", "eos_token_id")
    shared = {key: TINY_TEXT[key] for key in same}
    config = AutoConfig.for_model(
        "longcat_flash", **MLA, **shared, **sizes, **own | {"zero_expert_num": num_zero_experts}
    )
    return AutoModelForCausalLM.from_config(config).eval()


def test_zero_computation_experts_count_as_chosen_and_not_as_computed() -> None:
    model = longcat(4)
    computed = []
    handle = model.model.layers[0].mlp.experts.register_forward_pre_hook(
        lambda _module, args: computed.append((args[1] < 8).sum())
    )
    observation = observe_generation(model)
    handle.remove()
    (layer,) = observation.layers.values()
    assert (layer.num_experts, layer.num_zero_experts) == (8, 4)
    assert observation.mean_k() == K
    assert observation.mean_ffn_k() == pytest.approx(sum(computed) / 28)
    assert sum(layer.expert_load) == sum(computed) < sum(layer.load) == K * 28
    assert layer.chosen_kinds == {"ffn": sum(computed), "copy": sum(layer.load[8:])}


def test_without_zero_experts_chosen_is_computed() -> None:
    observation = observe_generation(longcat(0))
    assert observation.mean_k() == observation.mean_ffn_k() == K


def seq2seq(model_type: str, **changes: Any) -> PreTrainedModel:
    sizes = {"vocab_size": 64, "d_model": 32, "num_experts": 8, "pad_token_id": 0}
    config = AutoConfig.for_model(model_type, **sizes, **changes, decoder_start_token_id=2)
    torch.manual_seed(0)  # With some weights no layer has more tokens for an expert than it takes.
    return AutoModelForSeq2SeqLM.from_config(config).eval()


@torch.no_grad()
def test_switch_shows_its_router_and_tokens_beyond_the_capacity() -> None:
    model = seq2seq("switch_transformers", d_kv=8, d_ff=16, num_heads=2, expert_capacity=3)
    with observe(model) as pending:
        model(input_ids=TOKENS, decoder_input_ids=TOKENS[:, :2])
    histograms = pending.result().by_layer()
    assert len(histograms) == 6
    assert all(set(seen) <= {0, 1} for seen in histograms.values())
    encoder = [seen for path, seen in histograms.items() if path.startswith("encoder")]
    assert all(seen.get(0, 0) > 0 and seen[0] + seen[1] == 24 for seen in encoder)


@torch.no_grad()
def test_nllb_shows_both_experts() -> None:
    layers = {"encoder_layers": 2, "decoder_layers": 2, "encoder_sparse_step": 1}
    sizes = {"encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "decoder_sparse_step": 1}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    model = seq2seq("nllb-moe", **layers, **sizes, **heads, expert_capacity=64)
    with observe(model) as pending:
        model(input_ids=TOKENS, decoder_input_ids=TOKENS)
    histograms = pending.result().by_layer()
    assert len(histograms) == 4
    assert all(seen == {2: 24} for seen in histograms.values())


class ListedMoE(torch.nn.Module):
    """A layer as many checkpoints bring it: experts in a list, called with their rows."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = torch.nn.Linear(8, 4)
        self.experts = torch.nn.ModuleList(torch.nn.Linear(8, 8) for _ in range(4))

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        chosen = self.gate(hidden).topk(2).indices
        out = torch.zeros_like(hidden)
        for index, expert in enumerate(self.experts):
            rows = (chosen == index).any(-1)
            out[rows] += expert(hidden[rows])
        return out


class ListedModel(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = torch.nn.Embedding(64, 8)
        self.mlp = ListedMoE()

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        return self.mlp(self.embed(input_ids).flatten(end_dim=-2))


@torch.no_grad()
def test_a_list_of_experts_is_found_with_the_block_that_calls_them() -> None:
    model = ListedModel()
    (layer,) = moe_layers.find_moe_layers(model)
    assert (layer.path, layer.num_experts, layer.observed_module) == ("mlp.experts", 4, model.mlp)
    assert moe_layers.find_experts(model) == {"mlp.experts": model.mlp.experts}
    with observe(model) as pending:
        model(input_ids=TOKENS)
    assert pending.result().by_layer() == {"mlp.experts": {2: 24}}


@torch.no_grad()
def test_a_choice_reader_of_ones_own_makes_a_list_observable() -> None:
    def read(call: Call) -> torch.Tensor:
        return call.output.topk(2).indices

    model = ListedModel()
    model.mlp.num_experts = 4
    reader = ChoiceReader(
        "ListedMoE",
        "the gate's choice",
        read,
        observed_module="gate",
        reads_output=True,
        layer="experts",
    )
    with observe(model, (reader, *moe_layers.CHOICE_READERS)) as pending:
        model(input_ids=TOKENS)
    assert pending.result().by_layer() == {"mlp.experts": {2: 24}}


@torch.no_grad()
def test_a_kernel_that_calls_no_module_leaves_no_token() -> None:
    """As the mxfp4 path of gpt_oss does, and any kernel that replaces a layer."""
    model = build("gpt_oss")
    mlp = model.model.layers[1].mlp

    def fused(hidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        flat = hidden.flatten(end_dim=-2)
        logits, weights, index = mlp.router.forward(flat)
        return mlp.experts.forward(flat, index, weights).view_as(hidden), logits

    mlp.forward = fused
    observation = observe_generation(model)
    assert observation.by_layer()["model.layers.1.mlp.experts"] == {}
    assert observation.missed_tokens() == {"model.layers.1.mlp.experts": 28}


@torch.no_grad()
def test_a_layer_passed_by_in_decode_alone_is_missed() -> None:
    model = build("qwen3_moe")
    mlp = model.model.layers[1].mlp
    original = mlp.experts.forward

    def only_prefill(hidden: torch.Tensor) -> torch.Tensor:
        if hidden.shape[1] > 1:
            return type(mlp).forward(mlp, hidden)
        return original(hidden[:, 0], torch.zeros(2, 1, dtype=torch.long), torch.ones(2, 1))[
            :, None
        ]

    mlp.forward = only_prefill
    observation = observe_generation(model)
    assert observation.by_layer()["model.layers.1.mlp.experts"] == {K: 24}
    assert observation.missed_tokens() == {"model.layers.1.mlp.experts": 4}


@pytest.mark.parametrize(
    ("name", "is_routed"),
    [
        ("Qwen3MoeExperts", True),
        ("GraniteMoeSharedExperts", True),
        ("InklingSharedExperts", False),
        ("Mxfp4GptOssExperts", True),
        ("Qwen3OmniMoeThinkerTextExperts", True),
        ("Qwen3OmniMoeTalkerTextExperts", False),
        ("ExpertsInterface", False),
    ],
)
def test_class_names_of_routed_experts(name: str, *, is_routed: bool) -> None:
    module = type(name, (torch.nn.Module,), {"num_experts": 4})()
    model = torch.nn.ModuleDict({"mlp": module})
    assert [layer.path for layer in moe_layers.find_moe_layers(model)] == (
        ["mlp"] if is_routed else []
    )


def test_every_choice_reader_has_a_reason() -> None:
    assert all(reader.reason for reader in moe_layers.CHOICE_READERS)


def test_every_moe_layer_is_found_and_shared_experts_are_not() -> None:
    model = tiny_moe("deepseek_v2", n_routed_experts=8, n_shared_experts=1, first_k_dense_replace=1)
    assert list(moe_layers.find_experts(model)) == [f"model.layers.{i}.mlp.experts" for i in (1, 2)]


@torch.no_grad()
def test_the_last_four_experts_of_moe_plus_plus_do_not_count_as_computing() -> None:
    model = moe_plus_plus_checkpoint.build()
    with observe(model) as pending:
        model(torch.arange(32)[None])
    observation = pending.result()
    used = observation.mean_ffn_k()
    assert observation.distinct_k() == (2,)
    assert used is not None
    assert used < 2
    assert {(x.num_experts, x.num_zero_experts) for x in observation.layers.values()} == {(8, 4)}
    layer = observation.layers["layers.1.mlp.moe"]
    *_, first, second, copied, zero = layer.load
    kinds = {"ffn": sum(layer.load[:8]), "constant": first + second, "copy": copied, "zero": zero}
    assert layer.chosen_kinds == kinds
    assert sum(kinds.values()) == 64 > kinds["ffn"]
