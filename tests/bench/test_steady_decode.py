from __future__ import annotations

import torch

from moe_eval_plugin.bench import steady_decode
from moe_eval_plugin.experts.schedules.schedule import constant_schedule
from moe_eval_plugin.models.families import describe
from moe_eval_plugin.override.apply import apply
from moe_eval_plugin.testing import tiny_moe
from tests.bench.model_state import state


def test_steady_decode_leaves_a_model_at_its_k() -> None:
    model = tiny_moe()
    two = constant_schedule(2).resolve(describe(model.config))
    told: list[str] = []
    with apply(model, two):
        before = state(model)
        found = steady_decode.steady_decode(
            model, batch_sizes=(1, 2), prompt_tokens=5, new_tokens=4, progress=told.append
        )
        assert state(model) == before
    assert [point.batch_size for point in found.points] == [1, 2]
    assert {point.observed_num_experts_per_tok for point in found.points} == {2}
    assert found.points[0].distinct_experts_per_decode_step == 2
    assert found.points[1].speed.n_repetitions == 3
    assert found.notes == ()
    assert found.to_dict()["points"][0]["speed"]["tpot_s"]["n"] == 3
    assert len(told) == 2 * 5


def test_steady_decode_grows_until_memory_ends() -> None:
    model = tiny_moe()

    def fill(_module: object, args: tuple[torch.Tensor, ...]) -> None:
        if len(args[0]) > 2:
            torch.empty(2**58)

    model.model.embed_tokens.register_forward_pre_hook(fill)
    found = steady_decode.steady_decode(model, prompt_tokens=4, new_tokens=3)
    assert [point.batch_size for point in found.points] == [1, 2]
    assert len(found.notes) == 1
    assert found.notes[0].startswith("batch 4: out of memory (DefaultCPUAllocator")
