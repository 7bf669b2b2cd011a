"""What is computed from the text of a configuration is what the built modules show."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from moe_eval_plugin.models.checkpoint import load_config, resolve
from moe_eval_plugin.models.families import describe
from moe_eval_plugin.models.inspection import report as inspection
from moe_eval_plugin.models.inspection.parts import built_parts
from moe_eval_plugin.models.inspection.report import inspect_model
from moe_eval_plugin.models.inspection.stated import stated_model
from tests.models.fake_hub import Hub, published

if TYPE_CHECKING:
    from collections.abc import Mapping

DEMO: dict[str, Any] = json.loads(Path(resolve("demo"), "config.json").read_text())
# As published; of the 48 layers there are three.
QWEN3_VL: dict[str, Any] = {
    "model_type": "qwen3_vl_moe",
    "text_config": {
        "attention_bias": False,
        "decoder_sparse_step": 1,
        "dtype": "bfloat16",
        "head_dim": 128,
        "hidden_act": "silu",
        "hidden_size": 2048,
        "intermediate_size": 6144,
        "mlp_only_layers": [],
        "model_type": "qwen3_vl_moe_text",
        "moe_intermediate_size": 768,
        "norm_topk_prob": True,
        "num_attention_heads": 32,
        "num_experts": 128,
        "num_experts_per_tok": 8,
        "num_hidden_layers": 3,
        "num_key_value_heads": 4,
        "rope_scaling": {"mrope_section": [24, 20, 20], "rope_type": "default"},
        "rope_theta": 5000000,
        "vocab_size": 151936,
    },
    "tie_word_embeddings": False,
    "vision_config": {
        "deepstack_visual_indexes": [8, 16, 24],
        "depth": 27,
        "hidden_act": "gelu_pytorch_tanh",
        "hidden_size": 1152,
        "in_channels": 3,
        "intermediate_size": 4304,
        "model_type": "qwen3_vl_moe",
        "num_heads": 16,
        "num_position_embeddings": 2304,
        "out_hidden_size": 2048,
        "patch_size": 16,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
    },
}
QWEN3: dict[str, Any] = {
    **QWEN3_VL["text_config"],
    "model_type": "qwen3_moe",
    "rope_scaling": None,
    "sliding_window": 4096,
    "tie_word_embeddings": False,
    "use_sliding_window": False,
}


def changed(config: Mapping[str, Any], **values: object) -> dict[str, Any]:
    """Return a configuration with other values of the language model; ``None`` removes one."""
    is_nested = "text_config" in config
    text = {**(config["text_config"] if is_nested else config), **values}
    text = {name: value for name, value in text.items() if value is not None}
    return {**config, "text_config": text} if is_nested else text


def write(folder: Path, config: Mapping[str, Any]) -> str:
    (folder / "config.json").write_text(json.dumps(config))
    return str(folder)


@pytest.mark.parametrize(
    "config",
    [
        DEMO,
        QWEN3_VL,
        QWEN3,
        changed(DEMO, mlp_only_layers=[1]),
        changed(DEMO, decoder_sparse_step=2, attention_bias=True),
        changed({**DEMO, "tie_word_embeddings": False}, tie_word_embeddings=False),
        changed(QWEN3, tie_word_embeddings=True, torch_dtype="float16", dtype=None),
    ],
)
def test_the_text_shows_what_the_modules_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: dict[str, Any]
) -> None:
    folder = write(tmp_path, config)
    found = stated_model(folder)
    assert found is not None
    read = load_config(folder)
    description = describe(read)
    assert found[1:] == (description, built_parts(read, description, trust_remote_code=False))
    report = inspect_model(folder)
    monkeypatch.setattr(inspection, "stated_model", lambda *_: None)
    assert report == inspect_model(folder)


@pytest.mark.parametrize(
    "config",
    [
        {**DEMO, "tie_word_embeddings": False},
        {**DEMO, "auto_map": {"AutoConfig": "code.Config"}},
        {**DEMO, "torch_dtype": "float32"},
        {**DEMO, "dtype": "int3"},
        {**DEMO, "vision_config": {**DEMO["vision_config"], "depth": "2"}},
        {name: value for name, value in DEMO.items() if name != "vision_config"},
        {**DEMO, "vision_config": {**DEMO["vision_config"], "deepstack_visual_indexes": 1}},
        changed(DEMO, mlp_only_layers=1),
        changed(DEMO, head_dim=None),
        changed(DEMO, hidden_act="gelu"),
        changed(DEMO, mlp_only_layers=[0, 1, 2, 3]),
        changed(QWEN3, use_sliding_window=True),
        {**QWEN3, "quantization_config": {"quant_method": "fp8"}},
        {"model_type": "mixtral", "num_local_experts": 8, "num_experts_per_tok": 2},
        {"model_type": "llama"},
    ],
)
def test_a_text_that_leaves_something_open_is_left_to_transformers(
    tmp_path: Path, config: dict[str, Any]
) -> None:
    assert stated_model(write(tmp_path, config)) is None


def test_a_revision_of_a_folder_is_left_to_transformers(tmp_path: Path) -> None:
    assert stated_model(write(tmp_path, DEMO), "main") is None


def test_a_configuration_comes_from_the_hub(fake_hub: type[Hub]) -> None:
    fake_hub.models["some/model"] = {**published({}), "config": json.dumps(QWEN3).encode()}
    from_hub = stated_model("some/model")
    assert from_hub is not None
    assert from_hub[2].counts is not None


def test_a_model_of_the_hub_without_a_configuration_is_left_to_transformers(
    fake_hub: type[Hub],
) -> None:
    fake_hub.models["some/model"] = {**published({}), "gate": True}
    assert stated_model("some/model") is None
