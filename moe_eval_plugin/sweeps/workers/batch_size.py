"""The batch size of a sweep: found at its first setting, and the same for all that follow.

The published k comes first and needs the most memory. What it took, in this process or in an
earlier one, is in the record of its results. A later setting that runs out of memory nevertheless
halves its batches for itself alone; its record says so, and answers do not depend on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from moe_eval_plugin.hosts.harness import LM_EVAL, LMMS_EVAL
from moe_eval_plugin.results.files import read_run
from moe_eval_plugin.sweeps.manifest import load_manifest

if TYPE_CHECKING:
    from pathlib import Path

AUTO = "auto"
# Models that find the largest batch that fits; others may not know the word.
OWN_MODELS = {LMMS_EVAL: ("moe_hf", "moe_vllm"), LM_EVAL: ("moe_vllm", "moe_vllm-vlm")}


def default_batch_size(model: str, host: str = LMMS_EVAL) -> str:
    """Return the batch size of a sweep whose command names none.

    With lm-eval and transformers it is that of lm-eval, whose ``auto`` computes the largest batches
    first and accepts no images.
    """
    return AUTO if model in OWN_MODELS[host] else "1"


def found_batch_size(folder: Path) -> int | None:
    """Return the batch size of the first setting of a sweep that is done; ``None`` before.

    Of several tasks it is the smallest. Raises ``DataError`` where results cannot be read.
    """
    manifest = load_manifest(folder)
    done = [manifest.results_path(name) for name in manifest.entries] if manifest else []
    path = next((one for one in done if one is not None), None)
    if path is None:
        return None
    records = [task.record for task in read_run(path).tasks if task.record is not None]
    sizes = [record.provenance.get("batch_size") for record in records]
    return min((size for size in sizes if isinstance(size, int)), default=None)
