"""Parse ``experts_k``: a number, a schedule (grammar in ``schedule``), or a YAML file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import yaml

from moe_eval_plugin.errors import InvalidExpertCountError
from moe_eval_plugin.experts.schedules.schedule import ExpertSchedule, ScheduleRule
from moe_eval_plugin.experts.tokens import Modality, Phase
from moe_eval_plugin.yaml_text import load_texts

WANTED = (
    "Use a whole number of routed experts per token, for example experts_k=4, or a schedule: "
    "0-11:8/12-47:4 by layer, text:8/image:2, prefill:8/decode:4, 8/image+12-47:2, @file.yaml."
)
RULE_KEYS = ("k", "layers", "modality", "phase")
LAYERS = re.compile(r"(\d+)(?:-(\d+))?", re.ASCII)


def parse_experts_k(value: object) -> ExpertSchedule | None:
    """Return the schedule of the option ``experts_k``; ``None`` for a model as published.

    ``value`` is an ``int`` or a string in the grammar of ``schedule``; ``None`` means that the
    model runs as published. Anything else, an empty string too, raises
    ``InvalidExpertCountError``. Whether the schedule is possible for a model is decided by
    ``ExpertSchedule.resolve``.
    """
    if value is None:
        return None
    text = str(value).strip()
    if not text:
        raise _unreadable(text, "it has no value; leave it out for the published k")
    if isinstance(value, bool):
        raise _unreadable(text, "it is not a number")
    if text.startswith("@"):
        return _read_file(Path(text[1:]).expanduser())
    return ExpertSchedule(tuple(_rule(part.strip(), text) for part in text.split("/")))


def _rule(part: str, text: str) -> ScheduleRule:
    where, colon, number = part.rpartition(":")
    conditions = [condition.strip() for condition in where.split("+")] if colon else []
    given: dict[str, Any] = {}
    for condition in conditions:
        field, value = _condition(condition, text)
        if field in given:
            raise _unreadable(text, f"{part} has {field} twice; write two parts instead")
        given[field] = value
    return ScheduleRule(_count(number.strip(), text), **given)


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
        raise _unreadable(text, f"{given!r} is none of {known}")
    first, last = int(match[1]), int(match[2] or match[1])
    if first > last:
        raise _unreadable(text, f"layers {given} run backwards")
    return first, last


def _count(digits: str, text: str) -> int:
    digits = digits.removeprefix("+")
    if not (digits.isascii() and digits.isdigit()):
        raise _unreadable(text, f"{digits!r} is not a number of experts")
    return int(digits)


def _read_file(path: Path) -> ExpertSchedule:
    """Return the schedule in a YAML file: a list of rules.

    Each rule has ``k`` and any of ``layers``, ``modality`` and ``phase``.
    """
    text = f"@{path}"
    try:
        rules = load_texts(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise _unreadable(text, " ".join(str(error).split())) from error
    if not isinstance(rules, list) or not rules or not all(isinstance(r, dict) for r in rules):
        raise _unreadable(text, "the file must hold a list of rules, such as `- {k: 8}`")
    return ExpertSchedule(tuple(_file_rule(rule, text) for rule in rules))


def _file_rule(rule: dict[object, Any], text: str) -> ScheduleRule:
    unknown = [str(key) for key in rule if key not in RULE_KEYS]
    if unknown or "k" not in rule:
        raise _unreadable(
            text, f"the rule {rule} needs k, and may have only {', '.join(RULE_KEYS)}"
        )
    for key, allowed in (("modality", get_args(Modality)), ("phase", get_args(Phase))):
        if key in rule and rule[key] not in allowed:
            raise _unreadable(text, f"{key}: {rule[key]} is none of {', '.join(allowed)}")
    layers = rule.get("layers")
    return ScheduleRule(
        _count(str(rule["k"]), text),
        layers=None if layers is None else _layers(str(layers), text),
        modality=rule.get("modality"),
        phase=rule.get("phase"),
    )


def _unreadable(text: str, why: str) -> InvalidExpertCountError:
    return InvalidExpertCountError(f"experts_k={text} cannot be read: {why}. {WANTED}")
