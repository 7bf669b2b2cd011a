"""Read the generation arguments of a task, and the generation settings of a checkpoint.

One rule holds on every engine. A task, and ``--gen_kwargs`` over it, decides how answers are
generated. Of the checkpoint's ``generation_config.json`` only the tokens that end an answer, begin
and pad a prompt are used, and ``repetition_penalty``. Everything else there is ignored.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import InvalidArgumentError, UserError
from moe_eval_plugin.models.checkpoint import resolve
from moe_eval_plugin.option_values import read_bool, read_float, read_json, whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from moe_eval_plugin.option_values import Reader

logger = logging.getLogger(__name__)

_share = partial(read_float, at_least=0.0, at_most=1.0)
GENERATE_ARGUMENTS: Mapping[str, Reader] = {
    "max_new_tokens": whole(1),
    "min_new_tokens": whole(0),
    "num_beams": whole(1),
    "repetition_penalty": partial(read_float, above=0.0),
    "length_penalty": read_float,
    "no_repeat_ngram_size": whole(0),
}
SAMPLING_ARGUMENTS: Mapping[str, Reader] = {
    "temperature": partial(read_float, at_least=0.0),
    "top_p": _share,
    "top_k": whole(-1),
    "min_p": _share,
}
ARGUMENTS: Mapping[str, Reader] = {
    **GENERATE_ARGUMENTS,
    **SAMPLING_ARGUMENTS,
    "do_sample": read_bool,
}
KNOWN = frozenset({*ARGUMENTS, "until"})

TOKENS = ("eos_token_id", "bos_token_id", "pad_token_id")
# What a checkpoint's settings can contain without any effect on a greedy or sampled answer: forms
# of the output, caches, speed, and limits and choices that the task makes.
WITHOUT_EFFECT = frozenset(
    {
        "do_sample",
        "max_length",
        "max_new_tokens",
        "transformers_version",
        "_from_model_config",
        "use_cache",
        "cache_implementation",
        "cache_config",
        "max_cache_len",
        "return_dict_in_generate",
        "output_attentions",
        "output_hidden_states",
        "output_scores",
        "output_logits",
        "prefill_chunk_size",
        "compile_config",
        "disable_compile",
        "continuous_batching_config",
        "low_memory",
        "use_mtp",
        "is_assistant",
        "num_assistant_tokens",
        "num_assistant_tokens_schedule",
        "assistant_confidence_threshold",
        "prompt_lookup_num_tokens",
        "max_matching_ngram_size",
        "assistant_early_exit",
        "assistant_lookbehind",
        "target_lookbehind",
        "assistant_ensemble_weight",
        "speculation_type",
        "decoder_start_token_id",
    }
)
# Values other than nothing, none, no and 0 that change no answer.
NEUTRAL = dict.fromkeys(
    (
        "num_beams",
        "num_beam_groups",
        "num_return_sequences",
        "repetition_penalty",
        "length_penalty",
        "encoder_repetition_penalty",
        "temperature",
        "top_p",
        "typical_p",
        "guidance_scale",
    ),
    1,
)


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

    def to_dict(self) -> dict[str, Any]:
        """Return all that is set, as plain JSON data."""
        given = {name: value for name, value in self.arguments.items() if value is not None}
        return {**given, "until": list(self.until)}


@dataclass(frozen=True)
class CheckpointSettings:
    """The generation settings of a checkpoint, sorted by what becomes of them."""

    tokens: Mapping[str, Any] = field(default_factory=dict)
    """Tokens that end an answer, begin a prompt and pad it: used."""
    repetition_penalty: float = 1.0
    """Used where a task sets none."""
    ignored: Mapping[str, Any] = field(default_factory=dict)
    """Settings that could change an answer, and are not used."""

    def to_dict(self) -> dict[str, Any]:
        """Return what is used and what is ignored, as plain JSON data."""
        used = {**self.tokens, "repetition_penalty": self.repetition_penalty}
        return {"used": used, "ignored": dict(self.ignored)}

    def warn(self) -> None:
        """Log what is ignored; settings for sampling matter only to a task that samples."""
        _warn_ignored(one for one in self.ignored.items() if one[0] not in SAMPLING_ARGUMENTS)

    def warn_of_sampling(self, arguments: Mapping[str, Any]) -> None:
        """Log once which settings for sampling are ignored, where these arguments sample."""
        if arguments.get("do_sample"):
            open_ones = [name for name in SAMPLING_ARGUMENTS if arguments.get(name) is None]
            _warn_ignored((name, self.ignored[name]) for name in open_ones if name in self.ignored)


def read_settings(gen_kwargs: Mapping[str, Any], max_new_tokens: int) -> GenerationSettings:
    """Translate a task's generation arguments; greedy by default.

    ``max_new_tokens`` holds where the task sets no limit. Arguments that are not known are left
    out. Raises ``InvalidArgumentError`` for a value that an argument cannot have.
    """
    given = {
        name: read(name, gen_kwargs[name])
        for name, read in ARGUMENTS.items()
        if gen_kwargs.get(name) is not None
    }
    samples = _samples(given)
    chosen = {name: given[name] for name in GENERATE_ARGUMENTS if name in given}
    arguments = {"max_new_tokens": max_new_tokens, **chosen}
    if arguments.get("min_new_tokens", 0) > arguments["max_new_tokens"]:
        message = (
            f"min_new_tokens={arguments['min_new_tokens']} is not possible with max_new_tokens="
            f"{arguments['max_new_tokens']}. Make it the smaller one."
        )
        raise InvalidArgumentError(message)
    sampling = {name: given.get(name) if samples else None for name in SAMPLING_ARGUMENTS}
    if sampling["top_k"] == -1:
        sampling["top_k"] = 0
    arguments = {**arguments, **sampling, "do_sample": samples}
    return GenerationSettings(arguments, _stop_strings(gen_kwargs.get("until")))


def truncate_before(text: str, until: Sequence[str]) -> str:
    """Cut a text before the first of some stop strings; empty strings stop nothing."""
    for stop in until:
        if stop:
            text = text.split(stop, 1)[0]
    return text


def sort_checkpoint_settings(found: Mapping[str, Any]) -> CheckpointSettings:
    """Sort what a checkpoint's ``generation_config.json`` sets.

    Raises ``InvalidArgumentError`` for a value that is used and cannot be.
    """
    given = {
        name: value
        for name, value in found.items()
        if (value or name in TOKENS) and value is not None and value != NEUTRAL.get(name, ...)
    }
    penalty = given.pop("repetition_penalty", 1.0)
    tokens = {name: given.pop(name) for name in TOKENS if name in given}
    for name, value in tokens.items():
        for token in value if isinstance(value, list | tuple) else [value]:
            whole(0)(f"generation_config.json: {name}", token)
    read = GENERATE_ARGUMENTS["repetition_penalty"]
    penalty = read("generation_config.json: repetition_penalty", penalty)
    ignored = {name: value for name, value in given.items() if name not in WITHOUT_EFFECT}
    return CheckpointSettings(tokens, penalty, json.loads(json.dumps(ignored, default=str)))


def check_generation_config(pretrained: str, revision: str | None = None) -> None:
    """Raise ``UserError`` where the file cannot be read, on every engine alike.

    transformers would use other settings silently, or end in an error of its own once all weights
    are loaded. A checkpoint needs no such file.
    """
    from transformers import GenerationConfig

    try:
        found = GenerationConfig.from_pretrained(resolve(pretrained), revision=revision)
        sort_checkpoint_settings(found.to_diff_dict())
    except (OSError, TypeError, ValueError, AttributeError, UserError) as error:
        if isinstance(error, OSError) and "valid JSON" not in str(error):
            return
        message = (
            f"generation_config.json of {pretrained} cannot be used: {error} Correct the file, or "
            "remove it: only its special tokens and repetition_penalty are used."
        )
        raise UserError(message) from error


def end_tokens(settings: CheckpointSettings, of_tokenizer: int | None) -> list[int]:
    """List the tokens that end an answer: the checkpoint's, and its tokenizer's, as in vLLM."""
    found = settings.tokens.get("eos_token_id")
    of_checkpoint = [found] if isinstance(found, int) else list(found or ())
    of_both = [*of_checkpoint, *([] if of_tokenizer is None else [of_tokenizer])]
    return list(dict.fromkeys(of_both))


def _warn_ignored(settings: Iterable[tuple[str, Any]]) -> None:
    shown = ", ".join(f"{name}={value}" for name, value in sorted(settings))
    if shown:
        _warn_once(
            f"The checkpoint's generation_config.json sets {shown}, which is not used: how answers "
            "are generated is decided by the task. Pass what you want with --gen_kwargs."
        )


@cache
def _warn_once(message: str) -> None:
    logger.warning(message)


def _samples(given: Mapping[str, Any]) -> bool:
    """Whether answers are sampled: where that, or a temperature above 0, is asked for."""
    temperature, do_sample = given.get("temperature"), given.get("do_sample")
    if do_sample and temperature == 0:
        message = (
            "do_sample=True is not possible with temperature=0, which is greedy. Set a temperature "
            "above 0, which --gen_kwargs sets over the task's own, or do_sample=False."
        )
        raise InvalidArgumentError(message)
    samples = bool(temperature) if do_sample is None else bool(do_sample)
    if samples and given.get("top_p") == 0:
        message = "top_p=0 is not possible: no token would be left. Use a number above 0, to 1."
        raise InvalidArgumentError(message)
    return samples


def _stop_strings(until: object) -> tuple[str, ...]:
    """Return the strings that end an answer; empty ones end none."""
    if isinstance(until, str) and until.startswith("[") and until.endswith("]"):
        until = read_json("until", until)
    strings = [until] if isinstance(until, str) else ([] if until is None else until)
    if not isinstance(strings, list | tuple) or not all(isinstance(one, str) for one in strings):
        message = f"until={until} is not possible. Use a text, or a list of texts."
        raise InvalidArgumentError(message)
    return tuple(stop for stop in strings if stop)
