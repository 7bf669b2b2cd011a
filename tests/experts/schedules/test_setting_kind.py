from __future__ import annotations

import pytest

from moe_eval_plugin.experts.schedules.setting_kind import SettingKind, kind_of
from tests.report.schedule_runs import tuning_record


@pytest.mark.parametrize(
    ("policy", "experts_k", "is_tuned", "kind"),
    [
        (None, None, False, SettingKind.UNIFORM),
        ("uniform", None, False, SettingKind.UNIFORM),
        ("uniform", "4", False, SettingKind.UNIFORM),
        ("uniform", "8/2-3:4", False, SettingKind.SCHEDULE),
        ("uniform", "8/2-3:4", True, SettingKind.SEARCHED),
        # A search may find that one k everywhere is the best at its price.
        ("uniform", "4", True, SettingKind.SEARCHED),
        ("top_p:0.7", None, False, SettingKind.POLICY),
        ("modes:0.1:0.2", None, True, SettingKind.POLICY),
        ("top_p:0.7", "8/2-3:4", True, SettingKind.POLICY),
    ],
)
def test_the_kind_of_a_setting(
    policy: str | None,
    experts_k: str | None,
    is_tuned: bool,
    kind: SettingKind,
) -> None:
    assert kind_of(policy, experts_k, tuning_record() if is_tuned else None) is kind
