from __future__ import annotations

import pytest
from transformers.utils import is_flash_attn_2_available, is_kernels_available

from moe_eval_plugin.engines.transformers.options import EngineOptions, check_available
from moe_eval_plugin.errors import InvalidArgumentError, MissingDependencyError


@pytest.mark.parametrize("wrong", [{"dtype": "int3"}, {"experts_implementation": "magic"}])
def test_values_that_no_option_can_take(wrong: dict[str, str]) -> None:
    (name, value), *_ = wrong.items()
    with pytest.raises(InvalidArgumentError, match=f"{name}={value}"):
        EngineOptions("demo", **wrong)


@pytest.mark.parametrize("device", ["gpu", "CUDA", "cuda:-1", "cuda:x", "0"])
def test_what_is_no_device_is_refused(device: str) -> None:
    with pytest.raises(InvalidArgumentError, match=r"device=.* Use cpu, cuda"):
        EngineOptions("demo", device=device)
    with pytest.raises(InvalidArgumentError, match=r"device_map=.* Use auto, balanced"):
        EngineOptions("demo", device_map=device)


def test_a_device_that_is_not_here_is_refused_before_anything_is_loaded() -> None:
    for device in ("cuda:99", "cpu:3", "meta"):
        with pytest.raises(InvalidArgumentError, match=f"device={device} is not possible"):
            check_available(EngineOptions("demo", device=device))
        with pytest.raises(InvalidArgumentError, match=f"device_map={device} is not possible"):
            check_available(EngineOptions("demo", device_map=device))
    check_available(EngineOptions("demo", device="cpu:0"))
    check_available(EngineOptions("demo", device_map="auto"))


def test_an_attention_that_is_not_known_or_not_installed_is_refused() -> None:
    for name in ("fast", "flash_attention", "flash_attention_9"):
        with pytest.raises(InvalidArgumentError, match=f"attn_implementation={name} is not poss"):
            check_available(EngineOptions("demo", attn_implementation=name))
    if not (is_flash_attn_2_available() or is_kernels_available()):
        for name in ("flash_attention_2", "kernels-community/flash-attn2"):
            with pytest.raises(MissingDependencyError, match=f"{name} is not installed here"):
                check_available(EngineOptions("demo", attn_implementation=name))
    for name in ("eager", "sdpa"):
        check_available(EngineOptions("demo", attn_implementation=name))
