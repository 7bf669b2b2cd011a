"""A real, very small model under the engine of a bench, with a clock by hand where times matter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from moe_eval_plugin.bench.engines import transformers
from moe_eval_plugin.bench.engines.transformers import TransformersEngine
from moe_eval_plugin.bench.plan import Workload
from moe_eval_plugin.bench.workload.inputs import BenchInputs
from moe_eval_plugin.errors import (
    InsufficientMemoryError,
    InvalidExpertCountError,
    MeasurementError,
)
from moe_eval_plugin.experts.verification import OverrideNotEffectiveError
from moe_eval_plugin.measure.phases import ClockMarks
from moe_eval_plugin.models.costs.cost_model import AttentionShape, LanguageModelCost
from moe_eval_plugin.models.families import describe
from moe_eval_plugin.models.moe_layers import find_moe_layers
from moe_eval_plugin.testing import ManualClock, tiny_moe

if TYPE_CHECKING:
    from moe_eval_plugin.measure.timing import Clock


WORK = Workload(batch_size=3, prompt_tokens=7, new_tokens=5)


PREFILL_S, STEP_S, EXPERTS_S = 3.0, 0.5, 0.125


def an_engine(model: Any, clock: Clock | None = None, **changes: Any) -> TransformersEngine:
    inputs = BenchInputs(model.config, "cpu", torch.float32)
    timing = {} if clock is None else {"clock": clock, "marks": ClockMarks(lambda: None, clock)}
    return TransformersEngine(model, inputs, describe(model.config), **timing, **changes)


def slow_down(model: Any, clock: ManualClock) -> None:
    """Let each pass of a model take a time by hand: one for prompts, and one for each step."""

    def advance(_module: object, _args: object, kwargs: dict[str, Any]) -> None:
        clock.advance(PREFILL_S if kwargs["input_ids"].shape[1] > 1 else STEP_S)

    model.model.register_forward_pre_hook(advance, with_kwargs=True)


def test_every_time_of_a_generation_is_exact() -> None:
    model, clock = tiny_moe(), ManualClock()
    slow_down(model, clock)
    repetition = an_engine(model, clock).run(WORK)
    assert repetition.ttft_s == PREFILL_S
    assert repetition.e2e_latency_s == PREFILL_S + 4 * STEP_S
    assert repetition.tpot_s == STEP_S
    assert repetition.decode_tokens_per_s == 3 / STEP_S
    assert repetition.prefill_tokens_per_s == 21 / PREFILL_S
    assert repetition.n_input_tokens == 21
    assert repetition.phases is not None
    assert repetition.phases.n_decode_steps == 4
    assert repetition.peak_memory is not None
    assert (repetition.peak_memory_bytes or 0) > 0


def test_the_time_of_experts_is_that_of_one_layer_in_one_step() -> None:
    model, clock = tiny_moe(), ManualClock()
    for layer in find_moe_layers(model):
        experts = model.get_submodule(layer.path)
        experts.register_forward_hook(lambda *_: clock.advance(EXPERTS_S))
    assert an_engine(model, clock).observe(WORK).expert_layer_s == EXPERTS_S


def test_each_k_is_observed_and_the_model_is_restored() -> None:
    model = tiny_moe()
    engine = an_engine(model)
    for k in (4, 2, 1):
        with engine.at_k(k):
            observed = engine.observe(WORK)
        assert observed.verified.observed == k
        assert observed.verified.baseline == 4
        assert len(observed.decode_distinct_experts) == 3
        assert all(k <= n <= min(8, 3 * k) for n in observed.decode_distinct_experts)
        assert 0 < (observed.load_entropy or 0) <= 1
    with engine.at_k(None):
        assert engine.observe(WORK).verified.observed == 4


def test_a_router_that_keeps_its_k_ends_the_observation() -> None:
    model = tiny_moe()
    router = model.model.layers[1].mlp.gate
    router.register_forward_pre_hook(lambda module, _: setattr(module, "top_k", 4))
    engine = an_engine(model)
    with engine.at_k(2), pytest.raises(OverrideNotEffectiveError, match=r"layers\.1"):
        engine.observe(WORK)


def test_a_k_that_the_model_does_not_have_is_refused() -> None:
    engine = an_engine(tiny_moe())
    with pytest.raises(InvalidExpertCountError), engine.at_k(9):
        pass


def test_while_the_clock_runs_only_the_whole_model_is_watched() -> None:
    model = tiny_moe()
    engine = an_engine(model)
    seen: list[int] = []

    def count(*_: object) -> None:
        hooked = [m for m in model.modules() if m._forward_hooks or m._forward_pre_hooks]
        seen.append(len(hooked))

    with engine.at_k(2):
        engine.observe(WORK)
        handle = model.model.embed_tokens.register_forward_hook(count)
        engine.run(WORK)
        handle.remove()
    # The model itself, whose passes are marked, and the one that counts here.
    assert set(seen) == {2}
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_a_model_that_wants_to_end_early_is_kept_going() -> None:
    model = tiny_moe()
    with torch.no_grad():
        model.lm_head.weight.zero_()
    model.generation_config.eos_token_id = 0
    assert an_engine(model).run(WORK).new_tokens == 5


def test_an_answer_of_another_length_is_no_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_moe()
    monkeypatch.setattr(model, "generate", lambda input_ids, **_: input_ids)
    with pytest.raises(MeasurementError, match="5 tokens were requested, but 0 generated"):
        an_engine(model).run(WORK)


def test_memory_that_ends_is_told_and_the_model_works_on() -> None:
    model = tiny_moe()

    def fill(_module: object, args: tuple[torch.Tensor, ...]) -> None:
        if len(args[0]) > 3:
            torch.empty(2**58)

    model.model.embed_tokens.register_forward_pre_hook(fill)
    engine = an_engine(model)
    with pytest.raises(
        InsufficientMemoryError, match=r"^DefaultCPUAllocator: can't allocate memory"
    ):
        engine.run(Workload(4, 7, 5))
    assert engine.run(WORK).batch_size == 3


def test_other_faults_are_not_taken_for_full_memory() -> None:
    model = tiny_moe()

    def fail(*_: object) -> None:
        message = "shapes do not match"
        raise RuntimeError(message)

    model.model.embed_tokens.register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        an_engine(model).run(WORK)


def test_a_cache_larger_than_the_ram_is_refused_before_linux_ends_the_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cost = LanguageModelCost(1, 1, (), (AttentionShape(1, 1, cached_numbers=2**20),))
    engine = an_engine(tiny_moe(), cost=cost)
    needed = 3 * (7 + 5) * 2**20 * 4
    monkeypatch.setattr(transformers, "free_ram_bytes", lambda: needed - 1)
    with pytest.raises(InsufficientMemoryError, match=r"cache of keys and values takes 0\.1 GiB"):
        engine.run(WORK)
    monkeypatch.setattr(transformers, "free_ram_bytes", lambda: needed)
    engine.run(WORK)
