"""Import code of checkpoints that was written for transformers 4, which transformers 5 may refuse.

Such code imports names that transformers 5 removed. What they did is given to it here while it is
imported, and to nothing else; code that needs more fails, and is refused with a message.
"""

from __future__ import annotations

import inspect
import sys
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.models.releases.names import is_own_code

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor
    from transformers import PretrainedConfig

EARLIER = "4."
MASKS = "transformers.modeling_attn_mask_utils"


def written_with(config: PretrainedConfig) -> str:
    """Return the release of transformers that a ``config.json`` states; empty if it states none.

    The configuration object names the installed release, once it was loaded.
    """
    if not config.name_or_path:
        return ""
    revision = getattr(config, "_commit_hash", None)
    raw, _ = config.get_config_dict(config.name_or_path, revision=revision)
    return str(raw.get("transformers_version") or "")


@contextmanager
def earlier_names(written: str) -> Iterator[None]:
    """Supply the names that transformers 5 removed, while code that states 4 is imported.

    They are those that the published code of Kimi-VL, Moonlight and DeepSeek imports.
    """
    remove = supply_names() if written.startswith(EARLIER) else None
    try:
        yield
    finally:
        if remove is not None:
            remove()


def supply_names() -> Callable[[], None]:
    """Supply the names that transformers 5 removed; return what removes them again."""
    supplied: list[tuple[str, str]] = []
    lacks_masks = MASKS not in sys.modules and find_spec(MASKS) is None
    if lacks_masks:
        sys.modules[MASKS] = ModuleType(MASKS)
    for (module, name), replacement in _replacements().items():
        target = import_module(module)
        if not hasattr(target, name):
            setattr(target, name, replacement)
            supplied.append((module, name))

    def remove() -> None:
        for module, name in supplied:
            delattr(import_module(module), name)
        if lacks_masks:
            del sys.modules[MASKS]

    return remove


def import_model_class(config: PretrainedConfig, auto_name: str, written: str) -> None:
    """Import the code of a model and let its classes be built by transformers 5.

    ``auto_name`` is its key in ``auto_map``. Raises whatever the code raises.
    """
    from transformers import PreTrainedModel
    from transformers.dynamic_module_utils import get_class_from_dynamic_module

    commit = getattr(config, "_commit_hash", None)
    with earlier_names(written):
        found = get_class_from_dynamic_module(
            config.auto_map[auto_name], config.name_or_path, code_revision=commit
        )
    package = found.__module__.rpartition(".")[0] + "."
    modules = [module for name, module in sys.modules.items() if name.startswith(package)]
    for value in [value for module in modules for value in vars(module).values()]:
        if isinstance(value, type) and issubclass(value, PreTrainedModel):
            _accept_new_arguments(value)
            _let_generate(value)


def _accept_new_arguments(of: Any) -> None:  # noqa: ANN401  (a class of a model)
    """Make a ``tie_weights`` without arguments accept those of transformers 5.

    They only say which weights to look at; this ties all, as it did.
    """
    own = vars(of).get("tie_weights")
    if own is not None and len(inspect.signature(own).parameters) == 1:
        of.tie_weights = lambda self, *_args, **_given: own(self)


def _let_generate(of: Any) -> None:  # noqa: ANN401  (a class of a model)
    """Add the base class that has ``generate``, which every model had in transformers 4.

    transformers adds it to a class with inputs of its own for generation, but only where it
    imports the code itself: once it knows the class, it takes it as it is.
    """
    from transformers import GenerationMixin

    prepares = "prepare_inputs_for_generation" in vars(of)
    if prepares and is_own_code(of) and not issubclass(of, GenerationMixin):
        of.__bases__ = (*of.__bases__, GenerationMixin)


def _replacements() -> dict[tuple[str, str], Callable[..., Any]]:
    """Return what the removed names did, by module and name."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    return {
        ("transformers.utils", "is_torch_fx_available"): lambda: True,
        ("transformers.utils.import_utils", "is_torch_fx_available"): lambda: True,
        ("transformers.processing_utils", "_validate_images_text_input_order"): _in_order,
        ("transformers.models.gpt2.tokenization_gpt2", "bytes_to_unicode"): bytes_to_unicode,
        (MASKS, "_prepare_4d_causal_attention_mask"): causal_mask,
    }


def _in_order(images: Any, text: Any) -> tuple[Any, Any]:  # noqa: ANN401
    """Return images and text as they are: they are passed by name here, so they are in order."""
    return images, text


def causal_mask(
    attention_mask: Tensor | None,
    input_shape: tuple[int, int],
    inputs_embeds: Tensor,
    past_key_values_length: int,
    sliding_window: int | None = None,
) -> Tensor:
    """Build the mask that is added to attention scores: 0 where a token is seen, else the minimum.

    Shape (rows, 1, tokens, cached tokens + tokens). ``attention_mask`` is 1 for tokens, 0 for
    padding. Raises ``NotImplementedError`` for a sliding window.
    """
    import torch

    if sliding_window is not None:
        message = f"a sliding window of {sliding_window} tokens in a mask of transformers 4"
        raise NotImplementedError(message)
    rows, tokens = input_shape
    keys = torch.arange(past_key_values_length + tokens, device=inputs_embeds.device)
    seen = (keys[None, :] <= keys[past_key_values_length:, None]).expand(rows, 1, tokens, -1)
    if attention_mask is not None:
        seen = seen & attention_mask[:, None, None, :].bool()
    shown = torch.zeros(seen.shape, dtype=inputs_embeds.dtype, device=inputs_embeds.device)
    return shown.masked_fill(~seen, torch.finfo(inputs_embeds.dtype).min)
