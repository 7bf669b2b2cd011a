"""Parse the rules of a schedule: their texts, and their mappings in a file."""

from __future__ import annotations

import re
from typing import Any, get_args

from moe_eval_plugin.errors import InvalidExpertCountError
from moe_eval_plugin.experts.schedules.schedule import ExpertSchedule, ScheduleRule
from moe_eval_plugin.experts.tokens import Modality, Phase

WANTED = (
    "Use a whole number of routed experts per token, for example experts_k=4, or a schedule: "
    "0-11:8/12-47:4 by layer, text:8/image:2, prefill:8/decode:4, 8/image+12-47:2, @file.yaml."
)
RULE_KEYS = ("k", "layers", "modality", "phase")
LAYERS = re.compile(r"(\d+)(?:-(\d+))?", re.ASCII)


def parse_rule_text(part: str, text: str) -> ScheduleRule:
    """Return the rule of one part of ``text``, a schedule; raises ``InvalidExpertCountError``."""
    where, colon, number = part.rpartition(":")
    conditions = [condition.strip() for condition in where.split("+")] if colon else []
    given: dict[str, Any] = {}
    for condition in conditions:
        field, value = _condition(condition, text)
        if field in given:
            raise unreadable(text, f"{part} has {field} twice; write two parts instead")
        given[field] = value
    return ScheduleRule(_count(number.strip(), text), **given)


def rules_of_list(rules: object, text: str) -> ExpertSchedule:
    """Return the schedule of a list of mappings, each with ``k`` and where it applies.

    ``rules`` is read from the file that ``text`` names, with every value as its text. Raises
    ``InvalidExpertCountError``.
    """
    if not isinstance(rules, list) or not rules or not all(isinstance(r, dict) for r in rules):
        raise unreadable(text, "the file must hold a list of rules, such as `- {k: 8}`")
    return ExpertSchedule(tuple(_rule(rule, text) for rule in rules))


def rule_to_dict(rule: ScheduleRule) -> dict[str, Any]:
    """Return a rule as the mapping that ``rules_of_list`` reads."""
    first, last = rule.layers or (0, 0)
    where = {
        "layers": (first if first == last else f"{first}-{last}") if rule.layers else None,
        "modality": rule.modality,
        "phase": rule.phase,
    }
    named = {key: value for key, value in where.items() if value is not None}
    return {"k": rule.num_experts_per_tok, **named}


def unreadable(text: str, why: str) -> InvalidExpertCountError:
    """Return the error for an ``experts_k`` that cannot be read; it says what can."""
    return InvalidExpertCountError(f"experts_k={text} cannot be read: {why}. {WANTED}")


def _condition(condition: str, text: str) -> tuple[str, object]:
    if condition in get_args(Modality):
        return "modality", condition
    if condition in get_args(Phase):
        return "phase", condition
    return "layers", _layers(condition, text)


def _layers(given: str, text: str) -> tuple[int, int]:
    match = LAYERS.fullmatch(given)
    if match is None:
        known = "text, image, prefill, decode, a layer (3) or layers (0-11)"
        raise unreadable(text, f"{given!r} is none of {known}")
    first, last = int(match[1]), int(match[2] or match[1])
    if first > last:
        raise unreadable(text, f"layers {given} run backwards")
    return first, last


def _count(digits: str, text: str) -> int:
    digits = digits.removeprefix("+")
    if not (digits.isascii() and digits.isdigit()):
        raise unreadable(text, f"{digits!r} is not a number of experts")
    return int(digits)


def _rule(rule: dict[object, Any], text: str) -> ScheduleRule:
    unknown = [str(key) for key in rule if key not in RULE_KEYS]
    if unknown or "k" not in rule:
        raise unreadable(text, f"the rule {rule} needs k, and may have only {', '.join(RULE_KEYS)}")
    for key, allowed in (("modality", get_args(Modality)), ("phase", get_args(Phase))):
        if key in rule and rule[key] not in allowed:
            raise unreadable(text, f"{key}: {rule[key]} is none of {', '.join(allowed)}")
    layers = rule.get("layers")
    return ScheduleRule(
        _count(str(rule["k"]), text),
        layers=None if layers is None else _layers(str(layers), text),
        modality=rule.get("modality"),
        phase=rule.get("phase"),
    )
