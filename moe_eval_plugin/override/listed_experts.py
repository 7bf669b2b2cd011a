"""Observe the choice of experts where a block calls the experts of a list one by one.

The call of an expert has the rows that were routed to it, and not which tokens they are. The choice
of each token is somewhere before: a router returns it (the gate of DeepSeek-V3, whose code Kimi-VL
has too), or the block itself takes the largest of the router's logits (Mixtral and OLMoE before
transformers 5). So whatever may be the choice is collected while the block runs: each tensor of
integers, each mask and each matrix of weights that a module or a function of torch returns, with a
row for each token. It is taken for the choice only if it sends to each expert exactly as many rows
as the expert was called with. Where nothing agrees (tokens dropped beyond a capacity, experts
called with all tokens, a kernel instead of calls) no token of that call is counted, and
verification reports it as not observable.

The block waits for the device anyway, to know the rows of each expert.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch.overrides import TorchFunctionMode

from moe_eval_plugin.models.moe_layers import MATRIX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor, nn

    from moe_eval_plugin.models.moe_layers import MoELayer


@contextmanager
def observe_listed(layer: MoELayer, add: Callable[[Tensor], None]) -> Iterator[None]:
    """Call ``add`` with the experts of each token, (tokens, k), after each call of a block.

    It is not called after a call in which the choice was not seen.
    """
    observer = _BlockObserver(layer, add)
    handles = observer.install()
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class _BlockObserver:
    """What one call of a block shows: rows of each expert, and what may be the choice."""

    def __init__(self, layer: MoELayer, add: Callable[[Tensor], None]) -> None:
        self._block = layer.observed_module
        (self._list,) = layer.expert_modules.values()
        self._experts = list(self._list.children())
        self._add = add
        self._calls: list[_BlockCall] = []

    def install(self) -> list[Any]:
        """Install the hooks, and return their handles."""
        block = self._block
        handles = [
            block.register_forward_pre_hook(self._begin, with_kwargs=True),
            # Also called when the block fails, since the mode must be left.
            block.register_forward_hook(lambda *_: self._end(), always_call=True),
        ]
        for number, expert in enumerate(self._experts):
            before = self._counting(number)
            handles.append(expert.register_forward_pre_hook(before, with_kwargs=True))
        return handles

    def _begin(self, _block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        call = _BlockCall(_n_rows(args, kwargs), len(self._experts))
        call.active.enter_context(call.mode)
        self._calls.append(call)

    def _end(self) -> None:
        call = self._calls.pop()
        call.active.close()
        chosen = call.choice()
        if chosen is not None:
            self._add(chosen)

    def _counting(self, number: int) -> Callable[..., None]:
        def before(_expert: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if self._calls:
                self._calls[-1].rows[number] += _n_rows(args, kwargs)

        return before


class _BlockCall:
    """One call of a block."""

    def __init__(self, n_tokens: int, num_experts: int) -> None:
        self.n_tokens = n_tokens
        self.rows = [0] * num_experts
        self.mode = _CollectingMode(n_tokens, num_experts)
        self.active = ExitStack()

    def choice(self) -> Tensor | None:
        """Return the experts of each token, (tokens, k), if something agrees with the rows."""
        k, rest = divmod(sum(self.rows), self.n_tokens or 1)
        found = reversed(self.mode.found) if any(self.rows) else ()
        for value in sorted(found, key=lambda value: value.dim() < MATRIX):
            if k == len(self.rows) and _is_mask(value):
                continue  # scores without a zero: all experts compute all tokens
            chosen = _as_choice(value, len(self.rows))
            if not _is_mask(value) and not rest:
                chosen = chosen[:, :k]  # of a whole sorted row
            if _rows_of(chosen, len(self.rows)) == self.rows:
                return chosen
        return None


class _CollectingMode(TorchFunctionMode):
    """Collects what functions of torch return, while it is active, if it may be the choice.

    Modules of a router end in such a function, so what they return is among it.
    """

    def __init__(self, n_tokens: int, num_experts: int) -> None:
        super().__init__()
        self.n_tokens = n_tokens
        self.num_experts = num_experts
        self.found: list[Tensor] = []

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """Run the function, and keep what it returns."""
        output = func(*args, **(kwargs or {}))
        values = output if isinstance(output, tuple | list) else (output,)
        self.found += [value for value in values if self._may_be_choice(value)]
        return output

    def _may_be_choice(self, value: object) -> bool:
        if not isinstance(value, torch.Tensor) or value.dim() == 0 or value.is_complex():
            return False
        n_rows, width = value.shape[:-1].numel(), value.shape[-1]
        if value.dim() < MATRIX:
            return len(value) == self.n_tokens and not _is_mask(value)
        is_wide = width == self.num_experts
        return n_rows == self.n_tokens and (is_wide or not _is_mask(value))


def _n_rows(args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    """Return the rows of the first tensor among the arguments of a call, its hidden states."""
    tensors = (a for a in (*args, *kwargs.values()) if isinstance(a, torch.Tensor))
    return next((t.shape[:-1].numel() for t in tensors), 0)


def _is_mask(value: Tensor) -> bool:
    return value.is_floating_point() or value.dtype == torch.bool


def _as_choice(value: Tensor, num_experts: int) -> Tensor:
    """Return a value as indices (tokens, width), -1 for none.

    Weights and masks have a column for each expert, and are 0 where one was not chosen.
    """
    matrix = value.flatten(end_dim=-2) if value.dim() >= MATRIX else value[:, None]
    if not _is_mask(value):
        return matrix
    return torch.where(matrix != 0, torch.arange(num_experts, device=value.device), -1)


def _rows_of(chosen: Tensor, num_experts: int) -> list[int]:
    """Count the rows that a choice sends to each expert."""
    inside = chosen[(chosen >= 0) & (chosen < num_experts)]
    counts: list[int] = torch.bincount(inside.long(), minlength=num_experts).tolist()
    return counts
