"""Compare a few questions with and without sharing, before any others share.

The code of a model's family decides how it counts positions and what it caches. So whether sharing
changes anything is not taken from a list of families: two questions about one image are computed
both ways.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from moe_eval_plugin.engines.transformers.batches.shared_inputs import (
    CannotShareError,
    encode_shared,
)
from moe_eval_plugin.engines.transformers.shared.difference import compare_logits
from moe_eval_plugin.engines.transformers.shared.prefix import Prefixes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from moe_eval_plugin.engines.request import Conversation, Job
    from moe_eval_plugin.engines.transformers.encoding import Encoded
    from moe_eval_plugin.engines.transformers.engine import HFEngine

# Images that are tried before it is given up; those that cannot be read count.
MOST_TRIES = 3
ONE_TOKEN = {"max_new_tokens": 1, "do_sample": False, "output_logits": True}


def find_difference(engine: HFEngine, groups: Sequence[Sequence[Job]]) -> str | None:
    """Return what sharing changes in the first of these groups of jobs; ``None`` for nothing.

    The jobs of a group are said to have the same image. What cannot be asked at all is left to
    those who ask it.
    """
    reason = "none of the first questions could be encoded"
    for group in groups[:MOST_TRIES]:
        ordered = sorted(group, key=lambda job: len(job.context))
        try:
            conversations = [engine.prepared(job.build()) for job in (ordered[0], ordered[-1])]
            plain = engine.encode_prepared(conversations)
        except Exception as error:  # noqa: BLE001  (of any type, see `reason_of` of refusals)
            reason = f"a question could not be encoded: {error}"
            continue
        return _difference(engine, conversations, plain)
    return reason


def _difference(
    engine: HFEngine, conversations: Sequence[Conversation], plain: Encoded
) -> str | None:
    try:
        shared = encode_shared(engine, [conversations])
    except CannotShareError as error:
        return str(error)
    layout = shared.layout
    assert layout is not None  # noqa: S101  (for the type checker)
    if _tokens(layout.input_ids, layout.attention_mask) != _tokens(
        plain.tensors["input_ids"], plain.tensors["attention_mask"]
    ):
        return "tokenised apart from its image, a question has other tokens"
    try:
        with torch.inference_mode():
            inputs = plain.tensors.to(engine.input_device)
            expected = _logits(engine.model, inputs)
            prefixes = Prefixes.compute(
                engine.model, shared.tensors.to(engine.input_device), layout
            )
            found = _logits(engine.model, prefixes.continued(engine.model, layout))
    except Exception as error:  # noqa: BLE001  (the code of any family)
        return f"{type(engine.model).__name__} cannot continue from a prefix: {error}"
    return compare_logits(expected, found, engine.model.dtype)


def _logits(model: Any, inputs: Mapping[str, Any]) -> Tensor:  # noqa: ANN401
    """Return the logits of the first token of each answer (rows, vocabulary)."""
    generated = model.generate(**inputs, **ONE_TOKEN, return_dict_in_generate=True)
    logits: Tensor = generated.logits[0].float()
    return logits


def _tokens(ids: Tensor, mask: Tensor) -> list[list[int]]:
    return [row[present.bool()].tolist() for row, present in zip(ids, mask, strict=True)]
