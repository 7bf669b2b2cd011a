"""Options of a run that do not depend on the engine: batch size, seed, profile, prompt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.hosts.unanswered import COUNT, ERROR
from moe_eval_plugin.option_values import (
    one_of,
    read_fields,
    read_int,
    read_new_folder,
    read_text,
    refusal,
    whole,
)

if TYPE_CHECKING:
    import torch

LARGEST_AUTO_BATCH = {"cuda": 64, "cpu": 16}
LARGEST_SEED = 2**32 - 1


def read_batch_size(name: str, value: object) -> int | str:
    """Return ``auto``, or a whole number from 1."""
    if value == "auto":
        return "auto"
    try:
        return read_int(name, value, at_least=1)
    except InvalidArgumentError as error:
        raise refusal(name, value, "Use auto, or a whole number from 1") from error


READERS = {
    "batch_size": read_batch_size,
    "max_batch_size": whole(1),
    "max_new_tokens": whole(1),
    "system_prompt": read_text,
    "seed": whole(0, LARGEST_SEED),
    "profile": one_of("off", "basic", "full"),
    "profile_trace": read_new_folder,
    "unanswerable": one_of(ERROR, COUNT),
}


@dataclass(frozen=True)
class RunOptions:
    """How requests are run, whatever the engine."""

    batch_size: int | str = 1
    """Questions in a batch, or ``auto``: as many as fit into memory (``moe_hf``), or as vLLM's
    scheduler decides (``moe_vllm``); default: lmms-eval's ``--batch_size``, which is ``1``."""
    max_batch_size: int | None = None
    """Upper limit of ``batch_size=auto``; default: 64 on a GPU, 16 on a CPU."""
    max_new_tokens: int = 128
    """Longest answer in tokens, for tasks that set no limit; default: ``128``."""
    system_prompt: str | None = None
    """System message before each question; default: none."""
    seed: int | None = None
    """Seed of sampled answers, 0 to 4294967295; default: the third number of lmms-eval's
    ``--seed``, which is the seed of torch."""
    profile: str = "basic"
    """What to measure besides accuracy, wall time and latency: ``off`` nothing, ``basic`` phases,
    time to first token, memory and energy, ``full`` steady decode as well; default: ``basic``."""
    profile_trace: str | None = None
    """Folder for a Chrome trace of a few batches; default: no trace."""
    unanswerable: str = ERROR
    """What to do with a question that cannot be put to the model, for instance because its image is
    broken or its prompt is too long: ``error`` ends the run and names the question, ``count``
    counts it as answered with nothing and records it; default: ``error``."""

    def __post_init__(self) -> None:
        """Raise ``InvalidArgumentError`` for a value that no option can take."""
        read_fields(self, READERS)
        if self.max_batch_size is not None and self.batch_size != "auto":
            message = (
                f"max_batch_size={self.max_batch_size} has no effect with batch_size="
                f"{self.batch_size}: it limits batch_size=auto. Leave one of them out."
            )
            raise InvalidArgumentError(message)

    def largest_batch(self, device: torch.device) -> int:
        """Return the first batch size; it is halved when memory runs out."""
        return self.fixed_batch() or self.max_batch_size or LARGEST_AUTO_BATCH.get(device.type, 16)

    def seed_after(self, seed_of_torch: int) -> int:
        """Return the seed of sampled answers: ours, else that of torch.

        lmms-eval seeds torch with the third number of ``--seed`` before it builds a model, on the
        command line, from a YAML file and from Python alike. Without a number there, it is the seed
        that torch has. Only its last 32 bits count, as NumPy and vLLM take no more.
        """
        return seed_of_torch % (LARGEST_SEED + 1) if self.seed is None else self.seed

    def fixed_batch(self) -> int | None:
        """Return the requested batch size; ``None`` for ``auto``."""
        return None if isinstance(self.batch_size, str) else self.batch_size
