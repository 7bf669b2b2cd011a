"""Checkpoints that Megatron-core itself wrote, with its logits, and what they are converted to."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.megatron.oracle.shapes import write_run

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.megatron.oracle.shapes import Shape

ROOT = Path(__file__).resolve().parents[2]


def megatron(version: str) -> Path:
    """Return the folder of a release; without it a test is skipped, and fails where CI runs."""
    folder = ROOT / "build" / f"megatron-{version}"
    if not (folder / ".installed").is_file():
        reason = f"Megatron-core {version} is not in {folder}: make megatron-env"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return folder


class Oracle:
    """Runs Megatron-core in a process of its own, once for all runs of a release."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @cache  # noqa: B019  (one for a session)
    def runs(self, version: str, shapes: tuple[tuple[str, Shape], ...]) -> Mapping[str, Path]:
        """Return the run directory of each shape by its name."""
        folder = self._folder / f"{version}-{'-'.join(name for name, _ in shapes)}"
        program = Path(__file__).with_name("oracle")
        arguments = [write_run(name, shape) for name, shape in shapes]
        done = subprocess.run(
            [sys.executable, "-W", "ignore", str(program), str(folder), *arguments],
            env={**os.environ, "PYTHONPATH": str(megatron(version))},
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(f"megatron-core {version}\n"), done.stdout
        return {name: folder / name for name, _ in shapes}


@pytest.fixture(scope="session")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Oracle:
    return Oracle(tmp_path_factory.mktemp("oracle"))
