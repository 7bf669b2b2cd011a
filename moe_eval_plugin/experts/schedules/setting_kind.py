"""The kinds of settings: one k everywhere, a schedule by hand or by a search, and a policy."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from moe_eval_plugin.experts.schedules.routing_rule import UNIFORM

if TYPE_CHECKING:
    from moe_eval_plugin.experts.schedules.tuning_record import TuningRecord


class SettingKind(Enum):
    """How a setting chooses the number of experts of a token; the value is its name in words."""

    UNIFORM = "uniform k"
    SCHEDULE = "schedule by hand"
    SEARCHED = "searched schedule"
    POLICY = "policy"


def kind_of(
    policy: str | None, experts_k: str | None, tuning: TuningRecord | None = None
) -> SettingKind:
    """Return the kind of a setting, from its request as text and the record of its file.

    ``policy`` is in the form of the option ``experts_policy``, ``experts_k`` that of a schedule;
    ``None`` is a model as published. A schedule that ``moe-eval tune`` found stays a searched one
    where it has the same k everywhere.
    """
    if policy not in (None, UNIFORM):
        return SettingKind.POLICY
    if tuning is not None:
        return SettingKind.SEARCHED
    one_k = experts_k is None or experts_k.isdecimal()
    return SettingKind.UNIFORM if one_k else SettingKind.SCHEDULE
