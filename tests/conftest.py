"""What every test has: no hub, no settings from outside, one thread, no deadline, and its files."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]


def pytest_configure(config: pytest.Config) -> None:
    """Fix the surroundings of all tests, and of the programs that they start.

    This runs before a test module is imported, because the libraries read these variables when
    they are imported.
    """
    cache = tempfile.TemporaryDirectory(prefix="moe-eval-test-cache-", ignore_cleanup_errors=True)
    config.add_cleanup(cache.cleanup)
    for name in [*os.environ]:
        if name.startswith("MOE_EVAL_") and name != "MOE_EVAL_TEST_DATA":
            del os.environ[name]
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["HF_HOME"] = cache.name
    os.environ["WANDB_MODE"] = "disabled"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # The machines are shared: how long an example takes says nothing about the code.
    settings.register_profile("shared-machine", deadline=None)
    settings.load_profile("shared-machine")


@pytest.fixture(scope="session")
def repository_root() -> Path:
    """The folder of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def vqa_data() -> Path:
    """A folder with official VQA files and recorded scorer cases; skips where there is none."""
    folder = Path(os.environ.get("MOE_EVAL_TEST_DATA", ROOT.parent / "shared" / "data" / "vqa"))
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there: set MOE_EVAL_TEST_DATA to a folder of VQA files")
    return folder.resolve()
