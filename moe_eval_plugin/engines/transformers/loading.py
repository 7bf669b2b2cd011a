"""Load a model; refuse weights that are missing, unexpected or misshapen.

Code that comes with a checkpoint, as that of Kimi-VL does, is checked before a weight is read.
"""

from __future__ import annotations

import copy
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from accelerate import init_empty_weights

from moe_eval_plugin.engines.checks.checkpoint import loading_errors, refuse_other_weights
from moe_eval_plugin.engines.transformers.options import refuse_implementation
from moe_eval_plugin.engines.transformers.processor import reads_images
from moe_eval_plugin.errors import UnsupportedFamilyError
from moe_eval_plugin.model_name import is_folder
from moe_eval_plugin.models.checkpoint import load_config
from moe_eval_plugin.models.parameters import (
    auto_class,
    build_on_meta,
    import_own_code,
    own_class_name,
    own_code_error,
)
from moe_eval_plugin.models.releases.earlier_cache import pass_cache_as_written
from moe_eval_plugin.models.releases.names import image_token_ids, is_own_code

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transformers import PretrainedConfig

    from moe_eval_plugin.engines.transformers.options import EngineOptions

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


def load_model(options: EngineOptions, source: str, config: PretrainedConfig) -> Any:  # noqa: ANN401  (one of many classes)
    """Load the weights; ``CheckpointMismatchError`` if some would be random or unused."""
    attention = options.attn_implementation
    if uses_own_code(options, config):
        attention = attention or own_attention(config)
    chosen = {
        "attn_implementation": attention,
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


class CheckedLoader:
    """An auto class of transformers whose ``from_pretrained`` refuses weights that do not fit.

    It is for a host that loads a model itself. Raises what ``refuse_other_weights`` and
    ``loading_errors`` raise.
    """

    def __init__(self, auto_class: Any) -> None:  # noqa: ANN401  (the auto classes share no base)
        self._auto_class = auto_class

    def from_pretrained(self, source: str, **arguments: Any) -> Any:  # noqa: ANN401
        """Load a model; ``arguments`` are those of the auto class."""
        if arguments.get("trust_remote_code") and "config" not in arguments:
            arguments |= _own_config(source, arguments.get("revision"))
        with loading_errors("model", source):
            model, loading = self._auto_class.from_pretrained(
                source, output_loading_info=True, ignore_mismatched_sizes=True, **arguments
            )
        refuse_other_weights(model, source, arguments.get("revision"), loading)
        adapt_model(model)
        return model


def _own_config(source: str, revision: str | None) -> dict[str, PretrainedConfig]:
    """Return the configuration for code that comes with a checkpoint, which is imported; or none.

    It has no ``rope_scaling`` that transformers adds, at which code of transformers 4 fails.
    """
    # A host names the revision main for a folder too, which has none.
    commit = None if is_folder(source) else revision
    config = load_config(source, commit, trust_remote_code=True)
    if own_class_name(config) is None:
        return {}
    import_own_code(config)
    return {"config": config}


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


def own_attention(config: PretrainedConfig) -> str | None:
    """Return the attention for code of a checkpoint if none was chosen; ``None`` for its default.

    Code whose support of SDPA is asked of a part of the model cannot be asked before it is built.
    """
    loader = auto_class(config, trust_remote_code=True)
    own = getattr(loader, "_model_mapping", {}).get(type(config), None)
    asks_a_part = isinstance(getattr(own, "_supports_sdpa", None), property)
    return "eager" if asks_a_part else None


def adapt_model(model: Any) -> None:  # noqa: ANN401
    """Change a model of a checkpoint's code to run as one of transformers does.

    ``generate`` refuses inputs that no argument of the forward names, though such code takes
    ``**kwargs``, or picks what it needs. See ``_restore_buffers`` and ``pass_cache_as_written``.
    """
    if is_own_code(type(model)):
        model._validate_model_kwargs = lambda _inputs: None  # noqa: SLF001  (no option turns it off)
        pass_cache_as_written(model)
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
