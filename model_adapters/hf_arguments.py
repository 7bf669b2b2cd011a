"""Sort and check the arguments of ``moe_hf``, which users write in ``--model_args``."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.engines.transformers.options import EngineOptions
from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.hosts.run_options import RunOptions
from moe_eval_plugin.models import checkpoint
from moe_eval_plugin.text import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping


def parse_arguments(model_args: dict[str, Any]) -> tuple[EngineOptions, RunOptions]:
    """Sort ``--model_args`` and the host's own options into ours.

    Raises what ``read_arguments`` raises. Where no device is named it is the GPU, if there is one.
    """
    engine, run = read_arguments(model_args)
    if model_args.get("device") is None:
        import torch

        engine = replace(engine, device="cuda" if torch.cuda.is_available() else "cpu")
    return engine, run


def read_arguments(model_args: Mapping[str, Any]) -> tuple[EngineOptions, RunOptions]:
    """Sort and check ``--model_args`` without torch; without a device, it is ``cpu``.

    Raises ``InvalidArgumentError`` for an unknown name, with the nearest known one, and for a value
    that an option cannot take.
    """
    engine_names = {f.name for f in fields(EngineOptions)}
    run_names = {f.name for f in fields(RunOptions)}
    for name in model_args.keys() - engine_names - run_names:
        raise InvalidArgumentError(_unknown_argument(name, sorted(engine_names | run_names)))
    given = {name: value for name, value in model_args.items() if value is not None}
    engine = {name: value for name, value in given.items() if name in engine_names}
    engine.setdefault("pretrained", checkpoint.default_pretrained())
    if "device" in engine and "device_map" in engine:
        message = (
            f"device={engine['device']} has no effect with device_map={engine['device_map']}, "
            "which says where each part of the model is. Leave one of them out."
        )
        raise InvalidArgumentError(message)
    run = {name: value for name, value in given.items() if name in run_names}
    return EngineOptions(**engine), RunOptions(**run)


def _unknown_argument(name: str, known: list[str]) -> str:
    hint = did_you_mean(name, known)
    return f"{name} is not an argument of moe_hf.{hint} Known are: {', '.join(known)}."
