"""The wheel, built once and installed apart from the checkout, as `make wheel-env` does it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.packaging.wheel_env import ROOT, WheelEnvironment, ensure_environment

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def wheel_environment() -> WheelEnvironment:
    """An environment that holds the wheel and borrows everything else; tests leave it as it is."""
    return ensure_environment(ROOT / "build" / "wheel-env")


@pytest.fixture
def empty_folder(tmp_path: Path) -> Path:
    """A folder from which nothing of the checkout can be imported."""
    folder = tmp_path / "empty"
    folder.mkdir()
    return folder
