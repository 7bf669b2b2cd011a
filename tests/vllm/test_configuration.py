"""k of models whose configuration, or whose text part alone, is vLLM's matter."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.engines.vllm.options import VLLMOptions, check_vllm_request, k_by_layer
from moe_eval_plugin.engines.vllm.set_k import KEY, _table
from moe_eval_plugin.errors import InvalidExpertCountError
from moe_eval_plugin.models.demo import MODEL_PATH

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.needs_vllm


def test_the_configuration_of_a_model_that_vllm_alone_has_is_read(tmp_path: Path) -> None:
    """No code comes with DeepSeek-VL2, and transformers has no class for it."""
    language = {
        "first_k_dense_replace": 1,
        "moe_layer_freq": 1,
        "n_routed_experts": 8,
        "num_experts_per_tok": 6,
        "num_hidden_layers": 3,
    }
    config = {"model_type": "deepseek_vl_v2", "language_config": language}
    (tmp_path / "config.json").write_text(json.dumps(config), "utf-8")
    options = VLLMOptions(str(tmp_path), experts_k="0-1:4/2:2")
    request = check_vllm_request(options)
    assert (request.description.num_experts, request.description.num_experts_per_tok) == (8, 6)
    assert request.model.moe_layers == (1, 2)
    assert k_by_layer(request) == {"1": 4, "2": 2}
    with pytest.raises(InvalidExpertCountError, match="Use 1 to 8"):
        check_vllm_request(replace(options, experts_k=9))


def test_k_is_known_while_the_text_part_of_a_model_is_built() -> None:
    """As Kimi-VL and the models of LLaVA's form build it, with its own configuration."""
    from vllm.config import ModelConfig, VllmConfig, set_current_vllm_config

    whole = ModelConfig(model=str(MODEL_PATH), hf_overrides={KEY: {"every": 2}})
    config = VllmConfig(model_config=whole)
    text = config.with_hf_config(whole.hf_text_config)
    assert not hasattr(text.model_config.hf_config, KEY)
    for part in (config, text):
        with set_current_vllm_config(part):
            assert _table() == {"every": 2}
