"""Build a routing trace from FLAME-MoE's traces, on a CPU and without the model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import DataError, InvalidArgumentError
from moe_eval_plugin.experts.tokens import PHASES, TEXT
from moe_eval_plugin.prompts.progress import NoProgress
from moe_eval_plugin.routing.published_traces.captured_files import (
    capture_names,
    read_captured_ids,
    read_captures,
)
from moe_eval_plugin.routing.published_traces.locate import locate
from moe_eval_plugin.routing.published_traces.parquet_files import (
    count_rows,
    read_choices,
    read_token_ids,
)
from moe_eval_plugin.routing.published_traces.row_order import (
    MICRO_BATCHES,
    find_micro_batch,
    rows_by_sequence,
)
from moe_eval_plugin.routing.trace import UNKNOWN_TOKEN, LayerTrace, RoutingTrace, Tokens

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from moe_eval_plugin.prompts.progress import Progress
    from moe_eval_plugin.routing.published_traces.locate import Location

# Of all FLAME-MoE models: --num-experts and --seq-length of its configurations.
NUM_EXPERTS = 64
SEQUENCE_LENGTH = 2048
MAX_TOKENS = 1_000_000
TASK = "dclm"


@dataclass(frozen=True)
class _Rows:
    """What was read, in the order of the tokens."""

    token_ids: NDArray[np.int32] | None
    """``None`` where the folder has none."""
    layers: dict[int, tuple[NDArray[np.int16], NDArray[np.float32]]]
    """Experts and scores of each layer, ``(n_tokens, k)``, by its number from 1."""
    num_experts: int
    n_all: int
    """Tokens that the files hold."""
    notes: tuple[str, ...] = ()


def read_flame_traces(
    folder: Path,
    iteration: int | None = None,
    max_tokens: int | None = MAX_TOKENS,
    progress: Progress | None = None,
) -> RoutingTrace:
    """Return FLAME-MoE's traces of a folder as a routing trace.

    Args:
        folder: That of a model, with ``actives`` and ``samples``, or that of one iteration.
        iteration: The checkpoint; the last one by default.
        max_tokens: Tokens to read, from the first one on, in whole sequences; ``None``: all, of
            which the published traces have 52 million, 2 GB of memory for each layer.
        progress: Counts the layers.

    A question is a sequence of 2048 tokens of a held-out part of DCLM. The files have the router's
    probabilities of the chosen experts alone, 6 of 64, so that the margin of the 6th expert and the
    entropy are not known. Raises ``DataError`` for files that are cut off or do
    not fit together, ``InvalidArgumentError`` for an iteration that is not there.
    """
    if max_tokens is not None and max_tokens < 1:
        message = f"max_tokens={max_tokens} is not possible. Use 1 or more."
        raise InvalidArgumentError(message)
    location = locate(folder, iteration)
    progress = progress or NoProgress()
    progress.counting(
        f"reading the traces of iteration {location.iteration}", len(location.layers), "layers"
    )
    reader = _read_parquet if location.is_parquet else _read_captures
    return _trace(location, reader(location, max_tokens, progress), max_tokens)


def _read_parquet(location: Location, max_tokens: int | None, progress: Progress) -> _Rows:
    first = min(location.layers)
    n_all = count_rows(location.layers[first])
    # Enough for the largest micro-batch, whose order is looked for.
    least = MICRO_BATCHES[-1] * SEQUENCE_LENGTH
    n_read = n_all if max_tokens is None else min(n_all, max(max_tokens, least))
    ids = None if location.samples is None else read_token_ids(location.samples, n_read)
    layers = {}
    order: NDArray[np.int64] | None = None
    notes: tuple[str, ...] = ()
    for number, path in location.layers.items():
        experts, scores = read_choices(path, n_read)
        _check_length(path, len(experts), n_read)
        if number == first and ids is not None:
            _check_length(location.samples, len(ids), n_read)
            order, notes = _order(ids, experts)
        layers[number] = (experts, scores) if order is None else (experts[order], scores[order])
        progress.advance()
    if order is not None and ids is not None:
        ids = ids[: len(order)]
    return _Rows(ids, layers, NUM_EXPERTS, n_all, notes)


def _order(
    token_ids: NDArray[np.int32], experts: NDArray[np.int16]
) -> tuple[NDArray[np.int64] | None, tuple[str, ...]]:
    """Return the order in which a layer's rows fit the tokens, ``None`` as they are, and a note."""
    size = find_micro_batch(token_ids, experts, NUM_EXPERTS, SEQUENCE_LENGTH)
    if size == 1:
        return None, ()
    note = (
        f"The rows of the layers are ordered by position within micro-batches of {size} sequences, "
        "unlike those of the tokens: they were put into the order of the tokens."
    )
    n_whole = len(token_ids) // (size * SEQUENCE_LENGTH) * size * SEQUENCE_LENGTH
    return rows_by_sequence(n_whole, size, SEQUENCE_LENGTH), (note,)


