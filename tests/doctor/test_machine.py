from __future__ import annotations

import pytest

from moe_eval_plugin.doctor import machine


@pytest.mark.parametrize(
    ("name", "value", "status", "part"),
    [
        ("MOE_EVAL_DATA", "/no/such/folder", "fail", "is not a folder"),
        ("MOE_EVAL_DATA", "/", "ok", "/"),
        ("MOE_EVAL_PRETAINED", "demo", "warn", "not a setting"),
        ("MOE_EVAL_PRETRAINED", "/no/such/folder", "fail", "not a local folder"),
        ("MOE_EVAL_PRETRAINED", "some/model", "ok", "some/model"),
        ("MOE_EVAL_SKIP_PREFLIGHT", "1", "ok", "1 (1: do not check"),
        ("MOE_EVAL_DATA_STRICT", "No", "ok", "No (1: refuse data sets"),
        ("MOE_EVAL_DATA_STRICT", "perhaps", "fail", "Use true or false"),
    ],
)
def test_settings_are_checked(name: str, value: str, status: str, part: str) -> None:
    check = machine.check_variables({name: value, "HOME": "/x"})[0]
    assert (check.name, check.status) == (name, status)
    assert part in check.detail


def test_a_misspelt_setting_is_answered_with_the_nearest_one() -> None:
    remedy = machine.check_variables({"MOE_EVAL_PRETAINED": "demo"})[0].remedy
    assert remedy is not None
    assert remedy.endswith("Did you mean MOE_EVAL_PRETRAINED?")


def test_hub_that_is_switched_off_is_no_failure() -> None:
    check = machine.check_network()
    assert check.status == "warn"
    assert "offline" in check.detail


def test_little_disk_space_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "LOW_DISK_BYTES", 2**60)
    check = machine.check_disk()
    assert check.status == "warn"
    assert check.remedy is not None
