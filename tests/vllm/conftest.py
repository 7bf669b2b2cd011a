"""What the tests of vLLM share: a small engine in this process, on the CPU."""

from __future__ import annotations

import os
import warnings
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from moe_eval_plugin.engines.vllm.engine import VLLMEngine

REASON = "vLLM is not installed here: make test-vllm sets up an environment for it"


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", "needs_vllm: runs vLLM, which has an environment of its own")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs vLLM where there is none; its own warnings are not ours to fix."""
    for item in items:
        if item.get_closest_marker("needs_vllm") is not None:
            item.add_marker(pytest.mark.filterwarnings("ignore"))
            if find_spec("vllm") is None:
                item.add_marker(pytest.mark.skip(reason=REASON))


@pytest.fixture(scope="session", autouse=True)
def _small_vllm(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep vLLM small, in one process and off the network; read when an engine starts.

    vLLM looks at each model class in a process of its own, which imports all of vLLM. Here it looks
    in this process, and keeps the answer in a cache, for the processes that tests start.
    """
    os.environ["VLLM_CACHE_ROOT"] = str(tmp_path_factory.mktemp("vllm"))
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    if find_spec("vllm") is not None:
        with warnings.catch_warnings(action="ignore"):
            from vllm.model_executor.models import registry
        registry._run_in_subprocess = lambda look: look()


@pytest.fixture(scope="module")
def start_engine() -> Iterator[Callable[..., VLLMEngine]]:
    """A function that starts an engine on the embedded model.

    The engine of the test before is returned where a new one would be the same: same options, and
    nothing changed since. Otherwise it is closed, so neighbouring tests should use equal options.
    """
    from moe_eval_plugin.engines.vllm.engine import VLLMEngine
    from moe_eval_plugin.engines.vllm.options import VLLMOptions

    running: list[VLLMEngine] = []

    def start(experts_k: object = None, verify: str = "observe", **engine: object) -> VLLMEngine:
        settings = {"dtype": "float32", "max_model_len": 128, "max_num_seqs": 8, **engine}
        settings.setdefault("enforce_eager", True)
        options = VLLMOptions("demo", None, experts_k, verify, engine=settings)
        if not running or running[-1].options != options:
            while running:
                running.pop().close()
            running.append(VLLMEngine(options))
        return running[-1]

    yield start
    while running:
        running.pop().close()
