"""Check that a checkpoint can be loaded, before its weights are read; explain it where it cannot.

Configuration, names and headers of files, and the installed packages are looked at. What only the
loading itself can find is an error of transformers, which becomes one message.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Protocol

from moe_eval_plugin.engines.expert_request import ModelOptions
from moe_eval_plugin.errors import (
    CheckpointMismatchError,
    InsufficientMemoryError,
    MissingDependencyError,
    MoEEvalError,
    UserError,
)
from moe_eval_plugin.models.weights.completeness import check_files
from moe_eval_plugin.models.weights.quantisation import check_quantisation
from moe_eval_plugin.models.weights.unused import is_harmless, listed_as_unused, stored_weights
from moe_eval_plugin.text import first_few, one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import nn
    from transformers import PretrainedConfig

logger = logging.getLogger(__name__)

# The formats of vLLM that read safetensors or PyTorch files; None is its default.
READ_BY_VLLM = (None, "auto", "hf", "safetensors", "fastsafetensors", "pt", "bitsandbytes")


class LoadOptions(ModelOptions, Protocol):
    """The options that name a checkpoint, and how transformers loads it."""

    @property
    def dtype(self) -> str:
        """The requested data type, or ``auto``."""

    @property
    def device(self) -> str:
        """The device of the weights."""

    @property
    def device_map(self) -> str | None:
        """How the weights are spread over several devices, if they are."""


def check_checkpoint(options: LoadOptions, config: PretrainedConfig) -> None:
    """Raise ``UserError`` for a checkpoint that transformers cannot load on this machine.

    It is raised for files that are missing, cut off or of another form, and for a quantisation
    whose package is missing or that the device cannot run.
    """
    named = getattr(config, "transformers_weights", None)
    check_files(options.pretrained, options.revision, named=named)
    check_quantisation(
        options.pretrained,
        config,
        device_map=options.device_map or options.device,
        dtype=options.dtype,
    )


def check_vllm_files(pretrained: str, revision: str | None, load_format: object) -> None:
    """Raise ``UserError`` for files that vLLM cannot load, before it starts.

    vLLM would start with random numbers in place of some missing weights. ``load_format`` is its
    argument; formats that do not read a checkpoint's weight files are not checked.
    """
    if load_format in READ_BY_VLLM:
        check_files(pretrained, revision, any_name=True)


@contextmanager
def loading_errors(what: str, pretrained: str) -> Iterator[None]:
    """Raise ``UserError`` if the block cannot load a part of a checkpoint (``what``).

    Memory that runs out is an ``InsufficientMemoryError``, a package that is not installed a
    ``MissingDependencyError``.
    """
    import torch

    try:
        yield
    except MoEEvalError:
        raise
    except (torch.OutOfMemoryError, MemoryError) as error:
        message = (
            f"Memory ran out while the {what} of {pretrained} was loaded: {one_line(error)}. Use a "
            "smaller model or dtype, or more GPUs with device_map=auto."
        )
        raise InsufficientMemoryError(message) from error
    except Exception as error:
        logger.debug("Loading %s failed", pretrained, exc_info=True)
        missing = isinstance(error, ImportError)
        advice = (
            "Install what is missing"
            if missing
            else "Compare its files with the published ones, or upgrade transformers: "
            "pip install --upgrade transformers"
        )
        message = (
            f"The {what} of {pretrained} cannot be loaded with transformers "
            f"{version('transformers')}: {type(error).__name__}: {one_line(error)}. {advice}."
        )
        raise (MissingDependencyError if missing else UserError)(message) from error


def refuse_other_weights(
    model: nn.Module, source: str, revision: str | None, loading: Mapping[str, Any]
) -> None:
    """Raise ``CheckpointMismatchError`` if some weight was not loaded as it is stored.

    transformers initialises such weights at random and goes on. ``loading`` is its report: keys
    that are missing, unexpected, or of another shape. Unused weights that make no difference are
    accepted and logged.
    """
    stored = stored_weights(source, revision)
    unexpected = {str(key) for key in loading.get("unexpected_keys") or ()}
    harmless = {name for name in unexpected if is_harmless(name, model, stored)}
    kinds = {
        "are missing and were made up": loading.get("missing_keys"),
        "are not used by the model": unexpected - harmless,
        "have another shape": [key for key, *_ in loading.get("mismatched_keys") or ()],
    }
    found = [
        f"{len(keys)} weights {what} (first: {min(map(str, keys))})"
        for what, keys in kinds.items()
        if keys
    ]
    if found:
        message = (
            f"The checkpoint in {source} does not fit {type(model).__name__}: {'; '.join(found)}. "
            "A result would be that of another model. Check that config.json belongs to the "
            "weights, and that transformers is as new as the model needs."
        )
        raise CheckpointMismatchError(message)
    unused = sorted(harmless | {*listed_as_unused(model, stored)})
    if unused:
        logger.warning(
            "%s stores %d weights that %s does not use and that change no answer: %s.",
            source,
            len(unused),
            type(model).__name__,
            first_few(unused),
        )
