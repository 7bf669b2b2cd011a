"""Run directories that Megatron wrote, unpacked once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conversion.checkpoints import RELEASES, unpack

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session", params=RELEASES)
def each_run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the run directory of each release of Megatron-core; tests do not change it."""
    release: str = request.param
    return unpack(release, tmp_path_factory.mktemp(f"core-{release}"))


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run directory whose metadata name PyTorch's classes only; tests do not change it."""
    return unpack("0.16.1", tmp_path_factory.mktemp("core"))
