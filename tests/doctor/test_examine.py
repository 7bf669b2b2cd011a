"""The doctor, run for real."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from importlib import metadata
from typing import TYPE_CHECKING

from moe_eval_plugin.doctor.examine import examine
from tests.cli.programs import start
from tests.doctor.installations import package_that_raises, site_with

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

NAMES = {
    "python",
    "moe-eval-plugin",
    "lmms-eval",
    "lm-eval",
    "transformers",
    "datasets",
    "accelerate",
    "easy-vqa",
    "torch",
    "torchvision",
    "GPUs",
    "vllm",
    "lmms-eval plugin",
    "lm-eval plugin",
    "tasks",
    "demo model",
    "machine",
    "disk",
    "default model",
}


def test_every_part_is_examined_and_this_environment_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("MOE_EVAL_TEST_DATA", raising=False)
    checks = {check.name: check for check in examine()}
    assert set(checks) == NAMES
    assert checks["transformers"].detail.startswith(metadata.version("transformers"))
    for name in (
        "torch",
        "torchvision",
        "lmms-eval",
        "lmms-eval plugin",
        "lm-eval",
        "lm-eval plugin",
        "python",
    ):
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
    checks = {check.name: check for check in examine()}
    assert list(checks)[-3:] == ["torch", "GPUs", "torchvision"]
    assert checks["torch"].detail.startswith("2.15, a CPU build")
    assert checks["torchvision"].detail.endswith("OSError: libfoo.so is missing")


def test_only_the_subprocess_imports_torch() -> None:
    program = (
        "import sys; from moe_eval_plugin.doctor import examine as doctor; "
        "from subprocess import CompletedProcess; "
        "doctor.run_python = lambda _: CompletedProcess([], 1, '', ''); [*doctor.examine()]; "
        "print([m for m in ('torch', 'transformers', 'numpy') if m in sys.modules])"
    )
    assert start(sys.executable, "-c", program).stdout.strip() == "[]"
