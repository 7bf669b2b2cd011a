"""Read the ``.pt`` files that FLAME-MoE's fork of Megatron-LM writes while it captures traces.

The hooks are in ``gpt_model.py`` and ``moe_layer.py`` of yuzc19/Megatron-LM at cbaf684c. For each
call of the model, N, on each rank, R, they save a file ``N-R.pt``:

- of the tokens, ``input_ids.view(-1)``: int64, the sequences of the micro-batch one after another;
- of each MoE layer, ``torch.topk(probs, k)`` as a tuple of values and indices, ``(tokens, k)``,
  where ``probs`` are the router's probabilities over all experts, 0 where an expert is not chosen.
  Before f038acb5 they saved ``probs`` itself, ``(tokens, experts)``.

The router sees hidden states of ``(sequence length, micro-batch, hidden size)``. So the rows of a
layer are ordered by position first, and those of the tokens by sequence: with a micro-batch of more
than one sequence, row i of the two is not the same token. Here the layers' rows are put into the
order of the tokens.
"""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any, NoReturn

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.routing.published_traces.row_order import by_sequence
from moe_eval_plugin.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray


def capture_names(folder: Path) -> list[str]:
    """List the names of the files of a folder, in the order of the calls, then of the ranks."""
    numbers = {}
    for path in folder.glob("*.pt"):
        call, _, rank = path.stem.partition("-")
        if not (call.isdecimal() and rank.isdecimal()):
            message = f"{path} is no capture: its name is not CALL-RANK.pt, 0-0.pt for example."
            raise DataError(message)
        numbers[int(call), int(rank)] = path.name
    return [numbers[key] for key in sorted(numbers)]


def read_captured_ids(folder: Path, names: Iterable[str]) -> NDArray[np.int32]:
    """Return the token ids of some files, one after another, ``(tokens,)``."""
    import numpy as np

    parts: list[NDArray[Any]] = [np.empty(0, np.int32)]
    for name in names:
        found = _load(folder / name)
        if not _is_tensor(found) or found.ndim != 1:
            _fail(folder / name, "it is no list of token ids")
        parts.append(found.numpy().astype(np.int32))
    return np.concatenate(parts)


def read_captures(
    folder: Path, names: Iterable[str], sequence_length: int
) -> tuple[NDArray[np.int16], NDArray[np.float32], int | None]:
    """Return the experts and scores of a layer, in the order of the tokens, and its experts.

    Shapes are ``(tokens, k)``; the number of experts is ``None`` where the files do not show it.
    Raises ``DataError`` for files that are missing, cut off or of another form.
    """
    import numpy as np

    experts, scores = [], []
    num_experts = None
    for name in names:
        values, indices, num_experts = _top(folder / name)
        n_sequences, rest = divmod(len(values), sequence_length)
        if rest and n_sequences:
            _fail(
                folder / name,
                f"its {len(values)} tokens are no whole sequences of {sequence_length}",
            )
        order = by_sequence(len(values), max(1, n_sequences))
        experts.append(indices[order].astype(np.int16))
        scores.append(values[order].astype(np.float32))
    return np.concatenate(experts), np.concatenate(scores), num_experts


def _top(path: Path) -> tuple[NDArray[Any], NDArray[Any], int | None]:
    """Return scores and experts of a file, ``(tokens, k)``, and the experts if it shows them."""
    found = _load(path)
    if _is_tensor(found) and found.ndim == 2:  # noqa: PLR2004  (tokens and experts)
        k = int((found > 0).sum(dim=1).max()) if len(found) else 0
        values, indices = found.float().topk(max(1, k), dim=1)
        return values.numpy(), indices.numpy(), int(found.shape[1])
    is_pair = isinstance(found, tuple | list) and len(found) == 2  # noqa: PLR2004
    if not is_pair or not all(_is_tensor(one) and one.ndim == 2 for one in found):  # noqa: PLR2004
        _fail(path, "it is no pair of scores and indices")
    values, indices = found
    if values.shape != indices.shape:
        _fail(path, f"scores of {tuple(values.shape)} with indices of {tuple(indices.shape)}")
    return values.float().numpy(), indices.numpy(), None


def _is_tensor(value: object) -> bool:
    import torch

    return isinstance(value, torch.Tensor)


def _load(path: Path) -> Any:  # noqa: ANN401  (what the file holds)
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        message = f"There is no {path}. Copy the files of all layers and of the tokens."
        raise DataError(message) from error
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        _fail(path, one_line(error))


def _fail(path: Path, reason: str) -> NoReturn:
    message = f"{path} cannot be read: {reason}. Copy the file again."
    raise DataError(message)
