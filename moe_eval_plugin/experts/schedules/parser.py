"""Parse ``experts_k``: a number, a schedule (grammar in ``schedule``), or a YAML file."""

from __future__ import annotations

from pathlib import Path

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.experts.schedules.rules import parse_rule_text, unreadable
from moe_eval_plugin.experts.schedules.schedule import ExpertSchedule
from moe_eval_plugin.experts.schedules.tuned_file import read_tuned_file


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
        raise unreadable(text, "it has no value; leave it out for the published k")
    if isinstance(value, bool):
        raise unreadable(text, "it is not a number")
    if text.startswith("@"):
        return _read_file(Path(text[1:]).expanduser())
    return ExpertSchedule(tuple(parse_rule_text(part.strip(), text) for part in text.split("/")))


def _read_file(path: Path) -> ExpertSchedule:
    text = f"@{path}"
    try:
        file = read_tuned_file(path)
    except DataError as error:
        raise unreadable(text, str(error).removesuffix(".")) from error
    if file.schedule is None:
        why = f"it holds the policy {file.policy}. Pass it as experts_policy={text}"
        raise unreadable(text, why)
    return file.schedule
