from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.experts.schedules.routing_rule import RoutingRule
from moe_eval_plugin.override.policies.parsing import parse_rule

SHARES = st.floats(0, 1, exclude_min=True)
BY_LAYER = st.lists(SHARES, min_size=2, max_size=6).map(tuple)


THRESHOLDS = st.floats(0, allow_infinity=False)
IMPORTANCES = st.floats(0, exclude_min=True, allow_infinity=False)
RULES = (
    st.builds(lambda share: RoutingRule("top_p", (share,)), SHARES | BY_LAYER)
    | st.builds(
        lambda low, high: RoutingRule("entropy", (low * high, high)),
        st.floats(0, 0.99),
        st.floats(0.01, 1),
    )
    | st.builds(
        lambda text, image, by_layer: RoutingRule("modes", (text, image, by_layer)),
        THRESHOLDS,
        THRESHOLDS,
        IMPORTANCES | st.lists(IMPORTANCES, min_size=2, max_size=6).map(tuple),
    )
)


@given(RULES)
def test_a_rule_is_read_as_it_is_written(rule: RoutingRule) -> None:
    assert not {",", "=", " "} & set(rule.policy_text)
    assert parse_rule(rule.policy_text, rule.renorm) == rule


def test_the_text_has_no_more_digits_than_it_needs() -> None:
    assert RoutingRule("top_p", (0.9,)).policy_text == "top_p:0.9"
    assert RoutingRule("top_p", ((1.0, 0.1 + 0.2),)).policy_text == "top_p:1/0.30000000000000004"


def test_numbers_by_layer_are_as_many_as_the_layers() -> None:
    RoutingRule("top_p", (0.9,)).check_layers(4, "tiny-moe")
    RoutingRule("top_p", ((0.9, 0.8),)).check_layers(2, "tiny-moe")
    with pytest.raises(InvalidArgumentError, match="has 2 numbers joined by /, and tiny-moe has 4"):
        RoutingRule("top_p", ((0.9, 0.8),)).check_layers(4, "tiny-moe")
