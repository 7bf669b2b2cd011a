"""Check that a model fits into memory and disk, before it is downloaded or loaded.

Sizes come from the weight files on disk, or from the hub's list of them; memory from the machine.
Where a size is unknown, the check logs a warning and lets loading go on.
"""

from __future__ import annotations

import logging

from moe_eval_plugin.errors import InsufficientMemoryError
from moe_eval_plugin.hardware.memory import Memory, free_disk_bytes, free_memory
from moe_eval_plugin.models.checkpoint import cache_folder, resolve
from moe_eval_plugin.models.weights.dtypes import DTYPE_BYTES
from moe_eval_plugin.models.weights.safetensors_header import FLOAT_BYTES
from moe_eval_plugin.models.weights.size import WeightSize, weight_size
from moe_eval_plugin.option_values import read_bool, variable
from moe_eval_plugin.text import gib_text

logger = logging.getLogger(__name__)

HEADROOM = 1.1
SKIP_VARIABLE = "MOE_EVAL_SKIP_PREFLIGHT"


def check_memory(
    pretrained: str,
    *,
    revision: str | None = None,
    device: str,
    device_map: str | None,
    dtype: str | None,
) -> None:
    """Refuse a model that is larger than the memory or the disk space that is free.

    ``device`` and ``device_map`` are those that the model will be loaded with, ``dtype`` is the
    requested one (``None`` or ``auto``: as stored). Raises ``InsufficientMemoryError``, unless
    ``MOE_EVAL_SKIP_PREFLIGHT=1``, and ``InvalidArgumentError`` where that is neither yes nor no.
    """
    if variable(SKIP_VARIABLE, read_bool):
        logger.info("%s is set: whether %s fits was not checked.", SKIP_VARIABLE, pretrained)
        return
    name = resolve(pretrained)
    size = weight_size(name, revision)
    if size is None:
        logger.warning("The size of %s is not known, so whether it fits was not checked.", name)
        return
    require_disk(name, size.download_bytes, free_disk_bytes(cache_folder()))
    memory = free_memory(device, device_map)
    if memory is None:
        logger.warning("The free memory of %s is not known, so it was not checked.", device)
        return
    require_memory(name, bytes_needed(size, dtype), memory)


def bytes_needed(size: WeightSize, dtype: str | None = None) -> int:
    """Return the bytes that the weights take in memory, plus 10%.

    Numbers stored as floating point are converted to ``dtype``; quantised ones stay as they are.
    """
    weights = size.total_bytes
    wanted = DTYPE_BYTES.get((dtype or "auto").removeprefix("torch."))
    if wanted is not None:
        weights += sum(
            n * (wanted - FLOAT_BYTES[stored])
            for stored, n in size.elements.items()
            if stored in FLOAT_BYTES
        )
    return int(weights * HEADROOM)


def require_memory(name: str, needed_bytes: int, memory: Memory) -> None:
    """Raise ``InsufficientMemoryError`` with advice when a model needs more than is free."""
    if needed_bytes <= memory.free_bytes:
        return
    message = (
        f"{name} needs {gib_text(needed_bytes)} (its weights and a tenth more), and "
        f"{gib_text(memory.free_bytes)} are free on {memory.where}. Nothing was loaded. Use a "
        "smaller model, pretrained=demo for the embedded one, a smaller dtype (dtype=bfloat16), or "
        f"more GPUs with device_map=auto. To try all the same, set {SKIP_VARIABLE}=1."
    )
    raise InsufficientMemoryError(message)


def require_disk(name: str, download_bytes: int, free_bytes: int) -> None:
    """Raise ``InsufficientMemoryError`` when the files to download do not fit on the disk."""
    if download_bytes <= free_bytes:
        return
    message = (
        f"{name} is a download of {gib_text(download_bytes)}, and {gib_text(free_bytes)} are free "
        f"on the disk of {cache_folder()}. Nothing was downloaded. Make room, or let HF_HOME "
        f"name a folder on a larger disk, or use pretrained=demo. To try all the same, set "
        f"{SKIP_VARIABLE}=1."
    )
    raise InsufficientMemoryError(message)
