"""Quantised checkpoints that cannot be loaded here: transformers' own check, made early."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

from moe_eval_plugin.errors import MissingDependencyError, UserError
from moe_eval_plugin.models.checkpoint import load_config
from moe_eval_plugin.models.weights.quantisation import check_quantisation, quantisation_method


def check(settings: Any, *, in_text: bool = False, dtype: str = "auto") -> None:
    config = load_config("demo")
    part = config.get_text_config() if in_text else config
    part.quantization_config = settings
    assert quantisation_method(config) == settings.get("quant_method", "unknown")
    check_quantisation("some/model", config, device_map="cpu", dtype=dtype)


@pytest.mark.parametrize("in_text", [False, True])
@pytest.mark.parametrize(
    ("package", "settings"),
    [
        ("bitsandbytes", {"quant_method": "bitsandbytes", "load_in_4bit": True}),
        ("bitsandbytes", {"quant_method": "bitsandbytes", "load_in_8bit": True}),
        ("optimum", {"quant_method": "gptq", "bits": 4}),
        ("gptqmodel", {"quant_method": "awq", "bits": 4}),
        ("torchao", {"quant_method": "torchao", "quant_type": "int4_weight_only"}),
        ("optimum.quanto", {"quant_method": "quanto", "weights": "int8"}),
        ("compressed_tensors", {"quant_method": "compressed-tensors"}),
    ],
)
def test_a_missing_package_is_named(package: str, settings: dict[str, Any], in_text: bool) -> None:
    if importlib.util.find_spec(package.partition(".")[0]):
        pytest.skip(f"{package} is installed")
    method = settings["quant_method"]
    with pytest.raises(MissingDependencyError, match=f"some/model is quantised with {method}") as e:
        check(settings, in_text=in_text)
    assert "pip install" in str(e.value)
    assert "Nothing was loaded" in str(e.value)


def test_a_device_that_cannot_run_it_is_named() -> None:
    with pytest.raises(UserError, match=r"higgs.* on cpu with dtype=auto.*another device"):
        check({"quant_method": "higgs", "bits": 4})


@pytest.mark.parametrize("settings", [{"bits": 4}, {"quant_method": "gptq", "bits": "many"}])
def test_settings_that_transformers_cannot_read_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="some/model is quantised with"):
        check(settings)


def test_an_unknown_method_is_not_read_as_plain_weights() -> None:
    with pytest.raises(UserError, match=r"exl2, which transformers \d.*does not know.*moe_vllm"):
        check({"quant_method": "exl2", "bits": 4})


def test_what_can_be_loaded_passes() -> None:
    check_quantisation("demo", load_config("demo"), device_map="cpu")
    # Without a GPU, transformers converts these to bfloat16.
    check({"quant_method": "fp8", "weight_block_size": [128, 128]})
