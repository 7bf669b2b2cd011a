"""A pass from a layer on gives what a whole pass gives, in models of many families."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from moe_eval_plugin.models.moe_layers import find_experts
from moe_eval_plugin.tuning.cells import Cell, cells_of
from moe_eval_plugin.tuning.passes.batch_passes import BatchPasses
from moe_eval_plugin.tuning.passes.layer_calls import LayerCalls
from moe_eval_plugin.tuning.passes.measure import cell_candidates
from tests.tuning.passes.calibrations import Loaded, family

if TYPE_CHECKING:
    from moe_eval_plugin.engines.expert_request import ExpertRequest

# Deep features of an image between layers, two routers a layer, an image and grouped routing,
# grouped routing with shared experts, zero experts, layers that run several times, state spaces,
# biases, attention of its own.
FAMILIES = (
    *("qwen3_vl_moe", "ernie4_5_vl_moe", "glm4v_moe", "deepseek_v3", "longcat_flash"),
    *("inkling2_loop", "jamba", "gpt_oss", "qwen2_moe", "llava+mixtral"),
)


def lowered(model: Loaded, layer: int) -> ExpertRequest:
    cells = cells_of(model.config.moe_layers, "layer")
    return cell_candidates(model.config, cells, [2])[Cell(layer), 2].request


@pytest.mark.parametrize("name", FAMILIES)
def test_a_suffix_pass_is_a_whole_pass(name: str) -> None:
    model, batch = family(name)
    calls = LayerCalls(model.module)
    passes = BatchPasses(model, batch, calls)
    published = passes.run_published()
    computed: list[str] = []
    hooks = [
        module.register_forward_hook(lambda *_, path=path: computed.append(path))
        for path, module in find_experts(model.module).items()
    ]
    try:
        for layer in model.config.moe_layers:
            assert torch.equal(passes.run({layer}).logits, published.logits)
            model.at_k.set(lowered(model, layer))
            computed.clear()
            suffix = passes.run({layer}, observes=True)
            ran = set(computed)
            whole = passes.run_whole()
            assert torch.equal(suffix.logits, whole.logits)
            assert passes.losses(suffix) == passes.losses(whole)
            assert min(passes.losses(suffix)) > 0
            before = (f"{calls.path}.{n}." for n in range(layer))
            assert not any(path.startswith(one) for one in before for path in ran) or (
                name == "inkling2_loop"
            )
            assert suffix.observation is not None
            assert not suffix.observation.missed_tokens()
            model.at_k.close()
    finally:
        for hook in hooks:
            hook.remove()
        model.at_k.close()


def run_from(calls: LayerCalls, layer: int) -> frozenset[int]:
    with calls.replaying({layer}) as run:
        return run


def test_outputs_beyond_the_limit_are_not_kept() -> None:
    model, batch = family("qwen2_moe")
    everything = LayerCalls(model.module)
    passes = BatchPasses(model, batch, everything)
    passes.run_published()
    few = LayerCalls(model.module, limit_bytes=everything.nbytes // 2)
    passes = BatchPasses(model, batch, few)
    passes.run_published()
    assert 0 < few.nbytes <= everything.nbytes // 2
    assert [run_from(everything, n) for n in (0, 1)] == [{0, 1}, {1}]
    assert [run_from(few, n) for n in (0, 1)] == [{0, 1}, {0, 1}]
    model.at_k.set(lowered(model, 1))
    assert torch.equal(passes.run({1}).logits, passes.run_whole().logits)
    model.at_k.close()
