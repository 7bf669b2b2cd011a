"""Start vLLM, watch its processes, and convert its failures to our errors."""

from __future__ import annotations

import os
import traceback
from contextlib import contextmanager
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.engines.checks.checkpoint import check_vllm_files
from moe_eval_plugin.engines.vllm.set_k import EARLIER_CODE
from moe_eval_plugin.errors import (
    EngineFailedError,
    InsufficientMemoryError,
    InvalidArgumentError,
    MissingDependencyError,
)
from moe_eval_plugin.models.releases.earlier_code import EARLIER, earlier_names, written_with
from moe_eval_plugin.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transformers import PretrainedConfig

    from moe_eval_plugin.engines.vllm.options import VLLMOptions

SECONDS_BETWEEN_LOOKS = 0.5
# The function of vLLM that makes its configuration of arguments; no weight is read before.
CONFIGURES = "create_engine_config"
MEMORY_ADVICE = (
    "Give it less to hold: a smaller max_model_len (the longest prompt and answer, in tokens), a "
    "smaller max_num_seqs, or dtype=bfloat16. Or give it more: another gpu_memory_utilization (on "
    "a CPU VLLM_CPU_KVCACHE_SPACE, in GiB), or more GPUs with tensor_parallel_size."
)


def built_for_device() -> str:
    """Return the kind of device that this vLLM runs on: ``cpu``, ``cuda``, ..."""
    from vllm.platforms import current_platform

    return str(current_platform.device_type)


def start(arguments: dict[str, Any]) -> Any:  # noqa: ANN401  (a vllm.LLM)
    """Start a ``vllm.LLM`` with its own arguments.

    Raises ``InvalidArgumentError``, ``MissingDependencyError``, ``InsufficientMemoryError`` or
    ``EngineFailedError``, and what ``check_vllm_files`` raises before vLLM starts.
    """
    from pydantic import ValidationError
    from vllm import LLM

    _check_platform(arguments)
    check_vllm_files(arguments["model"], arguments.get("revision"), arguments.get("load_format"))
    try:
        return LLM(**arguments)
    except Exception as error:
        text = " ".join(str(error).split())
        if isinstance(error, TypeError | ValidationError) or _is_of_configuration(error):
            message = f"vLLM does not accept these arguments: {text}"
            raise InvalidArgumentError(message) from error
        if isinstance(error, ImportError):
            message = f"vLLM needs a package for this model that is missing: {one_line(error)}."
            raise MissingDependencyError(message) from error
        if "memory" in text.lower():
            message = f"vLLM found too little memory and did not start: {text} {MEMORY_ADVICE}"
            raise InsufficientMemoryError(message) from error
        message = (
            f"vLLM did not start: {text} Its own message is above. If it is about memory: "
            f"{MEMORY_ADVICE}"
        )
        raise EngineFailedError(message) from error


@contextmanager
def earlier_code(options: VLLMOptions, config: PretrainedConfig) -> Iterator[None]:
    """Make code of a checkpoint for transformers 4 importable here and in vLLM's processes.

    vLLM has its own models, and takes the processor and the tokenizer of the checkpoint.
    """
    written = written_with(config) if options.trust_remote_code else ""
    if not written.startswith(EARLIER):
        yield
        return
    os.environ[EARLIER_CODE] = written
    try:
        with earlier_names(written):
            yield
    finally:
        del os.environ[EARLIER_CODE]


def _is_of_configuration(error: Exception) -> bool:
    """Whether vLLM raised this while it made its configuration of the arguments."""
    frames = traceback.walk_tb(error.__traceback__)
    made = any(frame.f_code.co_name == CONFIGURES for frame, _ in frames)
    return made and isinstance(error, ValueError | AssertionError | NotImplementedError)


def _check_platform(arguments: dict[str, Any]) -> None:
    from vllm.platforms import current_platform

    if current_platform.is_cpu() and arguments.get("enable_expert_parallel"):
        message = (
            "enable_expert_parallel=True is not possible on a CPU: vLLM's kernel for CPUs reads "
            "experts that its process does not have, and crashes (seen with vLLM 0.32.0). Use "
            "tensor_parallel_size alone, or GPUs."
        )
        raise InvalidArgumentError(message)


def wake_on_death(client: Any) -> Event:  # noqa: ANN401  (vLLM's client of its engine)
    """Wake callers that wait for a killed engine, until the returned event is set.

    vLLM's client notices the death, and then waits for ever for an answer. An engine in this
    process has nothing to watch.
    """
    from vllm.v1.engine.exceptions import EngineDeadError

    closed = Event()

    def watch() -> None:
        while not closed.wait(SECONDS_BETWEEN_LOOKS):
            if client.resources.engine_dead:
                error = EngineDeadError(suppress_context=True)
                client.outputs_queue.put_nowait(error)
                for waiting in [one for one in client.utility_results.values() if not one.done()]:
                    waiting.set_exception(error)
                return

    if hasattr(client, "outputs_queue"):
        Thread(target=watch, name="vllm-death-watch", daemon=True).start()
    return closed


@contextmanager
def engine_alive_or_fail() -> Iterator[None]:
    """Raise ``EngineFailedError`` if vLLM dies in the block."""
    from vllm.v1.engine.exceptions import EngineDeadError

    try:
        yield
    except EngineDeadError as error:
        message = (
            "vLLM died while it was answering. Its own message is above; if there is none, "
            "something killed its process (the system does so when memory runs out). "
            f"{MEMORY_ADVICE}"
        )
        raise EngineFailedError(message) from error
