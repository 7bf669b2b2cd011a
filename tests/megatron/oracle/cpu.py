"""What Megatron-core needs to run on a CPU: it asks for CUDA devices, streams and type names.

Nothing of Megatron's mathematics, of its parallelism or of its files is replaced.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import multiprocessing
import sys
from typing import TYPE_CHECKING, Any
from unittest import mock

import torch
from torch.overrides import TorchFunctionMode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class OnCPU(TorchFunctionMode):
    """Creates on the CPU what is asked for on a GPU, and names types as if it lay there."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        _types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        settings = dict(kwargs or {})
        if str(settings.get("device")).startswith("cuda"):
            settings["device"] = "cpu"
        if func is torch.Tensor.cuda:
            return args[0]
        result = func(*args, **settings)
        if func is torch.Tensor.type and len(args) == 1 and not settings:
            return result.replace("torch.", "torch.cuda.")
        return result


def _as_list(sizes: Any) -> Any:
    return sizes.tolist() if isinstance(sizes, torch.Tensor) and sizes.ndim == 1 else sizes


def before_import() -> None:
    """Leave out what Megatron imports without need: no compiler, no tracker."""
    sys.modules["wandb"] = None  # type: ignore[assignment]  (so that its import fails)

    def compiled(function: Any = None, **_: Any) -> Any:
        return function or (lambda wrapped: wrapped)

    torch.compile = compiled
    torch.set_num_threads(1)


def prepare_cuda() -> None:
    """Answer the questions about CUDA that need no GPU to be answered."""
    stream = mock.MagicMock()
    torch.cuda.current_device = lambda: "cpu"  # type: ignore[assignment, return-value]
    torch.cuda.synchronize = lambda *_, **__: None
    for name in ("Stream", "current_stream", "default_stream"):
        setattr(torch.cuda, name, lambda *_, **__: stream)
    torch.cuda.stream = contextlib.nullcontext  # type: ignore[assignment, misc]
    exchange = torch.distributed.all_to_all_single

    def with_lists(*args: Any, **settings: Any) -> Any:
        """Exchange tokens; their numbers, which Megatron copies from a GPU, must be lists."""
        return exchange(*args, **{name: _as_list(value) for name, value in settings.items()})

    torch.distributed.all_to_all_single = with_lists


def prepare_megatron() -> None:
    """Provide what Megatron's modules lack without a GPU, or with newer libraries."""
    import numpy as np
    from megatron.core import fp8_utils
    from megatron.core.dist_checkpointing.strategies import filesystem_async
    from megatron.core.tensor_parallel import random
    from megatron.core.transformer.moe import moe_utils
    from torch.distributed.checkpoint import filesystem

    # Dropout is 0, so nothing is drawn from the generators of the GPU.
    random.CudaRNGStatesTracker.fork = lambda *_: contextlib.nullcontext()
    if not hasattr(moe_utils, "te_general_gemm"):
        moe_utils.te_general_gemm = None  # 0.16 reads this name even without Transformer Engine
    if hasattr(fp8_utils, "_quantize_param_shard_impl"):
        # 0.12 calls this for its list of 8-bit parameters, which is empty here.
        fp8_utils._quantize_param_shard_impl = lambda *_: None
    vars(np).setdefault("product", np.prod)  # 0.12 uses the name of NumPy 1
    newer = "serialization_format" in inspect.signature(filesystem._write_item).parameters
    if newer and "serialization_format" not in inspect.getsource(filesystem_async):
        filesystem_async._write_item = functools.partial(  # 0.12 knows PyTorch's earlier function
            filesystem._write_item,
            serialization_format=filesystem.SerializationFormat.TORCH_SAVE,
        )


def prepare_saving() -> None:
    """Fork the process that passes on what was written, instead of one that imports all again."""
    from megatron.core.dist_checkpointing.strategies import filesystem_async

    filesystem_async._results_queue = multiprocessing.get_context("fork").Manager().Queue()
