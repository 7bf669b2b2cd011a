"""Load a model and its processor; refuse weights that are missing, unexpected or misshapen."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoProcessor,
    AutoTokenizer,
    GenerationConfig,
)

from moe_eval_plugin.engines.generation import end_tokens, sort_checkpoint_settings
from moe_eval_plugin.errors import CheckpointMismatchError, InvalidArgumentError, UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from moe_eval_plugin.engines.generation import CheckpointSettings
    from moe_eval_plugin.engines.transformers.options import EngineOptions


def load_processor(options: EngineOptions, source: str, *, takes_images: bool) -> Any:  # noqa: ANN401  (one of many classes)
    """Load the processor of a vision-language model, or the tokenizer of a text model.

    Its tokenizer pads on the left. Raises ``UserError`` where no template puts images into prompts.
    """
    loader = AutoProcessor if takes_images else AutoTokenizer
    processor = loader.from_pretrained(
        source, revision=options.revision, trust_remote_code=options.trust_remote_code
    )
    if takes_images and getattr(processor, "chat_template", None) is None:
        message = (
            f"{options.pretrained} has no chat template, so the position of images in its prompts "
            "is unknown. Use the instruction-tuned checkpoint of this model."
        )
        raise UserError(message)
    _set_pixels(processor, options)
    tokenizer = getattr(processor, "tokenizer", processor)
    tokenizer.padding_side = "left"
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return processor


def load_model(options: EngineOptions, source: str, *, takes_images: bool) -> Any:  # noqa: ANN401  (one of many classes)
    """Load the weights; ``CheckpointMismatchError`` if some would be random or unused."""
    loader = AutoModelForImageTextToText if takes_images else AutoModelForCausalLM
    chosen = {
        "attn_implementation": options.attn_implementation,
        "experts_implementation": options.experts_implementation,
        "revision": options.revision,
    }
    model, loading = loader.from_pretrained(
        source,
        dtype=options.dtype,
        device_map=options.device_map or options.device,
        trust_remote_code=options.trust_remote_code,
        output_loading_info=True,
        **{key: value for key, value in chosen.items() if value is not None},
    )
    _refuse_incomplete(type(model).__name__, source, loading)
    return model.eval()


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


def _set_pixels(processor: Any, options: EngineOptions) -> None:  # noqa: ANN401
    limits = {"shortest_edge": options.min_pixels, "longest_edge": options.max_pixels}
    given = {key: value for key, value in limits.items() if value is not None}
    size = getattr(getattr(processor, "image_processor", None), "size", None)
    if not given:
        return
    if size is None or not all(key in size for key in limits):
        message = (
            f"min_pixels and max_pixels are not options of {options.pretrained}: its "
            "image processor does not limit images by their number of pixels. Leave them out."
        )
        raise InvalidArgumentError(message)
    processor.image_processor.size = {**dict(size), **given}


def _refuse_incomplete(model_class: str, source: str, loading: Mapping[str, Any]) -> None:
    """Raise ``CheckpointMismatchError`` if some weight was not loaded as it is stored.

    transformers initialises such weights at random and goes on. ``loading`` is its report: keys
    that are missing, unexpected, or of another shape.
    """
    kinds = {
        "are missing and were made up": loading.get("missing_keys"),
        "are not used by the model": loading.get("unexpected_keys"),
        "have another shape": [key for key, *_ in loading.get("mismatched_keys") or ()],
    }
    found = [
        f"{len(keys)} weights {what} (first: {min(map(str, keys))})"
        for what, keys in kinds.items()
        if keys
    ]
    if found:
        message = (
            f"The checkpoint in {source} does not fit {model_class}: {'; '.join(found)}. A result "
            "would be that of another model. Check that config.json belongs to the weights, and "
            "that transformers is as new as the model needs."
        )
        raise CheckpointMismatchError(message)
