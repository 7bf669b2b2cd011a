"""Find the scores by which a router chose, in what it computed before its experts were called.

Routers of different families have different names for logits, biases and scores, and choose from
different ones of them. What all share is a function of torch that returns the largest entries of
a table with a column for each expert. So the calls of torch are watched. The table whose largest
entries were the experts that a token used is what the router selects by. Its scores are the softmax
or sigmoid over all experts that, in this order,

1. is that table (Qwen3-MoE, OLMoE, Mixtral, DeepSeek-V2),
2. the weights are proportional to with which the experts were called, where the router adds a bias
   or limits the choice to some groups (DeepSeek-V3, GLM-4-MoE),
3. follows from a table that the router computed and agrees with those weights in the same way,
   where it applies softmax or sigmoid to the chosen entries only (GPT-OSS, Granite).

A single weight is proportional to anything: at k = 1 it must be the score itself (Llama 4). Where
none of them is found, there are no scores: nothing is guessed from names.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeGuard

import torch
from torch.overrides import TorchFunctionMode

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from torch import Tensor

# Functions that return the places of the largest entries: themselves, or second to the values.
PLACES_ONLY = ("argmax", "argsort")
LARGEST = ("topk", "sort", "max", *PLACES_ONLY)
NORMALISERS: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": lambda table: table.softmax(-1),
    "sigmoid": torch.sigmoid,
}
TWO = 2
MOST_DIMENSIONS = 3
# Weights are rounded to the type of the hidden states: bfloat16 has 8 bits.
TOLERANCES = {torch.bfloat16: 2e-2, torch.float16: 4e-3}
TOLERANCE = 1e-3


@dataclass(frozen=True)
class RouterScores:
    """What a router computed for the rows of one call; each table is (rows, experts)."""

    selection: Tensor
    """What it selects by: the chosen experts have the largest entries."""
    scores: Tensor | None
    """Softmax or sigmoid over all experts, float32; ``None`` where it was not seen."""


@dataclass(frozen=True)
class _Normalised:
    """A softmax or sigmoid that a router computed."""

    name: str
    table: Tensor
    output: Tensor

    @property
    def scores(self) -> Tensor:
        """The same in float32, (rows, experts); computed again where it was not."""
        if self.output.dtype == torch.float32:
            return _flat(self.output)
        return NORMALISERS[self.name](_flat(self.table).float())


class ScoreWatch:
    """Keeps what functions of torch return, if a router may have chosen by it.

    ``widths`` are the numbers of experts that routers choose among.
    """

    def __init__(self, widths: Collection[int]) -> None:
        self._widths = frozenset(widths)
        self.forget()

    def forget(self) -> None:
        """Forget what was kept: the experts that it belongs to were called."""
        self._tables: list[Tensor] = []
        self._normalised: list[_Normalised] = []
        self._largest: list[tuple[Tensor, Tensor]] = []

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch the functions that this thread calls while the block runs."""
        with _Mode(self._note):
            yield

    def scores_of(self, chosen: Tensor, weights: Tensor | None) -> RouterScores | None:
        """Return by what the experts of each row, (rows, k), were chosen.

        An index of -1 stands for none. ``weights`` (rows, k) are those with which the
        experts are called. ``None`` if nothing agrees with the choice.
        """
        selection = self._selection(chosen)
        if selection is None:
            return None
        scores = self._scores(selection, chosen, weights)
        return RouterScores(_flat(selection).float(), scores)

    def _note(self, name: str, args: Sequence[Any], output: Any) -> None:  # noqa: ANN401
        """Keep the result of a function if it is a table of experts, or its largest entries."""
        table = args[0] if args else None
        if self._is_table(output):
            self._tables.append(output)
            if name in NORMALISERS and isinstance(table, torch.Tensor):
                self._normalised.append(_Normalised(name, table, output))
        if name in LARGEST and self._is_table(table):
            places = output if name in PLACES_ONLY else _second(output)
            if places is not None:
                self._largest.append((table, places))

    def _is_table(self, value: object) -> TypeGuard[Tensor]:
        return (
            isinstance(value, torch.Tensor)
            and value.is_floating_point()
            and TWO <= value.dim() <= MOST_DIMENSIONS
            and value.shape[-1] in self._widths
        )

    def _selection(self, chosen: Tensor) -> Tensor | None:
        """Return the table whose largest entries a function returned, and that were chosen."""
        is_full = (chosen >= 0).all(-1)
        if not is_full.any():
            return None
        for table, places in reversed(self._largest):
            if len(_flat(table)) != len(chosen) or places.numel() % len(chosen):
                continue
            found = places.reshape(len(chosen), -1)[:, : chosen.shape[1]]
            if found.shape != chosen.shape:
                continue
            if _have_same_entries(found[is_full], chosen[is_full]):
                return table
        return None

    def _scores(self, selection: Tensor, chosen: Tensor, weights: Tensor | None) -> Tensor | None:
        shape = _flat(selection).shape
        normalised = [one for one in self._normalised if _flat(one.output).shape == shape]
        for one in normalised:
            if one.output is selection:
                return one.scores
        if weights is None:
            return None
        for one in reversed(normalised):
            is_masked = bool(one.table.isneginf().any())  # to the chosen experts
            if not is_masked and _is_proportional(one.scores, chosen, weights):
                return one.scores
        tables = [table for table in (selection, *self._tables) if _flat(table).shape == shape]
        derived = [f(_flat(table).float()) for table in tables for f in NORMALISERS.values()]
        # Sigmoids of small logits are nearly those of a softmax.
        closest = min(derived, key=lambda scores: _deviation(scores, chosen, weights))
        return closest if _is_proportional(closest, chosen, weights) else None


