"""k is checked once, against a configuration that is read once."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from moe_eval_plugin.engines import expert_request
from moe_eval_plugin.engines.expert_request import ModelConfig, check_request
from moe_eval_plugin.engines.transformers.options import EngineOptions
from moe_eval_plugin.engines.vllm.options import VLLMOptions, check_vllm_request
from moe_eval_plugin.errors import InvalidArgumentError, InvalidExpertCountError

DEMO = EngineOptions("demo")


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The models that were built to count their parameters."""
    built: list[str] = []
    count = expert_request.parameters.count_parameters

    def counting(config: Any, **how: bool) -> Any:
        built.append(config.model_type)
        return count(config, **how)

    monkeypatch.setattr(expert_request.parameters, "count_parameters", counting)
    return built


def test_a_number_needs_no_model_to_be_built(counted: list[str]) -> None:
    request = check_request(EngineOptions("demo", experts_k="4"))
    assert request.resolved is not None
    assert request.resolved.num_experts_per_tok == 4
    check_vllm_request(VLLMOptions("demo", experts_k=4))
    assert counted == []


def test_schedules_by_layer_count_the_layers_of_a_model_once(counted: list[str]) -> None:
    model = ModelConfig.load(DEMO)
    for k in ("0-1:8/2-3:2", "0-2:8/3:1"):
        assert model.request(k).resolved is not None
    assert model.moe_layers == (0, 1, 2, 3)
    assert len(counted) == 1


def test_a_rule_alone_works_at_the_published_k() -> None:
    request = ModelConfig.load(DEMO).request(None, "top_p:0.5")
    assert request.resolved is not None
    assert request.resolved.num_experts_per_tok == 8
    assert ModelConfig.load(DEMO).request(None).resolved is None


def test_numbers_of_a_policy_by_layer_are_counted_before_a_weight_is_read() -> None:
    model = ModelConfig.load(DEMO)
    rule = model.request(None, "top_p:0.5/0.6/0.7/0.8").rule
    assert rule.parameters == ((0.5, 0.6, 0.7, 0.8),)
    with pytest.raises(InvalidArgumentError, match=r"3 numbers joined by /, and .* 4 MoE layers"):
        model.request(None, "top_p:0.5/0.6/0.7")


def test_the_configuration_of_another_model_is_not_used() -> None:
    model = ModelConfig.load(DEMO)
    assert check_request(EngineOptions("demo", experts_k=2), model).model is model
    other = EngineOptions("demo", trust_remote_code=True)
    assert check_request(other, model).model is not model


def test_what_cannot_be_used_is_refused_for_both_engines() -> None:
    for check, options in (
        (check_request, EngineOptions("demo", experts_k=33)),
        (check_vllm_request, VLLMOptions("demo", experts_k=33)),
    ):
        with pytest.raises(InvalidExpertCountError, match="32"):
            check(options)
    with pytest.raises(InvalidArgumentError, match="experts_policy=nothing"):
        check_request(EngineOptions("demo", experts_policy="nothing:1"))


def test_the_routed_flop_share_is_that_of_the_inspection_at_the_published_k() -> None:
    from moe_eval_plugin.models.inspection.report import inspect_model

    model = ModelConfig.load(DEMO)
    published = model.request(None).routed_flop_share
    assert published == inspect_model("demo").routed_flop_share
    shares = [model.request(str(k)).routed_flop_share for k in (8, 4, 2, 1)]
    assert shares[0] == published
    assert all(a and b and a > b > 0 for a, b in pairwise(shares))
    assert model.request("4").to_provenance()["routed_flop_share"] == shares[1]


@pytest.mark.parametrize("given", [("0-1:8/2-3:2", None), ("8/image:2", None), ("4", "top_p:0.5")])
def test_tokens_with_different_numbers_of_experts_have_no_single_share(
    given: tuple[str, str | None],
) -> None:
    assert ModelConfig.load(DEMO).request(*given).routed_flop_share is None
