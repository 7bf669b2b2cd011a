"""The type ``deepseek`` is registered where nobody else has it, and trusted code comes first."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from transformers import (
    CONFIG_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PretrainedConfig,
    Qwen2MoeConfig,
)

from moe_eval_plugin.api.experts import experts_k
from moe_eval_plugin.architectures.deepseek import DeepseekForCausalLM
from moe_eval_plugin.architectures.deepseek_config import DeepseekConfig
from moe_eval_plugin.architectures.register import MODEL_TYPE, register, register_config
from moe_eval_plugin.models.checkpoint import load_config
from moe_eval_plugin.models.demo import MODEL_PATH
from moe_eval_plugin.models.families import describe

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# As in the published config.json of DeepSeekMoE-16B, but for the sizes.
PUBLISHED: dict[str, Any] = {
    "architectures": ["DeepseekForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "aux_loss_alpha": 0.001,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "first_k_dense_replace": 1,
    "hidden_act": "silu",
    "hidden_size": 32,
    "initializer_range": 0.02,
    "intermediate_size": 48,
    "max_position_embeddings": 128,
    "model_type": "deepseek",
    "moe_intermediate_size": 16,
    "moe_layer_freq": 1,
    "n_routed_experts": 64,
    "n_shared_experts": 2,
    "norm_topk_prob": False,
    "num_attention_heads": 4,
    "num_experts_per_tok": 6,
    "num_hidden_layers": 3,
    "num_key_value_heads": 4,
    "pretraining_tp": 1,
    "rms_norm_eps": 1e-06,
    "rope_scaling": None,
    "rope_theta": 10000,
    "scoring_func": "softmax",
    "seq_aux": True,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.36.0",
    "use_cache": True,
    "vocab_size": 64,
}
# Code of a checkpoint with this model type, whose experts are a list, as DeepSeek's are.
OWN_CODE = """
import torch
from transformers import PretrainedConfig, PreTrainedModel

class DeepseekConfig(PretrainedConfig):
    model_type = "deepseek"

class DeepseekForCausalLM(PreTrainedModel):
    config_class = DeepseekConfig
    _no_split_modules = []

    def __init__(self, config):
        super().__init__(config)
        mlp = torch.nn.Module()
        mlp.experts = torch.nn.ModuleList(torch.nn.Module() for _ in range(2))
        for expert in mlp.experts:
            for name in ("gate_proj", "up_proj", "down_proj"):
                setattr(expert, name, torch.nn.Linear(4, 4, bias=False))
        self.mlp = mlp
        self.post_init()
"""
AUTO_MAP = {
    "AutoConfig": "own.DeepseekConfig",
    "AutoModelForCausalLM": "own.DeepseekForCausalLM",
}


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    """Begin and end each test with this package's registration."""
    register()
    yield
    CONFIG_MAPPING._extra_content.pop(MODEL_TYPE, None)
    register()


def write(folder: Path, **changes: Any) -> str:
    (folder / "config.json").write_text(json.dumps(PUBLISHED | changes), "utf-8")
    return str(folder)


def test_importing_the_module_imports_no_library() -> None:
    code = (
        "import sys, moe_eval_plugin.architectures.register; "
        "print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_published_configuration_is_read_without_its_code(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, auto_map=AUTO_MAP))
    assert type(config) is DeepseekConfig
    found = describe(config)
    assert (found.num_experts, found.num_experts_per_tok, found.num_shared_experts) == (64, 6, 2)
    assert found.norm_topk_prob is False
    assert found.max_num_experts_per_tok == 64
    model = AutoModelForCausalLM.from_config(config)
    assert type(model) is DeepseekForCausalLM
    with experts_k(model, 3) as in_use:
        model(model.dummy_inputs["input_ids"])
    assert in_use.observed == 3


def test_a_second_registration_changes_nothing() -> None:
    before = dict(CONFIG_MAPPING._extra_content)
    register()
    assert register_config()
    assert dict(CONFIG_MAPPING._extra_content) == before
    assert before[MODEL_TYPE] is DeepseekConfig


def test_the_tokenizer_of_a_folder_is_found(tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(MODEL_PATH)
    tokenizer.save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text("utf-8"))
    settings.pop("tokenizer_class", None)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings), "utf-8")
    found = AutoTokenizer.from_pretrained(write(tmp_path))
    assert found("a text")["input_ids"] == tokenizer("a text")["input_ids"]


class OfAnotherPackage(PretrainedConfig):  # type: ignore[misc]
    model_type = MODEL_TYPE


def test_the_registration_of_another_package_is_kept_and_named() -> None:
    AutoConfig.register(MODEL_TYPE, OfAnotherPackage, exist_ok=True)
    with pytest.warns(RuntimeWarning, match=f"{__name__} has registered the model type deepseek"):
        register()
    assert CONFIG_MAPPING[MODEL_TYPE] is OfAnotherPackage


def test_a_class_of_transformers_is_kept(recwarn: pytest.WarningsRecorder) -> None:
    CONFIG_MAPPING._extra_content[MODEL_TYPE] = Qwen2MoeConfig
    register()
    assert CONFIG_MAPPING[MODEL_TYPE] is Qwen2MoeConfig
    assert not recwarn.list


def test_trusted_code_of_a_checkpoint_comes_first_and_only_for_it(tmp_path: Path) -> None:
    own, plain = tmp_path / "own", tmp_path / "plain"
    own.mkdir(), plain.mkdir()
    write(own, auto_map=AUTO_MAP, rope_scaling={"rope_type": "default"}, rope_theta=1e4)
    (own / "own.py").write_text(OWN_CODE, "utf-8")
    config = load_config(str(own), trust_remote_code=True)
    assert type(config).__module__.startswith("transformers_modules")
    model = AutoModelForCausalLM.from_config(config, trust_remote_code=True)
    assert type(model).__module__.startswith("transformers_modules")
    # The names of its experts are not converted to those of a stack.
    model.save_pretrained(own)
    loaded, found = AutoModelForCausalLM.from_pretrained(
        own, trust_remote_code=True, output_loading_info=True
    )
    assert not any(found.values()), found
    assert set(loaded.state_dict()) == set(model.state_dict())
    assert type(load_config(write(plain), trust_remote_code=True)) is DeepseekConfig
    assert type(load_config(str(own))) is DeepseekConfig
