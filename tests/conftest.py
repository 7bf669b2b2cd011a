"""What every test has: no hub, no outside settings, one thread, 100 columns, and its files."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.models.fake_hub import Hub

ROOT = Path(__file__).resolve().parents[1]
# Inputs for each test of `make fuzz`; 100 otherwise.
FUZZ_EXAMPLES = 10_000
CACHE = tempfile.TemporaryDirectory(prefix="moe-eval-test-cache-", ignore_cleanup_errors=True)


def fix_surroundings() -> None:
    """Fix the environment of all tests, and of the programs that they start."""
    for name in [*os.environ]:
        if name.startswith("MOE_EVAL_") and name != "MOE_EVAL_TEST_DATA":
            del os.environ[name]
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["HF_HOME"] = CACHE.name
    os.environ["WANDB_MODE"] = "disabled"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ["COLUMNS"] = "100"


# Libraries read these variables when they are imported, and other conftests may import some.
fix_surroundings()


def pytest_configure(config: pytest.Config) -> None:
    """Remove the cache at the end; the machines are shared, so no example has a deadline."""
    config.add_cleanup(CACHE.cleanup)
    settings.register_profile("shared-machine", deadline=None)
    settings.register_profile("fuzz", deadline=None, max_examples=FUZZ_EXAMPLES)
    settings.load_profile("shared-machine")


def pytest_runtest_setup() -> None:
    """Seed PyTorch before the fixtures of a test, which may build models."""
    seed_torch()


def pytest_runtest_call() -> None:
    """Seed PyTorch before a test, whose weights would depend on the tests before it otherwise."""
    seed_torch()


def seed_torch() -> None:
    """Seed PyTorch where it is imported."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


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


@pytest.fixture
def fake_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    """A model hub on this machine, with an empty cache."""
    import huggingface_hub

    from tests.models.fake_hub import Hub

    class ThisHub(Hub):
        models: ClassVar[dict[str, dict[str, Any]]] = {}
        requests: ClassVar[list[str]] = []

    server = ThreadingHTTPServer(("127.0.0.1", 0), ThisHub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", endpoint)
    url = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", url)
    huggingface_hub.close_session()
    yield ThisHub
    server.shutdown()
    thread.join()
    server.server_close()
    huggingface_hub.close_session()
