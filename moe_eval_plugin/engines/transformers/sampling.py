"""Decide how transformers generates: with which settings of a checkpoint, and from which seed."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from transformers import GenerationConfig

from moe_eval_plugin.engines.generation import end_tokens, sort_checkpoint_settings

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from moe_eval_plugin.engines.generation import CheckpointSettings


def replace_generation_config(model: Any, tokenizer: Any = None) -> CheckpointSettings:  # noqa: ANN401
    """Replace the checkpoint's generation settings by the part that is used; return them sorted.

    transformers would apply all of them, its own ``generate`` of the checkpoint included.
    """
    vars(model).pop("generate", None)
    found = sort_checkpoint_settings(model.generation_config.to_diff_dict())
    found.warn()
    ends = end_tokens(found, getattr(tokenizer, "eos_token_id", None))
    pad = found.tokens.get("pad_token_id", getattr(tokenizer, "pad_token_id", None))
    used = {**found.tokens, "pad_token_id": pad, "eos_token_id": ends or None}
    model.generation_config = GenerationConfig(**used, repetition_penalty=found.repetition_penalty)
    return replace(found, tokens={name: value for name, value in used.items() if value is not None})


@contextmanager
def seeded(seed: int, devices: Collection[str]) -> Iterator[None]:
    """Seed torch while the block runs, and restore its random numbers on these devices after it.

    transformers samples with torch's global generators.
    """
    gpus = [torch.device(name) for name in devices if name.startswith("cuda")]
    with torch.random.fork_rng(gpus):
        torch.manual_seed(seed)
        yield
