"""The options of a command that is running, as its results record them."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

from moe_eval_plugin.hosts.lm_eval.command import PROGRAM

# Options that change nothing of what is asked, answered or scored; some hold passwords.
NOT_RECORDED = frozenset(
    {
        *("cache_requests", "check_integrity", "config", "output_path", "show_config", "use_cache"),
        *("verbosity", "write_out"),
        *("hf_hub_log_args", "trackio_args", "wandb_args", "wandb_config_args"),
    }
)


def command_record(config: Any) -> dict[str, Any]:  # noqa: ANN401  (the host's dataclass)
    """Return the program and the options that were given, as plain JSON data.

    ``config`` holds the options of the command line and of a file of ``--config``. lm-eval's own
    results lack some: ``num_fewshot``, ``apply_chat_template``, ``include_path`` and others.
    """
    default = type(config)()
    given = {
        field.name: getattr(config, field.name)
        for field in fields(config)
        if field.name not in NOT_RECORDED
        and getattr(config, field.name) != getattr(default, field.name)
    }
    # The host adds the arguments of the model to those of the tasks.
    metadata = _without(given.pop("metadata", {}), config.model_args)
    options = {**given, **({"metadata": metadata} if metadata else {})}
    return {"program": " ".join(PROGRAM), "options": json.loads(json.dumps(options, default=str))}


def _without(arguments: dict[str, Any], others: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in arguments.items()
        if name not in others or others[name] != value
    }
