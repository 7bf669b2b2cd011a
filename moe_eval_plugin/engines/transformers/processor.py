"""Load what turns conversations into inputs: a processor for images and text, or a tokenizer.

No table says whether a model whose code comes with its checkpoint reads images; its processor does.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import AutoProcessor, AutoTokenizer
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
from transformers.utils import cached_file

from moe_eval_plugin.engines.checks.checkpoint import loading_errors
from moe_eval_plugin.engines.checks.template import (
    check_template,
    check_vocabulary,
    use_tokenizer_template,
)
from moe_eval_plugin.engines.transformers.options import set_pixels
from moe_eval_plugin.errors import UserError
from moe_eval_plugin.models.parameters import own_class_name, own_code_error
from moe_eval_plugin.models.releases.earlier_code import earlier_names, written_with
from moe_eval_plugin.models.releases.names import is_own_code

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from moe_eval_plugin.engines.transformers.options import EngineOptions

# Each may have an ``auto_map`` with an AutoProcessor; the first two exist for a processor alone.
PROCESSOR_FILES = ("processor_config.json", "preprocessor_config.json")
TOKENIZER_FILE = "tokenizer_config.json"


def load_processor(options: EngineOptions, source: str, config: PretrainedConfig) -> Any:  # noqa: ANN401  (one of many classes)
    """Load the processor of a vision-language model, or the tokenizer of a text model.

    Its tokenizer pads on the left. Raises ``UserError`` where no template puts images into prompts,
    where code of the checkpoint fails, and where a processor is named that nothing defines.
    """
    is_own = options.trust_remote_code and own_class_name(config) is not None
    takes_images = config.model_type in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES or (
        is_own and brings_processor(options, source)
    )
    loader = AutoProcessor if takes_images else AutoTokenizer
    given = {"revision": options.revision, "trust_remote_code": options.trust_remote_code}
    with loading_errors("processor" if takes_images else "tokenizer", options.pretrained):
        try:
            with earlier_names(written_with(config) if is_own else ""):
                processor = loader.from_pretrained(source, **given)
        except Exception as error:
            if not is_own:
                raise
            raise own_code_error(config, error) from error
    if (is_own or takes_images) and not reads_images(processor):
        refuse_images_without_processor(options, source, config)
    use_tokenizer_template(processor)
    set_pixels(processor, options)
    adapt_processor(processor)
    tokenizer = getattr(processor, "tokenizer", processor)
    check_vocabulary(options.pretrained, tokenizer)
    arguments = options.template_arguments
    check_template(options.pretrained, processor, arguments, with_image=reads_images(processor))
    tokenizer.padding_side = "left"
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return processor


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
    """Change the processor of a checkpoint to take what transformers passes for a chat template.

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