def _read_captures(location: Location, max_tokens: int | None, progress: Progress) -> _Rows:
    first = location.layers[min(location.layers)]
    names = capture_names(first)
    n_in_file = len(read_captures(first, names[:1], SEQUENCE_LENGTH)[0])
    n_files = len(names) if max_tokens is None else math.ceil(max_tokens / max(1, n_in_file))
    wanted = names[:n_files]
    layers, num_experts = {}, NUM_EXPERTS
    for number, path in location.layers.items():
        experts, scores, found = read_captures(path, wanted, SEQUENCE_LENGTH)
        layers[number] = (experts, scores)
        num_experts = found or num_experts
        progress.advance()
    ids = None if location.samples is None else read_captured_ids(location.samples, wanted)
    n_tokens = len(layers[min(layers)][0])
    for number, path in location.layers.items():
        _check_length(path, len(layers[number][0]), n_tokens)
    if ids is not None:
        _check_length(location.samples, len(ids), n_tokens)
    return _Rows(ids, layers, num_experts, n_in_file * len(names))


def _check_length(path: Path | None, n_rows: int, expected: int) -> None:
    if n_rows != expected:
        message = (
            f"{path} has {n_rows:,} tokens where another file of the traces has {expected:,}. Use "
            "files of one model and iteration, as they were published."
        )
        raise DataError(message)


def _trace(location: Location, rows: _Rows, max_tokens: int | None) -> RoutingTrace:
    import numpy as np

    n_tokens = len(next(iter(rows.layers.values()))[0])
    if max_tokens is not None and max_tokens < rows.n_all:
        n_tokens = min(n_tokens, max_tokens)
        n_tokens = n_tokens // SEQUENCE_LENGTH * SEQUENCE_LENGTH or n_tokens
    numbers = np.arange(n_tokens)
    ids = np.full(n_tokens, UNKNOWN_TOKEN) if rows.token_ids is None else rows.token_ids
    return RoutingTrace(
        model=location.model,
        revision=f"iteration {location.iteration}",
        weights=None,
        tasks=(TASK,),
        tokens=Tokens(
            token_id=ids[:n_tokens].astype(np.int32),
            task=np.zeros(n_tokens, np.int16),
            modality=np.full(n_tokens, TEXT, np.int8),
            phase=np.full(n_tokens, PHASES.index("prefill"), np.int8),
            question=(numbers // SEQUENCE_LENGTH).astype(np.int32),
            position=(numbers % SEQUENCE_LENGTH).astype(np.int32),
        ),
        layers=tuple(
            LayerTrace(
                path=f"layer {number}",
                num_experts=rows.num_experts,
                num_zero_experts=0,
                published_k=experts.shape[1],
                experts=experts[:n_tokens],
                scores=scores[:n_tokens],
            )
            for number, (experts, scores) in rows.layers.items()
        ),
        notes=(*_notes(rows, n_tokens), *rows.notes),
    )


def _notes(rows: _Rows, n_tokens: int) -> Iterator[str]:
    if n_tokens < rows.n_all:
        yield f"The first {n_tokens:,} of {rows.n_all:,} tokens."
    if rows.token_ids is None:
        yield "The token ids are unknown: there is no folder of samples beside the traces."
