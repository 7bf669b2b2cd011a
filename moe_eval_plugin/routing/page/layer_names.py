"""Short names of layers: the parts in which their module paths differ."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from moe_eval_plugin.report.charts.routing import short_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from moe_eval_plugin.routing.statistics.tables import LayerStudy, RoutingStudy

PREFIX = "layer "
NUMBER = re.compile(r"\d+")


def layer_names(paths: Sequence[str]) -> tuple[str, ...]:
    """Return a name for each path: ``3`` for ``model.layers.3.mlp`` and for ``layer 3``."""
    if all(path.startswith(PREFIX) for path in paths):
        return tuple(path.removeprefix(PREFIX) for path in paths)
    if len(paths) == 1:
        numbers = NUMBER.findall(paths[0])
        return (numbers[-1] if numbers else paths[0],)
    return tuple(short_names(paths))


def named_layers(study: RoutingStudy) -> tuple[tuple[str, LayerStudy], ...]:
    """Return the layers that tokens reached, each with its name."""
    return tuple((name, layer) for name, layer in _all(study) if layer.n_tokens)


def unreached(study: RoutingStudy) -> tuple[str, ...]:
    """Return the names of the layers that no token reached."""
    return tuple(name for name, layer in _all(study) if not layer.n_tokens)


def _all(study: RoutingStudy) -> Iterable[tuple[str, LayerStudy]]:
    return zip(layer_names([one.path for one in study.layers]), study.layers, strict=True)
