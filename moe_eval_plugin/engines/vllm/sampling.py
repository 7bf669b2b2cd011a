"""Convert the generation settings of a task to vLLM's ``SamplingParams``."""

from __future__ import annotations

import logging
from functools import cache
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from moe_eval_plugin.engines.generation import GenerationSettings

logger = logging.getLogger(__name__)


def sampling_arguments(
    settings: GenerationSettings, of_model: Mapping[str, Any], seed: int
) -> dict[str, Any]:
    """Return the arguments of vLLM's ``SamplingParams`` for one request.

    ``of_model`` holds the model's own generation defaults; of these only ``repetition_penalty``
    counts, as it does in transformers' greedy generation. Raises ``InvalidArgumentError`` for
    beam search.
    """
    given = {name: value for name, value in settings.arguments.items() if value is not None}
    if given.get("num_beams", 1) > 1:
        message = (
            f"num_beams={given['num_beams']} is not possible with moe_vllm: vLLM's scheduler has "
            "no beam search. Use --gen_kwargs num_beams=1, or --model moe_hf."
        )
        raise InvalidArgumentError(message)
    if given.get("no_repeat_ngram_size"):
        _warn_not_used("no_repeat_ngram_size")
    samples = given.get("do_sample", False)
    arguments = {
        "max_tokens": given["max_new_tokens"],
        "min_tokens": given.get("min_new_tokens", 0),
        "repetition_penalty": given.get(
            "repetition_penalty", of_model.get("repetition_penalty", 1.0)
        ),
        "stop": list(settings.until),
        "temperature": given.get("temperature", 1.0) if samples else 0.0,
    }
    if samples:
        arguments |= {name: given[name] for name in ("top_p", "top_k") if name in given}
        arguments["seed"] = seed
    return arguments


@cache
def _warn_not_used(name: str) -> None:
    logger.warning("%s is ignored: vLLM has no such option.", name)
