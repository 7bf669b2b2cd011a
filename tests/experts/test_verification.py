from __future__ import annotations

import pytest

from moe_eval_plugin.experts.verification import OverrideNotEffectiveError, verify
from moe_eval_plugin.override.apply import apply
from moe_eval_plugin.override.observe import observe
from moe_eval_plugin.testing import tiny_moe
from tests.override.tiny_models import build, observed, resolve


def test_k_set_on_the_configuration_only_is_caught() -> None:
    model = build("qwen3_moe")
    resolved = resolve(model, 2)
    model.config.num_experts_per_tok = 2
    with pytest.raises(OverrideNotEffectiveError) as caught:
        verify(resolved, 4, observed(model))
    assert len(caught.value.wrong_layers()) == 3
    assert "2 requested, observed 4 by 24 tokens" in str(caught.value)


def test_one_layer_that_keeps_its_k_is_caught() -> None:
    model = build("qwen3_moe")
    resolved = resolve(model, 2)
    with apply(model, resolved):
        model.model.layers[2].mlp.gate.top_k = 4
        with pytest.raises(OverrideNotEffectiveError) as caught:
            verify(resolved, 4, observed(model))
    assert caught.value.wrong_layers() == ["model.layers.2.mlp.experts"]


def test_a_layer_that_no_token_reached_is_caught() -> None:
    model = build("qwen3_moe")
    resolved = resolve(model, 2)
    with apply(model, resolved), observe(model) as pending:
        pass
    with pytest.raises(OverrideNotEffectiveError, match="no token"):
        verify(resolved, 4, pending.result())


def test_without_a_request_the_observation_is_recorded() -> None:
    model = build("qwen3_moe")
    verified = verify(None, 4, observed(model))
    assert (verified.requested, verified.observed) == (None, 4)


def test_a_dense_model_has_no_observation() -> None:
    model = tiny_moe("qwen3")
    assert verify(None, None, observed(model)).observed is None
