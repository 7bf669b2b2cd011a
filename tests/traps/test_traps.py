"""Ways to get a number at a k that the model did not use, and what happens instead.

Each test is a trap that some tool falls into. The page ``docs/explanation/traps.md`` lists them
under the names of the tests.
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from types import MethodType
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText, Qwen3VLMoeConfig

from moe_eval_plugin.engines.transformers.engine import HFEngine
from moe_eval_plugin.engines.transformers.options import EngineOptions
from moe_eval_plugin.errors import (
    CheckpointMismatchError,
    InvalidArgumentError,
    InvalidExpertCountError,
    OverrideError,
    UnsupportedFamilyError,
)
from moe_eval_plugin.experts.schedules.parser import parse_experts_k
from moe_eval_plugin.experts.schedules.schedule import ResolvedSchedule, constant_schedule
from moe_eval_plugin.experts.tokens import TOKEN_KINDS
from moe_eval_plugin.experts.verification import (
    OverrideNotEffectiveError,
    VerifiedOverride,
    raise_if_ranks_differ,
    verify,
)
from moe_eval_plugin.model_adapters.hf_arguments import parse_arguments
from moe_eval_plugin.models.demo import MODEL_PATH
from moe_eval_plugin.models.families import describe
from moe_eval_plugin.override.apply import apply
from moe_eval_plugin.override.observe import observe
from moe_eval_plugin.testing import tiny_config, tiny_moe

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedModel

TOKENS = torch.arange(2, 26).reshape(2, 12)
LATENT = {"q_lora_rank": 16, "kv_lora_rank": 16, "qk_nope_head_dim": 8, "v_head_dim": 8}
DEEPSEEK = {**LATENT, "qk_rope_head_dim": 8, "num_key_value_heads": 2, "head_dim": 8}


def resolved(model: PreTrainedModel, experts_k: object) -> ResolvedSchedule:
    schedule = parse_experts_k(experts_k)
    assert schedule is not None
    return schedule.resolve(describe(model.config), range(model.config.num_hidden_layers))


def unchecked(k: int) -> ResolvedSchedule:
    """Return a request as it would be if the table of families did not refuse it."""
    schedule = constant_schedule(k)
    return ResolvedSchedule(schedule, {(None, *kind): k for kind in TOKEN_KINDS})


@torch.no_grad()
def check(model: PreTrainedModel, request: ResolvedSchedule) -> VerifiedOverride:
    with observe(model) as pending:
        model(input_ids=TOKENS)
    return verify(request, 4, pending.result())


def copy_of_demo(folder: Path, **changes: Any) -> Path:
    shutil.copytree(MODEL_PATH, folder, dirs_exist_ok=True)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    for path, value in changes.items():
        *parents, key = path.split("__")
        part = config
        for parent in parents:
            part = part[parent]
        part[key] = value
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    return folder


def test_config_changed_after_building() -> None:
    model = tiny_moe()
    request = resolved(model, 2)
    model.config.num_experts_per_tok = 2
    with pytest.raises(OverrideNotEffectiveError, match="2 requested, observed 4"):
        check(model, request)


def test_dead_copy_of_k() -> None:
    model = tiny_moe("ernie4_5_moe", moe_num_experts=8, moe_k=4, moe_layer_start_index=0)
    request = resolved(model, 2)
    for layer in model.model.layers:
        layer.mlp.top_k = 2
    with pytest.raises(OverrideNotEffectiveError, match="2 requested, observed 4"):
        check(model, request)


def test_flat_key_on_a_composite_config(tmp_path: Path) -> None:
    folder = copy_of_demo(tmp_path, num_experts_per_tok=2)
    model = AutoModelForImageTextToText.from_pretrained(folder)
    assert isinstance(model.config, Qwen3VLMoeConfig)
    published = describe(model.config).num_experts_per_tok
    with pytest.raises(OverrideNotEffectiveError, match=f"2 requested, observed {published}"):
        check(model, unchecked(2))


def test_misspelt_argument() -> None:
    with pytest.raises(InvalidArgumentError, match="Did you mean experts_k"):
        parse_arguments({"pretrained": "demo", "expert_k": 2})


def test_misspelt_config_key() -> None:
    model = tiny_moe(num_expert_per_tok=2)
    with pytest.raises(OverrideNotEffectiveError, match="2 requested, observed 4"):
        check(model, resolved(model, 2))


def test_router_that_ignores_k() -> None:
    config = tiny_config("phimoe", num_local_experts=8, num_experts_per_tok=4)
    with pytest.raises(UnsupportedFamilyError, match="two arg-max rounds"):
        constant_schedule(1).resolve(describe(config))


def test_unknown_router_that_ignores_k() -> None:
    model = tiny_moe("phimoe", num_local_experts=8, num_experts_per_tok=4)
    for module in model.modules():
        if hasattr(module, "top_k"):
            module.top_k = 1
    with pytest.raises(OverrideNotEffectiveError, match="1 requested, observed 2"):
        check(model, unchecked(1))


def test_layer_that_keeps_its_k() -> None:
    model = tiny_moe()
    request = resolved(model, 2)
    with apply(model, request):
        model.model.layers[1].mlp.gate.top_k = 4
        with pytest.raises(OverrideNotEffectiveError, match="in 1 of 3 MoE layers;") as caught:
            check(model, request)
    assert caught.value.wrong_layers() == ["model.layers.1.mlp.experts"]


def test_k_beyond_the_groups() -> None:
    config = tiny_config("deepseek_v3", n_routed_experts=8, n_group=4, topk_group=2, **DEEPSEEK)
    assert constant_schedule(4).resolve(describe(config)).num_experts_per_tok == 4
    with pytest.raises(InvalidExpertCountError, match="a token can reach 4 of them"):
        constant_schedule(5).resolve(describe(config))


@pytest.mark.parametrize("k", [9, 999])
def test_k_above_the_number_of_experts(k: int) -> None:
    with pytest.raises(InvalidExpertCountError, match="Use 1 to 8"):
        constant_schedule(k).resolve(describe(tiny_config()))


def test_k_of_zero() -> None:
    with pytest.raises(InvalidExpertCountError, match="Use 1 to 8"):
        constant_schedule(0).resolve(describe(tiny_config()))


def test_compiled_model() -> None:
    model = tiny_moe()
    request = resolved(model, 2)
    model.compile()
    with pytest.raises(OverrideError, match="is compiled"), apply(model, request):
        pass


def test_path_that_bypasses_the_experts() -> None:
    """Quantised kernels may read the router's weights and never call its experts."""
    model = tiny_moe()
    request = resolved(model, 2)

    def fused(_block: object, hidden: torch.Tensor) -> torch.Tensor:
        return hidden

    block = model.model.layers[2].mlp
    block.forward = MethodType(fused, block)
    with (
        apply(model, request),
        pytest.raises(OverrideNotEffectiveError, match="observed no token"),
    ):
        check(model, request)


