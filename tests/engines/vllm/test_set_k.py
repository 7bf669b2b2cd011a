from __future__ import annotations

from types import ModuleType

from moe_eval_plugin.engines.vllm.set_k import set_k_when_built


def test_a_vllm_without_the_factory_is_left_alone() -> None:
    module = ModuleType("layer")
    before = dict(vars(module))
    set_k_when_built(module)
    assert vars(module) == before
