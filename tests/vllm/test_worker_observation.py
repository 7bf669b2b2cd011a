from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from moe_eval_plugin.errors import OverrideError
from tests.vllm.vllm_prompts import conversations, prompts

if TYPE_CHECKING:
    from collections.abc import Callable

    from moe_eval_plugin.engines.vllm.engine import VLLMEngine

    Start = Callable[..., VLLMEngine]


pytestmark = pytest.mark.needs_vllm


def test_observing_leaves_no_trace_in_the_engine(start_engine: Start) -> None:
    engine = start_engine(2)
    before = [answer.text for _, answer in sorted(engine.run(prompts(), at_once=1), key=_place)]
    engine.verify(conversations())

    def leftovers(worker: Any) -> list[Any]:
        from moe_eval_plugin.engines.vllm.worker_observation import find_moe_layers

        runner = worker.model_runner
        layers = [layer.router.capture_fn for _, layer in find_moe_layers(runner.get_model())]
        return [*filter(None, layers), *({"execute_model"} & vars(runner).keys())]

    assert engine.llm.collective_rpc(leftovers) == [[]]
    after = [answer.text for _, answer in sorted(engine.run(prompts(), at_once=1), key=_place)]
    assert after == before


def test_a_k_that_was_changed_behind_our_back_is_found(start_engine: Start) -> None:
    engine = start_engine(4)

    def change(worker: Any) -> None:
        from moe_eval_plugin.engines.vllm.worker_observation import find_moe_layers

        _, layer = next(iter(find_moe_layers(worker.model_runner.get_model())))
        layer.router.top_k = 3

    # The last test of this engine, whose options do not show the change.
    engine.llm.collective_rpc(change)
    with pytest.raises(OverrideError, match=r"layers\.0\.mlp\.experts: 4 requested, observed 3"):
        engine.verify(conversations())
    with pytest.raises(OverrideError, match=r"Router\.top_k is 3, 4 was requested"):
        engine.workers.check_layers()


def _place(pair: tuple[int, Any]) -> int:
    return pair[0]
