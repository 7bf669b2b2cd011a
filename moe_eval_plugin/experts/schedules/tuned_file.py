"""The files of a schedule or of a policy, with the record of how it was found.

``experts_k=@FILE`` and ``experts_policy=@FILE`` read them, ``moe-eval tune`` writes them::

    experts_k:                      # or: experts_policy: "threshold:0.2"
    - {k: 8}
    - {k: 3, layers: 0-2}
    tuning: {name: tuned-0.5, method: search, ...}
    sensitivities:                  # of a schedule: what each layer loses at each k
    - {layer: 0, 1: 0.52, 2: 0.11}

A file that holds nothing but a list of rules is a schedule of the user's own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from moe_eval_plugin.errors import DataError, InvalidArgumentError
from moe_eval_plugin.experts.schedules.rules import rule_to_dict, rules_of_list
from moe_eval_plugin.experts.schedules.tuning_record import TuningRecord
from moe_eval_plugin.json_object import JsonObject
from moe_eval_plugin.yaml_text import load_texts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from moe_eval_plugin.experts.schedules.schedule import ExpertSchedule

KEYS = ("experts_k", "experts_policy", "tuning", "sensitivities")
# The name becomes that of a folder of results, and a part of tables.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}", re.ASCII)
HEADER = "# Pass it as {option}=@FILE. `tuning` says how it was found, and on which questions.\n"


@dataclass(frozen=True)
class TunedFile:
    """What a file holds: a schedule or a policy, and how it was found.

    Exactly one of ``schedule`` and ``policy`` is there. ``policy`` is the text of
    ``experts_policy``. ``tuning`` is ``None`` for what users wrote themselves, and otherwise that
    of ``schedule`` too.
    """

    schedule: ExpertSchedule | None = None
    policy: str | None = None
    tuning: TuningRecord | None = None
    sensitivities: tuple[Mapping[Any, Any], ...] = field(default=(), compare=False)
    """The losses that a schedule was found from, for readers: for each layer (and modality or
    phase) its ``layer`` and the loss at each k there alone, in nats per token of an answer. Empty
    where they were not kept; results do not have them."""

    def __post_init__(self) -> None:
        """Raise ``ValueError`` unless there is either a schedule or a policy."""
        if (self.schedule is None) == (self.policy is None):
            message = "a tuned file holds either a schedule or a policy"
            raise ValueError(message)
        if self.schedule and self.schedule.tuning != self.tuning:
            object.__setattr__(self, "schedule", replace(self.schedule, tuning=self.tuning))

    @property
    def text(self) -> str:
        """The content of the file, as YAML; it is read back as the same."""
        content: dict[str, Any] = {}
        if self.schedule:
            content["experts_k"] = [rule_to_dict(rule) for rule in self.schedule.rules]
        else:
            content["experts_policy"] = self.policy
        header = HEADER.format(option=next(iter(content)))
        if self.tuning:
            content["tuning"] = self.tuning.to_dict()
        rows = {"sensitivities": [dict(row) for row in self.sensitivities]}
        # A line for each row, however many k it has.
        return header + _dumped(content, 100) + (_dumped(rows, inf) if self.sensitivities else "")


def read_tuned_file(path: Path) -> TunedFile:
    """Return the schedule or the policy in a YAML file, and the record of how it was found.

    Raises ``DataError`` for a file that is missing or of another form, and
    ``InvalidExpertCountError`` for rules that cannot be read.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(" ".join(str(error).split())) from error
    return parse_tuned_text(text, str(path))


def parse_tuned_text(text: str, source: str) -> TunedFile:
    """Return what the text of a file holds; ``source`` names the file in errors.

    Raises the errors of ``read_tuned_file``.
    """
    try:
        content = load_texts(text)
        typed = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        raise DataError(" ".join(f"{source}: {error}".split())) from error
    rules_text = f"@{source}"
    if not isinstance(content, dict) or "k" in content:
        return TunedFile(rules_of_list(content, rules_text))
    _check_keys(content, source)
    tuning = _record(typed.get("tuning"), source)
    sensitivities = _sensitivities(typed.get("sensitivities"), source)
    if tuning and tuning.is_of_policy == ("experts_k" in content):
        kind = "experts_k" if "experts_k" in content else "experts_policy"
        message = f"{source} holds {kind}, which tuning.method {tuning.method} does not find"
        raise DataError(message)
    if "experts_k" in content:
        rules = rules_of_list(content["experts_k"], rules_text)
        return TunedFile(rules, tuning=tuning, sensitivities=sensitivities)
    policy = content["experts_policy"]
    if not isinstance(policy, str) or not policy.strip():
        message = f"{source}: experts_policy is {policy!r}, where NAME:NUMBER was expected"
        raise DataError(message)
    return TunedFile(policy=policy.strip(), tuning=tuning, sensitivities=sensitivities)


def read_policy_option(text: str) -> TunedFile:
    """Return the policy in the file that ``experts_policy=@FILE`` names.

    ``text`` is the value of the option, with its ``@``. Raises ``InvalidArgumentError`` for a file
    that cannot be read, and for one that holds a schedule.
    """
    path = Path(text.removeprefix("@")).expanduser()
    try:
        file = read_tuned_file(path)
    except DataError as error:
        message = f"experts_policy={text} cannot be read: {error}"
        raise InvalidArgumentError(message) from error
    if file.policy is None:
        message = f"{path} holds a schedule of k, and no policy. Pass it as experts_k={text}."
        raise InvalidArgumentError(message)
    return file


def _check_keys(content: dict[Any, Any], source: str) -> None:
    unknown = [str(key) for key in content if key not in KEYS]
    if unknown:
        message = f"{source} has the unknown key {unknown[0]}; a file may have {', '.join(KEYS)}"
        raise DataError(message)
    if ("experts_k" in content) == ("experts_policy" in content):
        has = "both experts_k and" if "experts_k" in content else "neither experts_k nor"
        message = f"{source} has {has} experts_policy: a file holds one of them"
        raise DataError(message)


def _sensitivities(rows: object, source: str) -> tuple[Mapping[Any, Any], ...]:
    """Return the rows as they are: nothing is computed from them."""
    found = [] if rows is None else rows
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        message = f"{source}: sensitivities is {rows!r:.80}, where a list of mappings was expected"
        raise DataError(message)
    return tuple(found)


def _dumped(content: Mapping[str, Any], width: float) -> str:
    return str(yaml.safe_dump(content, sort_keys=False, default_flow_style=None, width=width))


def _record(tuning: object, source: str) -> TuningRecord | None:
    if tuning is None:
        return None
    if not isinstance(tuning, dict):
        message = f"{source}: tuning is {tuning!r:.80}, where a mapping was expected"
        raise DataError(message)
    record = TuningRecord.from_dict(JsonObject(tuning, source, "tuning"))
    if not NAME.fullmatch(record.name):
        message = (
            f"{source}: tuning.name is {record.name!r}. Use letters, digits, dots, hyphens and "
            "underscores, up to 80 of them, and begin with a letter or a digit"
        )
        raise DataError(message)
    return record
