from __future__ import annotations

from moe_eval_plugin.experts.schedules.routing_rule import RoutingRule
from moe_eval_plugin.override.policies import parse_rule


def test_a_rule_is_written_as_it_is_read() -> None:
    rule = RoutingRule("top_p", 0.9)
    assert parse_rule(rule.policy_text, rule.renorm) == rule
