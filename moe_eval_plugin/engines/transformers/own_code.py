"""Models whose code comes with the checkpoint: check before a weight is read, and adapt.

Such a checkpoint has an ``auto_map`` in its ``config.json``, as Kimi-VL has. Whether it reads
images is not in any table; its processor decides.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers.utils import cached_file

from moe_eval_plugin.errors import UnsupportedFamilyError, UserError
from moe_eval_plugin.models.parameters import (
    auto_class,
    build_on_meta,
    own_class_name,
    own_code_error,
)
from moe_eval_plugin.models.transformers_names import image_token_ids, is_own_code

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from moe_eval_plugin.engines.transformers.options import EngineOptions

# Each may have an ``auto_map`` with an AutoProcessor; the first two exist for a processor alone.
PROCESSOR_FILES = ("processor_config.json", "preprocessor_config.json")
TOKENIZER_FILE = "tokenizer_config.json"
GENERATING = ("AutoModelForImageTextToText", "AutoModelForCausalLM")


def uses_own_code(options: EngineOptions, config: PretrainedConfig) -> bool:
    """Whether the model's code comes with its checkpoint and may run."""
    return options.trust_remote_code and own_class_name(config) is not None


def check_loadable(options: EngineOptions, config: PretrainedConfig) -> Any:  # noqa: ANN401  (the auto classes share no base)
    """Return the auto class that loads a model, before a weight is read.

    Code that comes with the checkpoint is imported, and its model built without memory for
    weights. Raises ``UserError`` where it fails, and ``UnsupportedFamilyError`` for a model that
    does not continue its prompt.
    """
    loader = auto_class(config, trust_remote_code=options.trust_remote_code)
    if uses_own_code(options, config):
        model = build_on_meta(config, trust_remote_code=True)
        if not hasattr(model, "generate"):
            error = AttributeError(f"{type(model).__name__} has no method generate")
            raise own_code_error(config, error)
    elif loader.__name__ not in GENERATING:
        message = (
            f"moe_hf runs models that continue their prompt, and transformers has {loader.__name__}"
            f" for {config.model_type} instead. Choose a decoder, with images or without."
        )
        raise UnsupportedFamilyError(message)
    return loader


def reads_images(processor: Any) -> bool:  # noqa: ANN401  (one of many classes)
    """Whether a processor encodes images; a tokenizer does not."""
    return getattr(processor, "image_processor", None) is not None


def brings_processor(options: EngineOptions, source: str) -> bool:
    """Whether a checkpoint has a file of a processor, or names the code of one."""
    files = [_json_of(options, source, name) for name in (*PROCESSOR_FILES, TOKENIZER_FILE)]
    has_code = any("AutoProcessor" in (file or {}).get("auto_map", {}) for file in files)
    return has_code or any(file is not None for file in files[: len(PROCESSOR_FILES)])


def refuse_images_without_processor(
    options: EngineOptions, source: str, config: PretrainedConfig
) -> None:
    """Raise ``UserError`` for a model with an image tower and nothing that encodes images for it.

    The processors of DeepSeek-VL2 and DeepSeek-OCR are in a package of their own, or nowhere.
    """
    named = (_json_of(options, source, PROCESSOR_FILES[0]) or {}).get("processor_class")
    if named is None and getattr(config, "vision_config", None) is None:
        return
    what = f"the processor {named}" if named else "no processor"
    message = (
        f"{options.pretrained} has images, and {what} for them that neither transformers nor the "
        "checkpoint defines, so images cannot be put into its prompts. Try moe_vllm, if vLLM has "
        "this model itself."
    )
    raise UserError(message)


def _json_of(options: EngineOptions, source: str, name: str) -> dict[str, Any] | None:
    """Return one of the checkpoint's files, here or on the Hub; ``None`` if it has none."""
    path = cached_file(
        source, name, revision=options.revision, _raise_exceptions_for_missing_entries=False
    )
    content = None if path is None else json.loads(Path(path).read_text("utf-8"))
    return content if isinstance(content, dict) else None


def adapt_processor(processor: Any) -> None:  # noqa: ANN401
    """Let the processor of a checkpoint be called as transformers calls one for a chat template.

    transformers passes a list of images for each conversation, and videos and audio. Such code
    expects one list of images, and fails for an argument that it does not know.
    """
    own = type(processor)
    if not is_own_code(own) or not reads_images(processor):
        return

    def call(self: Any, text: Any = None, images: Any = None, **others: Any) -> Any:  # noqa: ANN401
        given = {name: value for name, value in others.items() if value is not None}
        flat = [image for part in images for image in part] if images else None
        return own.__call__(self, text=text, images=flat, **given)

    processor.__class__ = type(own.__name__, (own,), {"__call__": call, "__module__": __name__})


def adapt_model(model: Any, processor: Any) -> None:  # noqa: ANN401
    """Let the model of a checkpoint's code be run and counted as one of transformers.

    ``generate`` refuses inputs that no argument of the forward names, though such code takes
    ``**kwargs``, or picks what it needs. Image tokens are counted by their id in the configuration,
    which some have in the processor alone.
    """
    if not is_own_code(type(model)):
        return
    model._validate_model_kwargs = lambda _inputs: None  # noqa: SLF001  (no option turns it off)
    token = getattr(processor, "image_token_id", None)
    if token is None and isinstance(name := getattr(processor, "image_token", None), str):
        token = processor.tokenizer.convert_tokens_to_ids(name)
    if isinstance(token, int) and reads_images(processor) and not image_token_ids(model.config):
        model.config.image_token_id = token
