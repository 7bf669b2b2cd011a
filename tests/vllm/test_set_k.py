from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.errors import OverrideError
from tests.vllm.vllm_prompts import conversations, prompts

if TYPE_CHECKING:
    from collections.abc import Callable

    from moe_eval_plugin.engines.vllm.engine import VLLMEngine

    Start = Callable[..., VLLMEngine]


pytestmark = pytest.mark.needs_vllm


def test_each_layer_gets_its_own_k(start_engine: Start) -> None:
    engine = start_engine("0-1:8/2-3:2")
    experts = engine.verify(conversations())
    observed = [
        layer["observed_num_experts_per_tok"]["prefill"]["image"]
        for layer in experts.routing["layers"].values()
    ]
    assert observed == [8, 8, 2, 2]
    assert experts.requested is None
    assert experts.observed == 5


def test_a_vllm_that_is_kept_from_our_plugin_is_refused(
    start_engine: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moe_eval_plugin.engines.vllm.set_k.k_of_layer", lambda *_: None)
    with pytest.raises(OverrideError, match=r"experts_per_token is 8, 4 was requested"):
        start_engine(4)


def test_a_live_change_gives_what_a_new_engine_gives(start_engine: Start) -> None:
    expected = dict(start_engine(1).run(prompts(6, "circle"), at_once=1))
    engine = start_engine(8, enable_prefix_caching=True)
    engine.verify(conversations())
    dict(engine.run(prompts(6, "circle"), at_once=1))
    engine.set_k(1)
    assert engine.verify(conversations()).observed == 1
    changed = dict(engine.run(prompts(6, "circle"), at_once=1))
    for place in range(6):
        assert changed[place].log_probability == pytest.approx(
            expected[place].log_probability, abs=1e-5
        )
