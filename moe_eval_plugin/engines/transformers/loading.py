"""Load a model and its processor; refuse weights that are missing, unexpected or misshapen.

Code that comes with a checkpoint, as that of Kimi-VL does, is checked before a weight is read. No
table says whether such a model reads images; its processor decides.
"""

from __future__ import annotations

import copy
import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate import init_empty_weights
from transformers import AutoProcessor, AutoTokenizer
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
from transformers.utils import cached_file

from moe_eval_plugin.engines.checks.checkpoint import loading_errors, refuse_other_weights
from moe_eval_plugin.engines.checks.template import (
    check_template,
    check_vocabulary,
    use_tokenizer_template,
)
from moe_eval_plugin.engines.transformers.options import refuse_implementation, set_pixels
from moe_eval_plugin.errors import UnsupportedFamilyError, UserError
from moe_eval_plugin.models.parameters import (
    auto_class,
    build_on_meta,
    own_class_name,
    own_code_error,
)
from moe_eval_plugin.models.transformers_names import image_token_ids, is_own_code

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transformers import PretrainedConfig

    from moe_eval_plugin.engines.transformers.options import EngineOptions

# Each may have an ``auto_map`` with an AutoProcessor; the first two exist for a processor alone.
PROCESSOR_FILES = ("processor_config.json", "preprocessor_config.json")
TOKENIZER_FILE = "tokenizer_config.json"
FAULTS_OF_CODE = (
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    NameError,
    NotImplementedError,
    TypeError,
    ValueError,
)
GENERATING = ("AutoModelForImageTextToText", "AutoModelForCausalLM")


def load_processor(options: EngineOptions, source: str, config: PretrainedConfig) -> Any:  # noqa: ANN401  (one of many classes)
    """Load the processor of a vision-language model, or the tokenizer of a text model.

    Its tokenizer pads on the left. Raises ``UserError`` where no template puts images into prompts,
    where code of the checkpoint fails, and where a processor is named that nothing defines.
    """
    is_own = uses_own_code(options, config)
    takes_images = config.model_type in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES or (
        is_own and brings_processor(options, source)
    )
    loader = AutoProcessor if takes_images else AutoTokenizer
    given = {"revision": options.revision, "trust_remote_code": options.trust_remote_code}
    with loading_errors("processor" if takes_images else "tokenizer", options.pretrained):
        try:
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


def load_model(options: EngineOptions, source: str, config: PretrainedConfig) -> Any:  # noqa: ANN401  (one of many classes)
    """Load the weights; ``CheckpointMismatchError`` if some would be random or unused."""
    chosen = {
        "attn_implementation": options.attn_implementation,
        "experts_implementation": options.experts_implementation,
        "revision": options.revision,
        "config": copy.deepcopy(config) if uses_own_code(options, config) else None,
    }
    loader = auto_class(config, trust_remote_code=options.trust_remote_code)
    with loading_errors("model", options.pretrained):
        try:
            model, loading = loader.from_pretrained(
                source,
                dtype=options.dtype,
                device_map=options.device_map or options.device,
                trust_remote_code=options.trust_remote_code,
                output_loading_info=True,
                # Refused below, with the other weights that do not fit.
                ignore_mismatched_sizes=True,
                **{key: value for key, value in chosen.items() if value is not None},
            )
        except (ImportError, ValueError) as error:
            refuse_implementation(options, error)
            raise
    refuse_other_weights(model, source, options.revision, loading)
    adapt_model(model)
    return model.eval()


def _restore_buffers(model: Any) -> None:  # noqa: ANN401
    """Write the computed tensors of a model of a checkpoint's code: those not among its weights.

    transformers 5 builds a model without memory, and then leaves such buffers, the frequencies of
    rotary embeddings for instance, as the memory happens to be, unless the code of the model
    writes them anew. Code of earlier releases does not.
    """
    with init_empty_weights(include_buffers=False):
        built = type(model)(copy.deepcopy(model.config))
    computed = dict(built.named_modules())
    for path, module in model.named_modules():
        for name in module._non_persistent_buffers_set:  # noqa: SLF001  (torch has no other list)
            buffer, value = getattr(module, name), getattr(computed[path], name)
            if buffer is not None and value is not None:
                buffer.copy_(value)
        for name, held in vars(module).items():
            if isinstance(held, torch.Tensor) and held.is_meta:
                setattr(module, name, getattr(computed[path], name).to(model.device))


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


def adapt_model(model: Any) -> None:  # noqa: ANN401
    """Let a model of a checkpoint's code run as one of transformers does.

    ``generate`` refuses inputs that no argument of the forward names, though such code takes
    ``**kwargs``, or picks what it needs. See ``_restore_buffers`` too.
    """
    if is_own_code(type(model)):
        model._validate_model_kwargs = lambda _inputs: None  # noqa: SLF001  (no option turns it off)
        _restore_buffers(model)


@contextmanager
def refusing_own_code(model: Any) -> Iterator[None]:  # noqa: ANN401
    """Raise a ``UserError`` for code of a checkpoint that fails while the block runs.

    Code of an earlier release of transformers may fail at the first pass only, at the cache for
    instance. What is no fault of code, full memory for instance, is passed on.
    """
    try:
        yield
    except FAULTS_OF_CODE as error:
        if not is_own_code(type(model)):
            raise
        raise own_code_error(model.config, error) from error


def name_image_token(model: Any, processor: Any) -> None:  # noqa: ANN401
    """Write the id of the image token into the configuration of a model of a checkpoint's code.

    Image tokens are counted by it, and some have it in the processor alone.
    """
    config = model.config
    if not is_own_code(type(model)) or not reads_images(processor) or image_token_ids(config):
        return
    token = getattr(processor, "image_token_id", None)
    if token is None and isinstance(name := getattr(processor, "image_token", None), str):
        token = processor.tokenizer.convert_tokens_to_ids(name)
    if isinstance(token, int):
        config.image_token_id = token