def test_path_that_bypasses_the_experts_in_decode_alone() -> None:
    model = tiny_moe()
    request = resolved(model, 2)
    block = model.model.layers[2].mlp
    whole = block.forward

    def fused(_block: object, hidden: torch.Tensor) -> torch.Tensor:
        return hidden if hidden.shape[1] == 1 else whole(hidden)

    block.forward = MethodType(fused, block)
    with apply(model, request), observe(model) as pending:
        model.generate(TOKENS, min_new_tokens=3, max_new_tokens=3, do_sample=False)
    with pytest.raises(OverrideNotEffectiveError, match=r"layers\.2.*4 tokens were not observed"):
        verify(request, 4, pending.result())


def test_checkpoint_in_the_wrong_class(tmp_path: Path) -> None:
    folder = copy_of_demo(
        tmp_path,
        model_type="qwen3_vl",
        architectures=["Qwen3VLForConditionalGeneration"],
        text_config__model_type="qwen3_vl_text",
        vision_config__model_type="qwen3_vl",
    )
    with pytest.raises(CheckpointMismatchError, match=r"are missing and were made up.*not used"):
        HFEngine(EngineOptions(str(folder)))


def test_checkpoint_with_a_missing_weight(tmp_path: Path) -> None:
    file = copy_of_demo(tmp_path) / "model.safetensors"
    weights = load_file(file)
    name = next(name for name in weights if name.endswith("mlp.gate.weight"))
    del weights[name]
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(CheckpointMismatchError, match=f"1 weights are missing.*{re.escape(name)}"):
        HFEngine(EngineOptions(str(tmp_path)))


