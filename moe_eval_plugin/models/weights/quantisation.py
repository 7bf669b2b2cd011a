"""Check that a quantised checkpoint can be loaded here: its packages, its device and its dtype.

transformers checks these itself, when it begins to load. Its own check is used, because each method
of quantisation has other needs; only the moment is earlier.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import MissingDependencyError, UserError
from moe_eval_plugin.text import one_line

if TYPE_CHECKING:
    from transformers import PretrainedConfig


def quantisation_settings(config: PretrainedConfig) -> Any:  # noqa: ANN401  (a mapping or an object of one of many classes)
    """Return the settings of quantisation, of the model or of its language model, or ``None``."""
    for part in (config, config.get_text_config(decoder=True)):
        settings = getattr(part, "quantization_config", None)
        if settings is not None:
            return settings
    return None


def quantisation_method(config: PretrainedConfig) -> str | None:
    """Return the method of quantisation, ``unknown`` if it has no name, ``None`` without one."""
    settings = quantisation_settings(config)
    if settings is None:
        return None
    settings = settings if isinstance(settings, dict) else settings.to_dict()
    return str(settings.get("quant_method", "unknown"))


def check_quantisation(
    name: str, config: PretrainedConfig, *, device_map: str, dtype: str | None = None
) -> None:
    """Raise ``UserError`` where transformers cannot load a quantised checkpoint on this machine.

    ``device_map`` is a device, or ``auto``; ``dtype`` the requested one. A missing package is a
    ``MissingDependencyError``.
    """
    from transformers.quantizers import AutoHfQuantizer

    settings = deepcopy(quantisation_settings(config))
    if settings is None:
        return
    method = quantisation_method(config)
    try:
        if isinstance(settings, dict) and not AutoHfQuantizer.supports_quant_method(settings):
            raise UserError(_unknown(name, method))
        quantizer = AutoHfQuantizer.from_config(settings, pre_quantized=True)
        quantizer.validate_environment(device_map=_as_map(device_map), weights_only=True)
        _check_dtype(quantizer, dtype)
    except (ImportError, RuntimeError, ValueError, TypeError, KeyError, AttributeError) as error:
        message = (
            f"{name} is quantised with {method}, which cannot be loaded here on {device_map} with "
            f"dtype={dtype or 'auto'}: {one_line(error)}. Nothing was loaded. Install what is "
            f"missing{_package(error)}, use another device or dtype, or use the checkpoint that is "
            "not quantised."
        )
        is_missing = isinstance(error, ImportError)
        raise (MissingDependencyError if is_missing else UserError)(message) from error


def _check_dtype(quantizer: Any, dtype: str | None) -> None:  # noqa: ANN401
    import torch

    wanted = getattr(torch, (dtype or "auto").removeprefix("torch."), None)
    if wanted is not None:
        quantizer.update_dtype(wanted)


def _as_map(device_map: str) -> str | dict[str, str]:
    """Return a device as the map that transformers makes of it."""
    is_name = device_map in ("auto", "balanced", "balanced_low_0", "sequential")
    return device_map if is_name else {"": device_map}


def _unknown(name: str, method: str | None) -> str:
    from importlib.metadata import version

    from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING as KNOWN

    return (
        f"{name} is quantised with {method}, which transformers {version('transformers')} does not "
        f"know: it would read the quantised numbers as weights. It knows {', '.join(KNOWN)}. "
        "Upgrade it (pip install --upgrade transformers), use --model moe_vllm, or use the "
        "checkpoint that is not quantised."
    )


def _package(error: Exception) -> str:
    """Return the command for a missing module that Python names without a command."""
    name = error.name if isinstance(error, ImportError) else None
    return f" (pip install {name})" if name and "pip install" not in str(error) else ""
