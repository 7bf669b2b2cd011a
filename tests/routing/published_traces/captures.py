"""Write FLAME-MoE's traces as their hooks and their data set have them, from known routers.

The model is reduced to its router: what it routes is the token's own vector, a little of its
position, and noise. Tensors have the shapes and the order of Megatron-LM's: hidden states are
``(sequence length, micro-batch, hidden size)``, and the router flattens them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import torch
from pyarrow import parquet

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

SEQUENCE = 2048
EXPERTS, K, HIDDEN = 64, 6, 16
LAYERS = (2, 3)
VOCABULARY = 40


@dataclass(frozen=True)
class Capture:
    """What one call of the model leaves: the token ids, and the choices of each layer."""

    ids: Tensor
    """``(micro_batch * 2048,)``, flattened by sequence, as ``input_ids.view(-1)`` is."""
    dense: dict[int, Tensor]
    """Probabilities ``(tokens, experts)`` of each layer, 0 where not chosen; by position first."""

    def top(self, layer: int) -> tuple[Tensor, Tensor]:
        """Scores and indices, as the hook saves them."""
        values, indices = torch.topk(self.dense[layer], k=K)
        return values, indices


def captured(call: int, micro_batch: int, iteration: int) -> Capture:
    """One call: the tokens depend on the call alone, the routers on the iteration too."""
    of_tokens = torch.Generator().manual_seed(call)
    ids = torch.randint(VOCABULARY, (micro_batch, SEQUENCE), generator=of_tokens)
    of_model = torch.Generator().manual_seed(1000 + iteration)
    embedding = torch.randn(VOCABULARY, HIDDEN, generator=of_model)
    hidden = embedding[ids].transpose(0, 1).contiguous()
    hidden = hidden + 0.3 * torch.randn(hidden.shape, generator=of_tokens)
    dense = {}
    for layer in LAYERS:
        weight = torch.randn(EXPERTS, HIDDEN, generator=of_model)
        logits = (hidden @ weight.T).view(-1, EXPERTS)
        scores = torch.softmax(logits, dim=-1, dtype=torch.float32)
        probs, chosen = torch.topk(scores, k=K, dim=1)
        dense[layer] = torch.zeros_like(logits).scatter(1, chosen, probs)
    return Capture(ids.view(-1), dense)


def write_captures(
    root: Path,
    iterations: tuple[int, ...] = (110, 220),
    micro_batch: int = 2,
    calls: int = 2,
    job: str = "flame-moe-290m/31066",
    *,
    is_dense: bool = False,
) -> None:
    """Write the files of the hooks: ``actives/JOB/ITERATION/LAYER/CALL-RANK.pt``, and samples."""
    for call in range(calls):
        name = f"{call}-0.pt"
        for iteration in iterations:
            capture = captured(call, micro_batch, iteration)
            samples = root / "samples" / job
            samples.mkdir(parents=True, exist_ok=True)
            torch.save(capture.ids, samples / name)
            for layer in LAYERS:
                folder = root / "actives" / job / str(iteration) / str(layer)
                folder.mkdir(parents=True, exist_ok=True)
                saved = capture.dense[layer] if is_dense else capture.top(layer)
                torch.save(saved, folder / name)


def write_published(
    root: Path,
    iterations: tuple[int, ...] = (110, 220),
    micro_batch: int = 2,
    calls: int = 2,
    *,
    is_aligned: bool = True,
) -> None:
    """Write the files of the data set: ``actives/iter_N/layer_NN.parquet`` and ``samples``.

    Without ``is_aligned`` the rows of the layers are those of the hooks one after another.
    """
    samples = root / "samples"
    samples.mkdir(parents=True)
    for iteration in iterations:
        captures = [captured(call, micro_batch, iteration) for call in range(calls)]
        folder = root / "actives" / f"iter_{iteration:04}"
        folder.mkdir(parents=True)
        for layer in LAYERS:
            pairs = [capture.top(layer) for capture in captures]
            if is_aligned:
                pairs = [tuple(_by_sequence(one, micro_batch) for one in pair) for pair in pairs]
            scores, indices = (torch.cat(parts) for parts in zip(*pairs, strict=True))
            columns = {
                "scores": _lists(scores.numpy().astype(np.float16)),
                "indices": _lists(indices.numpy().astype(np.int16)),
            }
            parquet.write_table(pa.table(columns), folder / f"layer_{layer:02}.parquet")
        for number, capture in enumerate(captures):
            table = pa.table({"token_id": capture.ids.numpy().astype(np.int32)})
            parquet.write_table(table, samples / f"{number:03}.parquet")


def _by_sequence(rows: Tensor, micro_batch: int) -> Tensor:
    return rows.view(SEQUENCE, micro_batch, K).transpose(0, 1).reshape(-1, K)


def _lists(array: np.ndarray) -> pa.Array:  # type: ignore[type-arg]
    offsets = np.arange(0, array.size + 1, array.shape[1], dtype=np.int32)
    return pa.ListArray.from_arrays(offsets, pa.array(array.ravel()))
