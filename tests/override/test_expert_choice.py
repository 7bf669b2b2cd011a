"""What no attribute can express, on tiny models: k by modality and phase, policies, weights."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
import torch
import transformers
from packaging.version import Version
from transformers import AutoConfig, AutoModelForCausalLM

from moe_eval_plugin.errors import InvalidArgumentError, UnsupportedFamilyError
from moe_eval_plugin.experts.schedules.parser import parse_experts_k
from moe_eval_plugin.experts.verification import verify
from moe_eval_plugin.models import moe_layers
from moe_eval_plugin.models.families import describe
from moe_eval_plugin.override.apply import apply
from moe_eval_plugin.override.observe import observe
from moe_eval_plugin.override.policies.parsing import parse_rule
from moe_eval_plugin.testing import tiny_moe
from tests.families.tiny_configs import text_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transformers import PreTrainedModel

    from moe_eval_plugin.experts.observation import Observation

pytestmark = pytest.mark.skipif(
    Version(transformers.__version__) < Version("5.18"),
    reason="experts can be dropped since transformers 5.18",
)

TOKENS = torch.arange(2, 26).reshape(2, 12)
IMAGE = 63
WITH_IMAGE = torch.tensor([[2, 3, IMAGE, IMAGE, IMAGE, IMAGE, 4, 5, 6, 7]])
GROUPED = {"n_group": 1, "topk_group": 1, "first_k_dense_replace": 1}
LATENT = {
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 8,
    "v_head_dim": 8,
    "num_key_value_heads": 2,
    "head_dim": 8,
}
CHANGES: dict[str, dict[str, Any]] = {
    "qwen3_moe": {},
    "olmoe": {},
    "mixtral": {"num_local_experts": 8},
    "gpt_oss": {"num_local_experts": 8},
    "deepseek_v3": {"n_routed_experts": 8, "n_shared_experts": 1, **GROUPED, **LATENT},
}


def build(model_type: str) -> PreTrainedModel:
    model = tiny_moe(model_type, **CHANGES[model_type])
    # A bias on the choice of experts, as trained checkpoints have it: by weight others come first.
    for name, buffer in model.named_buffers():
        if name.endswith("e_score_correction_bias"):
            buffer.copy_(torch.linspace(-0.5, 0.5, buffer.numel()))
    model.config.image_token_id = IMAGE
    return model


@torch.no_grad()
def run(
    model: PreTrainedModel,
    experts_k: object = None,
    policy: str | None = None,
    renorm: str | None = None,
    tokens: torch.Tensor = TOKENS,
) -> tuple[torch.Tensor, Observation]:
    schedule = parse_experts_k(experts_k)
    with ExitStack() as stack:
        # Installed before the override: the observer must see the rewritten choice all the same.
        pending = stack.enter_context(observe(model))
        if schedule is not None:
            layers = range(model.config.num_hidden_layers)
            resolved = schedule.resolve(describe(model.config), layers)
            stack.enter_context(apply(model, resolved, parse_rule(policy, renorm)))
        logits = model(input_ids=tokens).logits
    return logits, pending.result()


@pytest.fixture(params=list(CHANGES))
def model(request: pytest.FixtureRequest) -> PreTrainedModel:
    return build(request.param)


@pytest.mark.parametrize(("experts_k", "native_k"), [("text:2/image:5", 2), ("text:5/image:2", 5)])
def test_text_alone_runs_as_at_the_k_of_text(
    model: PreTrainedModel, experts_k: str, native_k: int
) -> None:
    logits, observation = run(model, experts_k)
    native, _ = run(model, native_k)
    assert torch.allclose(logits, native, atol=1e-5)
    assert observation.distinct_k() == (native_k,)


def test_image_tokens_run_as_at_their_own_k(model: PreTrainedModel) -> None:
    only_images = torch.full((1, 6), IMAGE)
    logits, observation = run(model, "text:2/image:5", tokens=only_images)
    native, _ = run(model, 5, tokens=only_images)
    assert torch.allclose(logits, native, atol=1e-5)
    assert observation.distinct_k("image") == (5,)


def test_each_token_of_a_mixed_prompt_uses_the_k_of_its_modality(model: PreTrainedModel) -> None:
    before, _ = run(model, tokens=WITH_IMAGE)
    logits, observation = run(model, "text:4/image:1", tokens=WITH_IMAGE)
    assert observation.distinct_k("text") == (4,)
    assert observation.distinct_k("image") == (1,)
    assert observation.n_tokens("image") == 4
    # No image token comes before the first two, so they are as they were.
    assert torch.allclose(logits[:, :2], before[:, :2], atol=1e-5)
    assert not torch.allclose(logits[:, 2:], before[:, 2:], atol=1e-3)
    assert torch.equal(run(model, tokens=WITH_IMAGE)[0], before)


@pytest.mark.parametrize("implementation", ["eager", "grouped_mm", "batched_mm"])
def test_every_implementation_of_the_experts_gives_the_same(implementation: str) -> None:
    model = build("qwen3_moe")
    expected, _ = run(model, "text:4/image:1", "threshold:0.8", tokens=WITH_IMAGE)
    model.set_experts_implementation(implementation)
    logits, observation = run(model, "text:4/image:1", "threshold:0.8", tokens=WITH_IMAGE)
    assert torch.allclose(logits, expected, atol=1e-4)
    assert observation.mean_k(modality="text") != 4


def test_the_loop_of_gpt_oss_cannot_drop_experts() -> None:
    model = build("gpt_oss")
    model.set_experts_implementation("eager")
    with pytest.raises(UnsupportedFamilyError, match="use experts_implementation=grouped_mm"):
        run(model, "text:4/image:1")


def test_threshold_one_leaves_the_best_expert(model: PreTrainedModel) -> None:
    logits, observation = run(model, 4, "threshold:1")
    assert observation.distinct_k() == (1,)
    if describe(model.config).norm_topk_prob and model.config.model_type != "deepseek_v3":
        assert torch.allclose(logits, run(model, 1)[0], atol=1e-5)


def test_a_policy_that_drops_nothing_changes_nothing(model: PreTrainedModel) -> None:
    logits, observation = run(model, 4, "top_p:1")
    assert torch.allclose(logits, run(model, 4)[0], atol=1e-5)
    assert observation.distinct_k() == (4,)


def test_a_policy_uses_fewer_experts_and_the_mean_says_so(model: PreTrainedModel) -> None:
    _, observation = run(model, 4, "top_p:0.6")
    mean = observation.mean_k()
    assert mean is not None
    assert 1 <= mean < 4
    assert observation.to_dict()["observed_num_experts_per_tok"] == mean


def weights_of_calls(
    model: PreTrainedModel, experts_k: object, policy: str | None, renorm: str | None
) -> Iterator[torch.Tensor]:
    seen = []
    handles = [
        experts.register_forward_pre_hook(lambda _module, args: seen.append(args[2]))
        for experts in moe_layers.find_experts(model).values()
    ]
    run(model, experts_k, policy, renorm)
    for handle in handles:
        handle.remove()
    yield from seen


def first_sum(*options: object) -> torch.Tensor:
    return next(weights_of_calls(*options)).float().sum(-1)  # type: ignore[arg-type]


@pytest.mark.parametrize("policy", [None, "threshold:0.9"])
def test_unit_makes_the_weights_add_up_to_one(model: PreTrainedModel, policy: str | None) -> None:
    for weights in weights_of_calls(model, 2, policy, "unit"):
        assert torch.allclose(weights.sum(-1), torch.ones(()), atol=1e-5)


def test_keep_mass_gives_fewer_experts_the_sum_of_the_baseline(model: PreTrainedModel) -> None:
    baseline = first_sum(model, 4, None, None)
    kept = first_sum(model, 2, None, "keep-mass")
    assert torch.allclose(kept, baseline, atol=1e-5)


def test_native_leaves_what_a_router_without_renormalisation_gives() -> None:
    model = build("olmoe")
    baseline, native = first_sum(model, 4, None, None), first_sum(model, 2, None, None)
    assert bool((native < baseline).all())
    dropped = first_sum(model, 4, "threshold:1", None)
    assert bool((dropped < native).all())


def test_native_gives_what_is_left_the_whole_sum_where_the_router_renormalises() -> None:
    model = build("qwen3_moe")
    model.config.norm_topk_prob = True
    for layer in model.model.layers:
        layer.mlp.gate.norm_topk_prob = True
    for weights in weights_of_calls(model, 4, "threshold:0.9", None):
        assert torch.allclose(weights.sum(-1), torch.ones(()), atol=1e-5)


def test_phases_use_their_own_k(model: PreTrainedModel) -> None:
    schedule = parse_experts_k("prefill:5/decode:2")
    assert schedule is not None
    resolved = schedule.resolve(describe(model.config))
    with apply(model, resolved), observe(model) as pending:
        model.generate(TOKENS, min_new_tokens=4, max_new_tokens=4, do_sample=False)
    observation = pending.result()
    assert observation.distinct_k(phase="prefill") == (5,)
    assert observation.distinct_k(phase="decode") == (2,)
    assert verify(resolved, 4, observation).experts_k == "prefill:5/decode:2"


def test_layers_use_their_own_k(model: PreTrainedModel) -> None:
    _, observation = run(model, "4/1:2/2:1")
    by_layer = {path: set(seen) for path, seen in observation.by_layer().items()}
    assert {path.split(".")[2]: k for path, k in by_layer.items()}["1"] == {2}
    assert {path.split(".")[2]: k for path, k in by_layer.items()}["2"] == {1}


def test_everything_is_put_back_after_an_error(model: PreTrainedModel) -> None:
    before, _ = run(model, tokens=WITH_IMAGE)
    state = {path: dict(vars(module)) for path, module in model.named_modules()}
    with pytest.raises(RuntimeError, match="in the middle"):
        fail_under_an_override(model)
    for path, module in model.named_modules():
        assert vars(module).keys() == state[path].keys()
        assert not module._forward_pre_hooks
        assert getattr(module, "_is_expert_parallel", False) is False
    assert torch.equal(run(model, tokens=WITH_IMAGE)[0], before)


def fail_under_an_override(model: PreTrainedModel) -> None:
    schedule = parse_experts_k("text:2/image:1")
    assert schedule is not None
    resolved = schedule.resolve(describe(model.config))
    with apply(model, resolved, parse_rule("top_p:0.5", "keep-mass")):
        model(input_ids=WITH_IMAGE)
        message = "in the middle"
        raise RuntimeError(message)


@pytest.mark.parametrize(
    ("experts_k", "policy", "reason"),
    [
        ("text:2/image:1", None, "cannot skip a dropped expert"),
        (2, "top_p:0.5", "cannot skip a dropped expert"),
        (1, None, None),
    ],
)
def test_experts_that_cannot_skip_take_a_plain_k_only(
    experts_k: object, policy: str | None, reason: str | None
) -> None:
    model = tiny_moe(
        "llama4_text", num_local_experts=4, num_experts_per_tok=2, intermediate_size_mlp=32
    )
    model.config.image_token_id = IMAGE
    if reason is None:
        assert run(model, experts_k)[1].distinct_k() == (1,)
        return
    with pytest.raises(UnsupportedFamilyError, match=reason):
        run(model, experts_k, policy)


@pytest.mark.parametrize("num_zero_experts", [4, 0])
@torch.no_grad()
def test_experts_that_fail_at_one_choice_compute_the_one_that_was_chosen(
    num_zero_experts: int,
) -> None:
    settings = {**text_settings("longcat_flash"), "zero_expert_num": num_zero_experts}
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model("longcat_flash", **settings))
    layer = model.model.layers[0].mlp
    hidden = torch.randn(1, 24, model.config.hidden_size)
    schedule = parse_experts_k(1)
    assert schedule is not None
    with apply(model, schedule.resolve(describe(model.config))), observe(model) as pending:
        output = layer(hidden)[0]
    assert set(pending.result().distinct_k()) == {1}
    assert "forward" not in vars(layer.experts)
    layer.router.top_k = 1
    _, weights, index = layer.router(hidden)
    with pytest.raises(ValueError, match="not enough values"):
        layer(hidden)
    experts = layer.experts
    for token, expert in enumerate(index[:, 0].tolist()):
        chosen = hidden[0, token]
        if expert < experts.num_routed_experts:
            gate, up = (experts.gate_up_proj[expert] @ chosen).chunk(2)
            chosen = experts.down_proj[expert] @ (experts.act_fn(gate) * up)
        torch.testing.assert_close(output[token], chosen * weights[token, 0])
    assert num_zero_experts == 0 or (index >= experts.num_routed_experts).any()


def test_a_policy_has_its_own_number_in_each_layer(model: PreTrainedModel) -> None:
    layers = len(moe_layers.find_experts(model))
    numbers = "/".join(["1", *["0.000001"] * (layers - 1)])
    _, observation = run(model, 4, f"threshold:{numbers}")
    ks = [set(seen) for seen in observation.by_layer().values()]
    assert ks == [{1}, *[{4}] * (layers - 1)]


def test_numbers_for_other_layers_are_refused_in_a_loaded_model(model: PreTrainedModel) -> None:
    layers = len(moe_layers.find_experts(model))
    numbers = "/".join(["0.5"] * (layers + 1))
    with pytest.raises(InvalidArgumentError, match=f"has {layers} MoE layers"):
        run(model, 4, f"threshold:{numbers}")
