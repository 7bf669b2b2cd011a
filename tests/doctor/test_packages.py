"""Checks of packages, and faults of an installation that are made for the purpose."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.doctor import packages
from moe_eval_plugin.hardware import imported_torch
from tests.cli.programs import start
from tests.doctor.installations import package_that_raises, site_with

if TYPE_CHECKING:
    from pathlib import Path


def test_of_torchvision_only_the_compiled_operators_are_loaded() -> None:
    shown = "print([m for m in sys.modules if m.startswith('torchvision.')])"
    run = start(sys.executable, "-c", f"{imported_torch.TORCHVISION_PROGRAM}\n{shown}")
    imported = run.stdout.splitlines()[-1]
    assert "'torchvision.extension'" in imported
    assert "'torchvision.ops'" not in imported
    assert "'torchvision.transforms'" not in imported


def test_wrong_build_of_torchvision_is_recognised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = "raise RuntimeError('operator torchvision::nms does not exist')\n"
    package_that_raises(tmp_path, "torchvision", fault)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    check = packages.check_torchvision()
    assert (check.status, check.detail) == ("fail", "operator torchvision::nms does not exist")
    assert check.remedy is not None
    assert "whl/cpu" in check.remedy


@pytest.mark.parametrize("name", ["torch", "torchvision"])
@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("raise OSError('libfoo.so is missing')", "OSError: libfoo.so is missing"),
        ("import os; os.abort()", "ended with code -6"),
    ],
)
def test_package_that_dies_does_not_kill_the_doctor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, statement: str, reason: str
) -> None:
    package_that_raises(tmp_path, name, statement)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    check = packages.check_torch()[0] if name == "torch" else packages.check_torchvision()
    assert (check.name, check.status) == (name, "fail")
    assert reason in check.detail


def test_package_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package_that_raises(tmp_path, "torchvision", "import time; time.sleep(60)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(imported_torch, "IMPORT_TIMEOUT_S", 1)
    assert "over 1 s" in packages.check_torchvision().detail


def test_version_outside_the_range_fails_with_a_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site_with(tmp_path, "lmms-eval", "0.3.0")
    monkeypatch.syspath_prepend(str(tmp_path))
    check = packages.check_package("lmms-eval")
    assert check.status == "fail"
    assert "0.3.0 is outside the supported range" in check.detail
    assert check.remedy == f"pip install 'lmms-eval{packages.supported_range('lmms-eval')}'"


def test_package_that_is_absent() -> None:
    check = packages.check_package("package-of-nobody")
    assert (check.status, check.detail) == ("fail", "not installed")


def test_demo_model_without_weights_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moe_eval_plugin.models.demo.MODEL_PATH", tmp_path)
    assert packages.check_demo().status == "fail"
    (tmp_path / "config.json").write_text("{}")
    assert "holds no weights" in packages.check_demo().detail
    (tmp_path / "model.safetensors").touch()
    assert packages.check_demo().status == "ok"