class _Mode(TorchFunctionMode):
    """Calls ``note`` with the name, arguments and result of each function of torch."""

    def __init__(self, note: Callable[[str, Sequence[Any], Any], None]) -> None:
        super().__init__()
        self._note = note

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """Run the function, and note what it returns."""
        output = func(*args, **(kwargs or {}))
        given = args or tuple((kwargs or {}).values())
        self._note(getattr(func, "__name__", ""), given, output)
        return output


def _second(output: Any) -> Tensor | None:  # noqa: ANN401
    """Return the places among the results of a function; ``None`` for one of values alone."""
    places = output[1] if isinstance(output, tuple) and len(output) == TWO else None
    return places if isinstance(places, torch.Tensor) else None


def _flat(table: Tensor) -> Tensor:
    return table.flatten(end_dim=-2)


def _have_same_entries(one: Tensor, other: Tensor) -> bool:
    return torch.equal(one.long().sort(-1).values, other.long().sort(-1).values)


def _is_proportional(scores: Tensor, chosen: Tensor, weights: Tensor) -> bool:
    """Whether the weights of each row are its scores times one factor, as far as both are exact."""
    return _deviation(scores, chosen, weights) <= TOLERANCES.get(weights.dtype, TOLERANCE)


def _deviation(scores: Tensor, chosen: Tensor, weights: Tensor) -> float:
    """Return the largest difference among the quotients weight / score of a row, relative to them.

    A weight of 0 is skipped: that of an expert without effect. With a single weight, the quotient
    is compared with 1.
    """
    is_expert = (chosen >= 0) & (weights != 0)
    own = scores.gather(-1, chosen.clamp_min(0))
    quotients = weights.float() / own.clamp_min(torch.finfo(torch.float32).tiny)
    largest = quotients.masked_fill(~is_expert, -torch.inf).amax(-1)
    smallest = quotients.masked_fill(~is_expert, torch.inf).amin(-1)
    if chosen.shape[1] == 1:
        largest, smallest = quotients[:, 0].clamp_min(1), quotients[:, 0].clamp_max(1)
    relative = ((largest - smallest) / largest.abs())[is_expert.any(-1)]
    return float(relative.max()) if len(relative) else torch.inf
