"""The wheel, built once for the tests in this folder and installed apart from the checkout."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.packaging.wheel_env import WheelEnvironment, make_environment

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def wheel_environment(tmp_path_factory: pytest.TempPathFactory) -> WheelEnvironment:
    """An environment that holds the wheel and borrows everything else."""
    return make_environment(tmp_path_factory.mktemp("wheel") / "environment")


@pytest.fixture
def empty_folder(tmp_path: Path) -> Path:
    """A folder from which nothing of the checkout can be imported."""
    folder = tmp_path / "empty"
    folder.mkdir()
    return folder
