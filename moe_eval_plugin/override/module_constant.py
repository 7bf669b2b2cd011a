"""Set k where the code of a layer reads it from a constant of its Python module, as MoE++ does.

All models whose code is in that module read the same constant. So it has another value only while
a layer of one model runs: models beside it are not changed, and each layer can have a k of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moe_eval_plugin.experts.module_path import layer_number, path_modality
from moe_eval_plugin.experts.trace import RouterDecision
from moe_eval_plugin.override.k_location import KLocation

if TYPE_CHECKING:
    from types import ModuleType

    from torch import nn

    from moe_eval_plugin.models.moe_layers import MoELayer

# Class of an expert that returns zeros.
ZERO_EXPERT = "ZeroExpert"


def constant_location(
    layer: MoELayer, block: nn.Module, code: ModuleType, name: str, rejected: str | None
) -> KLocation:
    """Return the location of the constant ``name`` of a Python module, for one layer that reads it.

    ``block`` is the module of the layer that holds its router and its experts; ``rejected`` is the
    reason not to set the constant, or ``None``.
    """
    decision = RouterDecision(
        path=layer.path,
        owner=code.__name__,
        attribute=name,
        value=getattr(code, name),
        accepted=rejected is None,
        reason=rejected or "it is the k of this layer, and is set while the layer runs",
    )
    constant = _ConstantOfLayer(layer, block, code, name)
    modality = path_modality(layer.path)
    return KLocation(decision, layer_number(layer.path), modality, constant.set, None)


class _ConstantOfLayer:
    """A constant that has another value while one layer runs."""

    def __init__(self, layer: MoELayer, block: nn.Module, code: ModuleType, name: str) -> None:
        self._layer = layer
        self._block = block
        self._code = code
        self._name = name
        self._k = 0
        self._before: list[int] = []
        self._handles: list[Any] = []

    def set(self, k: int | None) -> None:
        """Set the value for the layer's calls from now on; ``None`` leaves the constant alone."""
        if k is None:
            for handle in self._handles:
                handle.remove()
            self._handles = []
            return
        self._k = k
        if not self._handles:
            router = self._layer.observed_module
            self._handles = [
                self._block.register_forward_pre_hook(self._begin),
                # Also called when the layer fails.
                self._block.register_forward_hook(self._end, always_call=True),
                router.register_forward_hook(self._weigh_zero_experts, prepend=True),
            ]

    def _begin(self, *_: object) -> None:
        self._before.append(getattr(self._code, self._name))
        setattr(self._code, self._name, self._k)

    def _end(self, *_: object) -> None:
        setattr(self._code, self._name, self._before.pop())

    def _weigh_zero_experts(self, _router: nn.Module, _args: object, output: Any) -> None:  # noqa: ANN401
        """Replace the weights of zero experts that are not numbers by 0.

        The router sets such a weight to 0 before it divides by the sum of all, and at a k of 1 that
        is 0 by 0. At every weight the expert returns zeros, which 0 alone makes of NaN too.
        """
        rows_of = output[0] if isinstance(output, tuple) else None
        if not isinstance(rows_of, dict):
            return
        for experts in self._layer.expert_modules.values():
            listed = getattr(experts, "experts", ())
            for number, expert in enumerate(listed):
                if type(expert).__name__ == ZERO_EXPERT and number in rows_of:
                    _rows, weights = rows_of[number]
                    weights.masked_fill_(weights.isnan(), 0)
