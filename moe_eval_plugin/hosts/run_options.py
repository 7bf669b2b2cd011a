"""Options of a run that do not depend on the engine: batch size, seed, profile, prompt."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from moe_eval_plugin.engines.option_checks import check_choice
from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.hosts.unanswered import ERROR, POLICIES

if TYPE_CHECKING:
    import torch

LARGEST_AUTO_BATCH = {"cuda": 64, "cpu": 16}
PROFILES = ("off", "basic", "full")


@dataclass(frozen=True)
class RunOptions:
    """How requests are run, whatever the engine."""

    batch_size: int | str = 1
    """Questions answered at once, or ``auto``: as many as memory takes (``moe_hf``), or as vLLM's
    scheduler decides (``moe_vllm``); default: that of lmms-eval's ``--batch_size``, ``1``."""
    max_batch_size: int | None = None
    """Upper limit of ``batch_size=auto``; default: 64 on a GPU, 16 on a CPU."""
    max_new_tokens: int = 128
    """Upper limit of an answer's length in tokens, for tasks that set none; default: ``128``."""
    system_prompt: str | None = None
    """A system message before each question; default: none."""
    seed: int = 0
    """Seed of the random numbers, set before the first request of a kind; default: ``0``."""
    profile: str = "basic"
    """What is measured besides the wall time: ``off`` for nothing, ``basic`` for phases, latency,
    memory and energy, ``full`` for the same and steady decode; default: ``basic``."""
    profile_trace: str | None = None
    """A folder for a Chrome trace of a few batches; default: no trace."""
    unanswerable: str = ERROR
    """What becomes of a question that cannot be put to the model, as its image is broken or its
    prompt too long: ``error`` ends the run and names it, ``count`` counts it as answered with
    nothing, and records it; default: ``error``."""

    def __post_init__(self) -> None:
        """Raise ``InvalidArgumentError`` for a value that no option can take."""
        self.fixed_batch()
        check_choice("profile", self.profile, PROFILES)
        check_choice("unanswerable", self.unanswerable, POLICIES)
        if self.profile_trace is not None:
            _check_folder("profile_trace", str(self.profile_trace))

    def largest_batch(self, device: torch.device) -> int:
        """Return the first batch size; it is halved when memory runs out."""
        return self.fixed_batch() or self.max_batch_size or LARGEST_AUTO_BATCH.get(device.type, 16)

    def fixed_batch(self) -> int | None:
        """Return the requested batch size; ``None`` for ``auto``.

        Raises ``InvalidArgumentError`` for anything but that and a whole number from 1.
        """
        if self.batch_size == "auto":
            return None
        text = str(self.batch_size)
        if not text.isascii() or not text.isdigit() or int(text) < 1:
            message = f"batch_size={text} is not possible. Use auto, or a whole number from 1."
            raise InvalidArgumentError(message)
        return int(text)


def _check_folder(name: str, value: str) -> None:
    """Refuse a folder that cannot be created because a file has its name; create nothing."""
    path = Path(value)
    files = [one for one in (path, *path.parents) if one.is_file()]
    if files:
        message = (
            f"{name}={value} is not possible: {files[0]} is a file. Choose a folder; it is "
            "created if it does not exist."
        )
        raise InvalidArgumentError(message)
