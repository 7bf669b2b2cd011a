"""Read the generation arguments of a task as arguments of transformers' ``generate``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.option_values import read_bool, read_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

GENERATE_ARGUMENTS = (
    "max_new_tokens",
    "min_new_tokens",
    "num_beams",
    "repetition_penalty",
    "length_penalty",
    "no_repeat_ngram_size",
)
SAMPLING_ARGUMENTS = ("temperature", "top_p", "top_k")
KNOWN = frozenset({*GENERATE_ARGUMENTS, *SAMPLING_ARGUMENTS, "until", "do_sample"})


@dataclass(frozen=True)
class GenerationSettings:
    """Arguments for transformers' ``generate``, and the strings that end an answer."""

    arguments: Mapping[str, Any]
    until: tuple[str, ...]

    @property
    def samples(self) -> bool:
        """Whether tokens are drawn at random, and not the likeliest ones taken."""
        return bool(self.arguments.get("do_sample"))

    @cached_property
    def key(self) -> str:
        """Text that is equal for equal settings: only such requests may share a batch."""
        return json.dumps([dict(self.arguments), self.until], sort_keys=True, default=str)


def read_settings(gen_kwargs: Mapping[str, Any], max_new_tokens: int) -> GenerationSettings:
    """Translate a task's generation arguments; greedy by default.

    ``max_new_tokens`` holds where the task sets no limit.
    """
    chosen = {k: gen_kwargs[k] for k in GENERATE_ARGUMENTS if gen_kwargs.get(k) is not None}
    temperature = gen_kwargs.get("temperature") or 0.0
    wanted = gen_kwargs.get("do_sample")
    draws = temperature > 0 if wanted is None else read_bool("do_sample", wanted)
    samples = draws and temperature != 0
    sampling = {k: gen_kwargs.get(k) if samples else None for k in SAMPLING_ARGUMENTS}
    arguments = {"max_new_tokens": max_new_tokens, **chosen, **sampling, "do_sample": samples}
    return GenerationSettings(arguments, _stop_strings(gen_kwargs.get("until") or ()))


def _stop_strings(until: str | Sequence[str]) -> tuple[str, ...]:
    """Return the strings that end an answer; a command line has several as a JSON list."""
    if isinstance(until, str):
        is_list = until.startswith('["') and until.endswith('"]')
        until = read_json("until", until) if is_list else [until]
    return tuple(stop for stop in until if stop)
