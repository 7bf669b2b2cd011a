from __future__ import annotations

import pytest

from moe_eval_plugin.results import versions
from moe_eval_plugin.results.versions import HOSTS, PACKAGES, installed_versions, versions_with


def test_versions_name_what_is_installed() -> None:
    found = installed_versions()
    assert set(found) == set(PACKAGES)
    assert found["lmms-eval"] is not None
    assert found["moe-eval-plugin"] is not None


@pytest.mark.parametrize("absent", HOSTS)
def test_a_harness_that_is_absent_is_left_out(monkeypatch: pytest.MonkeyPatch, absent: str) -> None:
    known = {"lmms-eval": "0.7.3", "lm-eval": "0.4.13", "torch": "2.9", absent: None}
    monkeypatch.setattr(versions, "_version", known.get)
    found = installed_versions()
    assert absent not in found
    assert found["torch"] == "2.9"
    assert found["snowballstemmer"] is None


@pytest.mark.parametrize("host", HOSTS)
def test_the_version_of_another_harness_is_of_no_effect(host: str) -> None:
    found = versions_with(
        host, {"torch": "2.9", "vllm": "0.32.0", "lmms-eval": "1", "lm-eval": "2"}
    )
    assert list(found) == ["torch", "vllm", host]
