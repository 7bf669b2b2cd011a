"""Keep what the decoder layers of one pass returned, so that later passes begin in the middle.

To lower k in one layer leaves the outputs of all layers before it as they are. In such a suffix
pass these layers return what they returned before, and the model's own forward runs otherwise
unchanged: embeddings, masks, positions, what it adds between layers, norm and head. So nothing is
assumed of a family but that its layers pass on all that later ones need, which
``suffix_check`` examines.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._pytree import tree_leaves, tree_map

from moe_eval_plugin.errors import MeasurementError
from moe_eval_plugin.hardware.memory import free_memory
from moe_eval_plugin.models.architecture import decoder_of, layer_stack

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from torch import nn

# Of the free memory, at most this part is taken by the outputs of layers.
MEMORY_SHARE = 0.25


class LayerCalls:
    """Outputs of the decoder layers in one pass over a batch, call by call.

    They take layers x rows x tokens x hidden size x bytes of a number, on the device of the layers.
    Where that is more than ``limit_bytes`` (default: a quarter of the free memory), only each
    second, third, ... output is kept, and a suffix pass begins at the last one before its layer.

    Raises ``UserError`` for a model that does not expose its decoder.
    """

    def __init__(self, model: nn.Module, limit_bytes: int | None = None) -> None:
        decoder_path, decoder = decoder_of(model)
        stack_path, stack = layer_stack(decoder)
        self.path = f"{decoder_path}.{stack_path}".strip(".")
        self._layers = list(stack)
        self._limit_bytes = limit_bytes
        self._step = 1
        self._numbers: list[int] = []
        self._kept: dict[int, Any] = {}

    @property
    def n_layers(self) -> int:
        """Number of decoder layers."""
        return len(self._layers)

    @property
    def nbytes(self) -> int:
        """Bytes of all outputs that are kept."""
        return sum(map(_nbytes, self._kept.values()))

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """Keep the outputs of the pass that runs in the block, instead of those of another one."""
        self.clear()

        def kept(number: int, forward: Callable[..., Any]) -> Callable[..., Any]:
            def run(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  (any layer)
                output = forward(*args, **kwargs)
                self._keep(number, output)
                return output

            return run

        with self._replaced(kept):
            yield

    @contextmanager
    def replaying(self, changed: Collection[int]) -> Iterator[frozenset[int]]:
        """Run only what may differ where some layers are changed, in the pass of the block.

        Yields the numbers of the layers that run. Raises ``MeasurementError`` where the pass calls
        the layers in another order than the kept one did.
        """
        begin = self._begin(changed)
        position = 0

        def replayed(number: int, forward: Callable[..., Any]) -> Callable[..., Any]:
            def run(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  (any layer)
                nonlocal position
                here, position = position, position + 1
                if here >= begin:
                    return forward(*args, **kwargs)
                if self._numbers[here] != number:
                    message = f"{self.path}.{number} was called out of turn in a suffix pass."
                    raise MeasurementError(message)
                # A copy: a model may add to an output in place.
                return _copy(self._kept.get(here, self._kept[begin - 1]))

            return run

        with self._replaced(replayed):
            yield frozenset(self._numbers[begin:])

    def clear(self) -> None:
        """Drop all outputs."""
        self._numbers.clear()
        self._kept.clear()

    def _begin(self, changed: Collection[int]) -> int:
        """Return the first call that runs: that of a changed layer, or where none is kept."""
        calls = enumerate(self._numbers)
        begin = next((i for i, number in calls if number in changed), len(self._numbers))
        while begin and begin - 1 not in self._kept:
            begin -= 1
        return begin

    def _keep(self, number: int, output: Any) -> None:  # noqa: ANN401
        if not self._numbers:
            self._step = self._step_for(output)
        position = len(self._numbers)
        self._numbers.append(number)
        if (position + 1) % self._step == 0:
            self._kept[position] = _copy(output)

    def _step_for(self, output: Any) -> int:  # noqa: ANN401
        """Return of how many outputs one is kept."""
        limit = self._limit_bytes
        if limit is None:
            device = next((str(one.device) for one in tree_leaves(output) if _is_tensor(one)), "")
            free = free_memory(device, None)
            limit = int(free.free_bytes * MEMORY_SHARE) if free else None
        if not limit:
            return 1
        return max(1, -(-_nbytes(output) * self.n_layers // limit))

    @contextmanager
    def _replaced(
        self, change: Callable[[int, Callable[..., Any]], Callable[..., Any]]
    ) -> Iterator[None]:
        """Replace the forward of each layer while the block runs."""
        with ExitStack() as stack:
            for number, layer in enumerate(self._layers):
                if "forward" in vars(layer):
                    stack.callback(setattr, layer, "forward", layer.forward)
                else:
                    stack.callback(delattr, layer, "forward")
                layer.forward = change(number, layer.forward)
            yield


def _copy(output: Any) -> Any:  # noqa: ANN401  (whatever a layer returns)
    return tree_map(lambda part: part.clone() if _is_tensor(part) else part, output)


def _nbytes(output: Any) -> int:  # noqa: ANN401
    return sum(part.nbytes for part in tree_leaves(output) if _is_tensor(part))


def _is_tensor(part: object) -> bool:
    return isinstance(part, torch.Tensor)
