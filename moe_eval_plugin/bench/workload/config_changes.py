"""Load the configuration of a model with random weights, and change its settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.architectures.register import register_for
from moe_eval_plugin.errors import InvalidArgumentError, ModelNotFoundError, UserError
from moe_eval_plugin.models.checkpoint import load_config
from moe_eval_plugin.option_values import read_json, read_pairs
from moe_eval_plugin.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from transformers import PretrainedConfig


def load_changed_config(
    name: str,
    changes: Mapping[str, Any],
    revision: str | None = None,
    *,
    trust_remote_code: bool = False,
) -> PretrainedConfig:
    """Load the configuration that a name refers to, and change it.

    The name is a file (``config.json`` under any name), a model type of transformers
    (``qwen3_moe``: its default sizes), or whatever ``checkpoint.load_config`` takes. Raises its
    errors, and ``InvalidArgumentError`` for a setting that the configuration does not have.
    """
    from transformers import CONFIG_MAPPING, AutoConfig

    path = Path(name).expanduser()
    register_for({"model_type": name}, trust_remote_code=False)
    if path.is_file():
        config = _config_of_file(path)
    elif name in CONFIG_MAPPING and not path.exists():
        config = AutoConfig.for_model(name)
    else:
        config = load_config(name, revision, trust_remote_code=trust_remote_code)
    change_config(config, changes)
    return config


def parse_changes(items: Iterable[str]) -> dict[str, Any]:
    """Read ``KEY=VALUE`` items; a value is JSON (``512``, ``false``, ``[0, 1]``), else a string.

    Raises ``InvalidArgumentError`` for an item without a key, and for one that is given twice.
    """
    given = read_pairs("--config", items, "KEY=VALUE, e.g. num_experts=64 vision_config.depth=4")
    return {key: json_or_text(value) for key, value in given.items()}


def change_config(config: PretrainedConfig, changes: Mapping[str, Any]) -> None:
    """Change settings of a configuration in place: ``hidden_size``, ``vision_config.depth``.

    A name without a part before it is looked for in the text part first, then in the whole.
    Raises ``InvalidArgumentError`` for one that the configuration does not have, or not with such
    a value.
    """
    from huggingface_hub.errors import StrictDataclassError

    for name, value in changes.items():
        owner, key = _owner(config, name)
        try:
            setattr(owner, key, value)
        except (StrictDataclassError, ValueError, TypeError) as error:
            message = f"config {name}={value} cannot be set: {one_line(error)}."
            raise InvalidArgumentError(message) from error


def _owner(config: PretrainedConfig, name: str) -> tuple[Any, str]:
    *parts, key = name.split(".")
    owner: Any = config
    for part in parts:
        owner = getattr(owner, part, None)
    candidates = [owner] if parts else [config.get_text_config(), config]
    found = next((candidate for candidate in candidates if hasattr(candidate, key)), None)
    if found is None:
        known = ", ".join(sorted(key for key in vars(candidates[0] or config) if key[0] != "_"))
        message = f"config {name} is not a setting of {config.model_type}. It has: {known}."
        raise InvalidArgumentError(message)
    return found, key


def _config_of_file(path: Path) -> PretrainedConfig:
    from huggingface_hub.errors import StrictDataclassError
    from transformers import CONFIG_MAPPING, AutoConfig

    try:
        settings = dict(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError) as error:
        message = f"{path} is not the configuration of a model: {error}. Pass a config.json."
        raise ModelNotFoundError(message) from error
    register_for(settings, trust_remote_code=False)
    model_type = settings.pop("model_type", None)
    if model_type not in CONFIG_MAPPING:
        message = (
            f"{path} has the model type {model_type}, which the installed transformers does "
            "not support. Pass the config.json of a model that it supports."
        )
        raise UserError(message)
    try:
        config: PretrainedConfig = AutoConfig.for_model(model_type, **settings)
    except (StrictDataclassError, ValueError, TypeError) as error:
        message = f"{path} does not fit transformers: {one_line(error)}."
        raise UserError(message) from error
    return config


def json_or_text(text: str) -> Any:  # noqa: ANN401  (whatever the JSON text says)
    """Return what a text says as JSON, or else the text; a key twice is refused."""
    try:
        json.loads(text)
    except ValueError:
        return text
    return read_json("--config", text)
