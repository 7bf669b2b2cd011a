"""Load of the experts of a layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moe_eval_plugin.experts.layer_observation import LayerObservation
from moe_eval_plugin.routing.statistics.means import spread_of
from moe_eval_plugin.routing.statistics.tables import Load

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from moe_eval_plugin.routing.trace import LayerTrace


def load_of(layer: LayerTrace, mask: NDArray[np.bool_]) -> Load:
    """Return the load of a layer's experts, of the rows where ``mask`` is true.

    Entropy and Gini coefficient are defined as those of a record are, over the experts that
    compute: see ``LayerObservation.load_entropy`` and ``LayerObservation.load_gini``.
    """
    import numpy as np

    chosen = layer.chosen[mask]
    counts = np.bincount(chosen.ravel(), minlength=layer.num_choices)
    counted = LayerObservation(
        num_experts=layer.num_experts,
        num_zero_experts=layer.num_zero_experts,
        load=tuple(counts.tolist()),
    )
    computing = counts[: layer.num_experts]
    is_ffn = chosen < layer.num_experts if layer.num_zero_experts and len(chosen) else None
    return Load(
        tokens=counted.load,
        entropy=counted.load_entropy,
        gini=counted.load_gini,
        unused=tuple((counts == 0).nonzero()[0].tolist()),
        largest=float(computing.max() / computing.mean()) if computing.any() else None,
        zero_share=None if is_ffn is None else float(1 - is_ffn.mean()),
        ffn_k=None if is_ffn is None else spread_of(is_ffn.sum(axis=1)),
    )
