"""The arguments of ``moe_hf``: what users write in ``--model_args``, sorted and checked."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from lmms_eval.utils import simple_parse_args_string

from moe_eval_plugin import checkpoint
from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.model_adapters.hf_request import EngineOptions, check_choice

LARGEST_AUTO_BATCH = {"cuda": 64, "cpu": 16}
PROFILES = ("off", "basic", "full")


@dataclass(frozen=True)
class RunOptions:
    """How requests are run, beside how the model is loaded (``EngineOptions``).

    ``batch_size`` is a number or ``auto``: as large as the memory takes, ``max_batch_size`` at
    most. ``max_new_tokens`` holds for tasks that set none. ``seed`` is set before the first
    request of a kind. ``profile`` says what is measured beside wall time: nothing (``off``),
    phases (``basic``), or phases and steady decode (``full``). ``profile_trace`` is a folder for
    a Chrome trace of a few batches.
    """

    batch_size: int | str = 1
    max_batch_size: int | None = None
    max_new_tokens: int = 128
    system_prompt: str | None = None
    seed: int = 0
    profile: str = "basic"
    profile_trace: str | None = None

    def __post_init__(self) -> None:
        """Raise ``InvalidArgumentError`` for a value that no option can take."""
        check_choice("profile", self.profile, PROFILES)
        if self.profile_trace is not None:
            _check_folder("profile_trace", str(self.profile_trace))

    def largest_batch(self, device: torch.device) -> int:
        """Give the batch size to begin with; it is halved when memory runs out."""
        return self.fixed_batch() or self.max_batch_size or LARGEST_AUTO_BATCH.get(device.type, 16)

    def fixed_batch(self) -> int | None:
        """Give the batch size that was asked for; ``None`` for ``auto``.

        Raises ``InvalidArgumentError`` for anything but that and a whole number from 1.
        """
        if self.batch_size == "auto":
            return None
        text = str(self.batch_size)
        if not text.isascii() or not text.isdigit() or int(text) < 1:
            message = f"batch_size={text} is not possible. Use auto, or a whole number from 1."
            raise InvalidArgumentError(message)
        return int(text)


def parse_arg_string(arg_string: str) -> dict[str, Any]:
    """Read ``--model_args`` as the host does; ``InvalidArgumentError`` if that cannot be done."""
    try:
        parsed: dict[str, Any] = simple_parse_args_string(arg_string)
    except ValueError as error:
        message = f"--model_args {arg_string} cannot be read. Write name=value,name=value."
        raise InvalidArgumentError(message) from error
    return parsed


def parse_arguments(model_args: dict[str, Any]) -> tuple[EngineOptions, RunOptions]:
    """Sort ``--model_args`` and the host's own options into ours.

    Raises ``InvalidArgumentError`` for an unknown name, with the nearest known one.
    """
    engine_names = {f.name for f in fields(EngineOptions)}
    run_names = {f.name for f in fields(RunOptions)}
    for name in model_args.keys() - engine_names - run_names:
        raise InvalidArgumentError(_unknown_argument(name, sorted(engine_names | run_names)))
    given = {name: value for name, value in model_args.items() if value is not None}
    engine = {name: value for name, value in given.items() if name in engine_names}
    engine.setdefault("pretrained", checkpoint.default_pretrained())
    engine.setdefault("device", "cuda" if torch.cuda.is_available() else "cpu")
    run = {name: value for name, value in given.items() if name in run_names}
    return EngineOptions(**engine), RunOptions(**run)


def _unknown_argument(name: str, known: list[str]) -> str:
    nearest = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {nearest[0]}?" if nearest else ""
    return f"{name} is not an argument of moe_hf.{hint} Known are: {', '.join(known)}."


def _check_folder(name: str, value: str) -> None:
    """Refuse a folder that cannot be made, because a file stands in its way; nothing is made."""
    path = Path(value)
    in_the_way = [place for place in (path, *path.parents) if place.is_file()]
    if in_the_way:
        message = (
            f"{name}={value} is not possible: {in_the_way[0]} is a file. Name a folder; it is made "
            "if it is not there."
        )
        raise InvalidArgumentError(message)
