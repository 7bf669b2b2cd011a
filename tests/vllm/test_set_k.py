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


def test_a_vllm_that_is_kept_from_our_plugin_is_refused(
    start_engine: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moe_eval_plugin.engines.vllm.set_k.k_of_layer", lambda *_: None)
    with pytest.raises(OverrideError, match=r"experts_per_token is 8, 4 was requested"):
        start_engine(4)


def test_a_live_change_gives_what_a_new_engine_gives(start_engine: Start) -> None:
    """Its caches are on: what was computed with one k must not serve another one."""
    expected = dict(start_engine(1).run(prompts(6, "circle"), at_once=1))
    # Blocks of 32 tokens, so that a prompt of 43 has one that the cache takes.
    engine = start_engine(8, block_size=32)
    # Prompts that were asked before are observed whole.
    for _ in range(2):
        assert engine.verify(conversations()).n_image_tokens == 3 * 16
    dict(engine.run(prompts(6, "circle"), at_once=1))
    assert [n_from_cache(engine) for _ in range(2)] == [0, 32]
    engine.set_k(1)
    assert n_from_cache(engine) == 0
    verified = engine.verify(conversations())
    assert (verified.observed, verified.n_image_tokens) == (1, 3 * 16)
    changed = dict(engine.run(prompts(6, "circle"), at_once=1))
    for place in range(6):
        assert changed[place].log_probability == pytest.approx(
            expected[place].log_probability, abs=1e-5
        )


def n_from_cache(engine: VLLMEngine) -> int:
    """Ask a question of text, and return how many of its tokens vLLM took from its cache."""
    _, (output,) = engine.run_tokens([[5 + i % 90 for i in range(43)]], {"max_tokens": 1})
    return int(output.num_cached_tokens)
