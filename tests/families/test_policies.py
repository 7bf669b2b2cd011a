"""Policies on families that route in different ways, with a picture where they have one."""

from __future__ import annotations

import pytest
import torch

from moe_eval_plugin.experts.schedules.parser import parse_experts_k
from moe_eval_plugin.experts.verification import verify
from moe_eval_plugin.models.families import describe
from moe_eval_plugin.override.apply import apply
from moe_eval_plugin.override.policies.parsing import parse_rule

from .contract import (
    CASES,
    IS_BEFORE_5_18,
    is_missing,
    logits,
    model_of,
    observed,
    routed_layers,
)
from .tiny_configs import Case, K

# Sigmoid and bias, groups, two routers a layer, shared experts, softmax over the chosen.
WITH_IMAGES = ("qwen3_vl_moe", "ernie4_5_vl_moe", "glm4v_moe", "kimi_k25", "qwen3_5_moe")
TEXT_ONLY = ("olmoe", "deepseek_v3", "gpt_oss", "mixtral", "granitemoe")
# Its router of random weights scores all experts alike.
EVEN_WEIGHTS = ("kimi_k25", "entropy:0.5:0.99")

pytestmark = pytest.mark.skipif(IS_BEFORE_5_18, reason="experts can be dropped since 5.18")


def cases(ids: tuple[str, ...]) -> list[Case]:
    found = [case for case in CASES if case.id in ids]
    assert len(found) == len(ids)
    return [case for case in found if not is_missing(case)]


@pytest.mark.parametrize("case", cases(WITH_IMAGES), ids=lambda case: case.id)
def test_each_token_is_compared_with_the_threshold_of_its_modality(case: Case) -> None:
    schedule = parse_experts_k(K)
    assert schedule is not None
    resolved = schedule.resolve(describe(model_of(case).config))
    published = logits(case)
    for policy, text_k, image_k in (("modes:0:99:1", K, 1), ("modes:99:0:1/1", 1, K)):
        n_layers = len({path.split("layers.")[1].split(".")[0] for path in routed_layers(case)})
        rule = parse_rule(policy.replace("1/1", "/".join("1" * n_layers)), None)
        with apply(model_of(case), resolved, rule):
            observation = observed(case)
        verify(resolved, K, observation, rule)
        assert observation.n_tokens("image") == case.n_image_tokens > 0
        for path in routed_layers(case):
            assert set(observation.by_layer("text").get(path, {text_k: 1})) == {text_k}
            assert set(observation.by_layer("image").get(path, {image_k: 1})) == {image_k}
    assert torch.equal(logits(case), published)


@pytest.mark.parametrize("policy", ["entropy:0.5:0.99", "modes:0.2:0.3:1"])
@pytest.mark.parametrize("case", cases((*TEXT_ONLY, *WITH_IMAGES)), ids=lambda case: case.id)
def test_a_policy_drops_some_experts_and_is_verified(case: Case, policy: str) -> None:
    schedule = parse_experts_k(K)
    assert schedule is not None
    resolved = schedule.resolve(describe(model_of(case).config))
    rule = parse_rule(policy, None)
    with apply(model_of(case), resolved, rule):
        observation = observed(case)
    verified = verify(resolved, K, observation, rule)
    assert verified.experts_policy == policy
    assert verified.observed is not None
    assert 1 <= verified.observed <= K
    assert (verified.observed == K) == ((case.id, policy) == EVEN_WEIGHTS)
