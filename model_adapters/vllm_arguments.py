"""Sort and check the arguments of ``moe_vllm``, which users write in ``--model_args``."""

from __future__ import annotations

import os
import re
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.engines.vllm.options import (
    OWNED,
    VLLMOptions,
    engine_argument_names,
    read_engine_values,
)
from moe_eval_plugin.engines.vllm.process import built_for_device
from moe_eval_plugin.errors import InvalidArgumentError, MissingDependencyError
from moe_eval_plugin.hosts.run_options import RunOptions
from moe_eval_plugin.models import checkpoint
from moe_eval_plugin.text import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

OPTIONS = tuple(f.name for f in fields(VLLMOptions) if f.name != "engine")
RUN_OPTIONS = ("batch_size", "max_new_tokens", "system_prompt", "seed", "unanswerable")
ONLY_IN_MOE_HF = ("experts_policy", "renorm", "experts_implementation", "device_map")
# Names are looked for in this text of vLLM first: its import takes many seconds.
SOURCE = "engine/arg_utils.py"
FIELD = re.compile(r"^    (\w+) *:", re.MULTILINE)
# Options of the host, which `moe_vllm` gets among its arguments.
OF_THE_HOST = ("batch_size", "device", "max_batch_size")


def parse_arguments(model_args: Mapping[str, Any]) -> tuple[VLLMOptions, RunOptions]:
    """Sort ``--model_args`` and the host's own options into ours and vLLM's.

    Raises ``InvalidArgumentError`` for an unknown name, with the nearest known one.
    """
    given = {name: value for name, value in model_args.items() if value is not None}
    of_the_host = given.pop("device", None), given.pop("max_batch_size", None)
    refuse_ranks()
    check_names(list(given), [*OPTIONS, *RUN_OPTIONS])
    _refuse_without_effect(*of_the_host)
    ours = {name: given.pop(name) for name in OPTIONS if name in given}
    ours.setdefault("pretrained", checkpoint.default_pretrained())
    run = {name: given.pop(name) for name in RUN_OPTIONS if name in given}
    return VLLMOptions(**ours, engine=read_engine_values(given)), RunOptions(**run)


def check_names(given: Sequence[str], ours: Sequence[str]) -> None:
    """Raise ``InvalidArgumentError`` for an unknown name, with the nearest known one."""
    engine_names = engine_argument_names()
    for name in given:
        if name not in ours and name not in engine_names:
            raise InvalidArgumentError(unknown_argument(name, [*ours, *engine_names], ours))


def unknown_argument(name: str, known: Sequence[str], ours: Sequence[str]) -> str:
    """Return the message for an argument that is neither ours nor one of vLLM."""
    if name in ONLY_IN_MOE_HF:
        return (
            f"{name} is not possible with moe_vllm: it changes what becomes of a router's choice, "
            "or how transformers runs it, which vLLM's kernels do not allow. Use --model "
            "moe_hf, or leave it out."
        )
    if name in OWNED:
        return f"{name} cannot be given: moe_vllm sets it. Name the model with pretrained=."
    return (
        f"{name} is not an argument of moe_vllm.{did_you_mean(name, known)} Known are: "
        f"{', '.join(ours)}, and all engine arguments of vLLM (`vllm serve --help=all` lists them)."
    )


def _refuse_without_effect(device: object, max_batch_size: object) -> None:
    """Refuse options of lmms-eval that vLLM does not have: it chooses devices and batches."""
    if max_batch_size is not None:
        message = (
            f"max_batch_size={max_batch_size} has no effect: vLLM makes its own batches. Write "
            "max_num_seqs in --model_args to limit the requests that it runs at once."
        )
        raise InvalidArgumentError(message)
    refuse_device(device)


def refuse_device(device: object) -> None:
    """Refuse a device that vLLM would not use; ``None`` leaves the choice to it."""
    built_for = None if device is None else built_for_device()
    if device not in (built_for, f"{built_for}:0"):
        message = (
            f"device={device} is not possible: this vLLM was built for {built_for}, and takes its "
            "devices from CUDA_VISIBLE_DEVICES and tensor_parallel_size. Leave it out."
        )
        raise InvalidArgumentError(message)


def refuse_ranks() -> None:
    """Refuse to be one of several processes: each would start a vLLM of its own."""
    n_ranks = os.environ.get("WORLD_SIZE", "1")
    if n_ranks != "1":
        message = (
            f"moe_vllm was started in {n_ranks} processes. Start it once, not by accelerate or "
            "torchrun: vLLM starts its own workers, as many as tensor_parallel_size and "
            "pipeline_parallel_size say."
        )
        raise InvalidArgumentError(message)


def check_installed() -> None:
    """Raise ``MissingDependencyError`` where vLLM is not installed."""
    if find_spec("vllm") is None:
        message = (
            "--model moe_vllm needs vLLM, which is not installed. Install it: "
            'pip install "moe-eval-plugin[vllm]", or use --model moe_hf.'
        )
        raise MissingDependencyError(message)


def check_names_in_source(given: Iterable[str]) -> None:
    """Raise ``InvalidArgumentError`` for a name that is neither ours nor in vLLM's source text.

    A name that its parser has is in the module of the engine arguments; all others are checked
    later, with the parser itself. Nothing is checked where vLLM is not installed.
    """
    source = _source()
    if source is None:
        return
    ours = [*OPTIONS, *RUN_OPTIONS]
    for name in given:
        spellings = {name, name.replace("_", "-")}
        is_known = any(re.search(rf"(?<!\w){re.escape(one)}(?!\w)", source) for one in spellings)
        if name not in (*ours, *OF_THE_HOST) and not is_known:
            known = [*ours, *FIELD.findall(source)]
            raise InvalidArgumentError(unknown_argument(name, known, ours))


def _source() -> str | None:
    spec = find_spec("vllm")
    for folder in (spec.submodule_search_locations if spec else None) or ():
        path = Path(folder, SOURCE)
        if path.is_file():
            return path.read_text("utf-8")
    return None