def test_second_model_in_one_process() -> None:
    model, other = tiny_moe(), tiny_moe(seed=1)
    with apply(model, resolved(model, 2)):
        assert check(other, resolved(other, 4)).observed == 4
        assert check(model, unchecked(2)).observed == 2


def test_exception_in_the_middle_of_a_run() -> None:
    model = tiny_moe()
    with pytest.raises(KeyError), apply(model, resolved(model, 2)):
        raise KeyError
    assert check(model, unchecked(4)).observed == 4


def test_nested_overrides() -> None:
    model = tiny_moe()
    with (
        apply(model, resolved(model, 2)),
        pytest.raises(OverrideError, match="cannot be nested"),
        apply(model, unchecked(1)),
    ):
        pass


def test_schedule_that_names_a_dense_layer() -> None:
    config = tiny_config(mlp_only_layers=[1])
    schedule = parse_experts_k("4/1:2")
    assert schedule is not None
    with pytest.raises(InvalidExpertCountError, match=r"The part 1:2 .* applies to no token"):
        schedule.resolve(describe(config), [0, 2])


def test_layer_skipped_by_mlp_only_layers() -> None:
    model = tiny_moe(mlp_only_layers=[1])
    request = resolved(model, 2)
    with apply(model, request):
        verified = check(model, request)
    assert (verified.observed, verified.n_layers) == (2, 2)


def test_draft_layers_of_a_checkpoint(tmp_path: Path) -> None:
    """Layers that predict further tokens (MTP) are in the checkpoint and not in the model."""
    model = tiny_moe("qwen3_next", layer_types=["full_attention"] * 3)
    model.save_pretrained(tmp_path)
    shutil.copy(MODEL_PATH / "tokenizer.json", tmp_path)
    shutil.copy(MODEL_PATH / "tokenizer_config.json", tmp_path)
    file = tmp_path / "model.safetensors"
    draft = {"mtp.layers.0.mlp.gate.weight": torch.zeros(8, 32)}
    save_file({**load_file(file), **draft}, file, metadata={"format": "pt"})
    engine = HFEngine(EngineOptions(str(tmp_path), experts_k=2, dtype="float32"))
    assert check(engine.model, unchecked(2)).n_layers == 3
    engine.close()


def test_live_change_behind_the_override() -> None:
    model = tiny_moe()
    request = resolved(model, 2)
    with apply(model, request):
        for layer in model.model.layers:
            layer.mlp.gate.top_k = 3
        with pytest.raises(OverrideNotEffectiveError, match="2 requested, observed 3"):
            check(model, request)


def test_ranks_with_different_k() -> None:
    verified = VerifiedOverride(
        2, 4, 2, n_layers=3, n_text_tokens=9, n_image_tokens=0, experts_k="2"
    )
    raise_if_ranks_differ([{"okvqa": verified}, {"okvqa": verified}, {}])
    other = replace(verified, requested=4, experts_k="4")
    with pytest.raises(OverrideError, match=r"okvqa \(rank 0: 2, rank 1: 4\)"):
        raise_if_ranks_differ([{"okvqa": verified}, {"okvqa": other}])


def test_schedule_for_decode_where_nothing_was_decoded() -> None:
    model = tiny_moe()
    request = resolved(model, "prefill:4/decode:2")
    with (
        apply(model, request),
        pytest.raises(OverrideNotEffectiveError, match=r"all tokens in decode: 2.*no token"),
    ):
        check(model, request)


def test_schedule_for_image_tokens_where_none_was_seen() -> None:
    model = tiny_moe()
    request = resolved(model, "text:4/image:2")
    with (
        apply(model, request),
        pytest.raises(OverrideNotEffectiveError, match=r"image tokens: 2 requested.*no token"),
    ):
        check(model, request)
