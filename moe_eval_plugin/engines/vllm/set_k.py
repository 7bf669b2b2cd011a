"""Set k in vLLM while each MoE layer is built.

vLLM calls ``register`` in each of its processes, before it builds a model, through the entry point
``vllm.general_plugins``. k travels in the model's own configuration, under ``KEY``, where
``hf_overrides`` puts it: so every process gets it, and it is part of the hash that vLLM's compile
cache goes by. A layer that is built with k has it everywhere, in its router, its kernels and its
compiled graphs. A later change would miss what was copied, compiled or captured.

A model whose configuration lacks the key is left alone, whoever uses this vLLM.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.architectures.register import register_config
from moe_eval_plugin.experts.module_path import layer_number
from moe_eval_plugin.models.releases.earlier_code import supply_names

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import ModuleType

# Set while our engine starts vLLM with a checkpoint whose code was written for transformers 4.
EARLIER_CODE = "MOE_EVAL_EARLIER_CODE"
KEY = "moe_eval_num_experts_per_tok"
EVERY_LAYER = "every"
FACTORY_MODULE = "vllm.model_executor.layers.fused_moe.layer"
FACTORY = "FusedMoEFactory"


def register() -> None:
    """Prepare this process for models with our key; the payload of the entry point.

    Nothing of vLLM is imported: the hook waits until vLLM imports the module itself. Names that
    code of transformers 4 imports are supplied where our engine asked for it. vLLM has the model of
    type ``deepseek`` and no configuration for it, so that is registered for every use of this vLLM.
    """
    import wrapt

    register_config()
    if os.environ.get(EARLIER_CODE):
        supply_names()
    wrapt.register_post_import_hook(set_k_when_built, FACTORY_MODULE)


def set_k_when_built(layer_module: ModuleType) -> None:
    """Wrap vLLM's factory of MoE layers so that it reads k from the configuration, once.

    A vLLM without that factory is not changed; verification then finds that k was not set.
    """
    original: Callable[..., Any] | None = getattr(layer_module, FACTORY, None)
    if original is None or hasattr(original, "_moe_eval_original"):
        return
    signature = inspect.signature(original)

    @functools.wraps(original)
    def factory(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  (vLLM's own arguments)
        table = _table()
        if table is None:
            return original(*args, **kwargs)
        bound = signature.bind(*args, **kwargs)
        k = k_of_layer(table, bound.arguments.get("prefix", ""))
        if k is not None:
            bound.arguments["top_k"] = k
        return original(*bound.args, **bound.kwargs)

    factory._moe_eval_original = original  # type: ignore[attr-defined]  # noqa: SLF001
    _replace_everywhere(original, factory)


def k_of_layer(table: Mapping[str, int], path: str) -> int | None:
    """Return the k of the layer at a path; ``None`` for a layer that the table leaves as it is.

    Such are the layers of a draft model behind the decoder's own, for instance.
    """
    if EVERY_LAYER in table:
        return table[EVERY_LAYER]
    return table.get(str(layer_number(path)))


def _table() -> Mapping[str, int] | None:
    """Find our key in the configuration of the model that this process is building.

    While some models with images build their text part, the configuration is that of this part,
    which lacks the key; what was written over the whole of it is still there.
    """
    from vllm.config import get_current_vllm_config

    model_config = get_current_vllm_config().model_config
    table = getattr(getattr(model_config, "hf_config", None), KEY, None)
    overrides = getattr(model_config, "hf_overrides", None)
    return overrides.get(KEY) if table is None and isinstance(overrides, dict) else table


def _replace_everywhere(original: object, replacement: object) -> None:
    """Replace the original in each module of vLLM that has imported it by name."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "vllm":
            for attribute, value in list(vars(module).items()):
                if value is original:
                    setattr(module, attribute, replacement)
