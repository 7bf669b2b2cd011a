"""Keep what an image tower computed, so that each k of a sweep gets the very same tensors."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch
from torch.utils._pytree import tree_leaves, tree_map

from moe_eval_plugin.models.architecture import image_tower
from moe_eval_plugin.models.moe_layers import find_experts
from moe_eval_plugin.models.releases.names import PER_TOKEN

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import nn


class ImageOutputs:
    """Outputs of image towers in RAM, up to a limit in bytes; beyond it they are computed again."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._kept: dict[tuple[str, int], Any] = {}
        self._n_bytes = 0
        self._towers: WeakKeyDictionary[nn.Module, nn.Module | None] = WeakKeyDictionary()

    @property
    def nbytes(self) -> int:
        """Bytes of all outputs that are kept."""
        return self._n_bytes

    @contextmanager
    def serving(self, model: nn.Module, images: str) -> Iterator[None]:
        """Replace the forward of a model's image tower while the block runs.

        ``images`` identifies all images that the tower gets in the block, in their order. Without
        a tower, and where the tower has experts, nothing is replaced.
        """
        if model not in self._towers:
            self._towers[model] = shareable_tower(model)
        tower = self._towers[model]
        if tower is None:
            yield
            return
        forward, own = tower.forward, vars(tower).get("forward")
        n_calls = 0

        def kept_forward(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  (any tower)
            nonlocal n_calls
            key, n_calls = (images, n_calls), n_calls + 1
            if key not in self._kept:
                output = forward(*args, **kwargs)
                self._keep(key, output)
                return output
            device = next(tower.parameters()).device
            return tree_map(lambda part: _on(part, device), self._kept[key])

        tower.forward = kept_forward
        try:
            yield
        finally:
            del tower.forward
            if own is not None:
                tower.forward = own

    def _keep(self, key: tuple[str, int], output: Any) -> None:  # noqa: ANN401
        size = sum(getattr(part, "nbytes", 0) for part in tree_leaves(output))
        if self._n_bytes + size > self._limit_bytes:
            return
        # New containers: a model may put other things into the output it gets.
        self._kept[key] = tree_map(lambda part: _on(part, torch.device("cpu")), output)
        self._n_bytes += size


def shareable_tower(model: nn.Module) -> nn.Module | None:
    """Return a model's image tower; ``None`` without one, and for one whose output depends on k."""
    tower = image_tower(model)
    if tower is None:
        return None
    inside = {id(module) for module in tower.modules()}
    modules = dict(model.named_modules())
    has_experts = any(id(modules[path]) in inside for path in find_experts(model))
    return None if has_experts else tower


def digest_of_images(tensors: Mapping[str, Any]) -> str:
    """Return a digest of all inputs of a model that are not of single tokens."""
    digest = hashlib.sha256()
    for name in sorted(tensors.keys() - set(PER_TOKEN)):
        value = tensors[name]
        digest.update(f"{name} {getattr(value, 'shape', value)} ".encode())
        if isinstance(value, torch.Tensor):
            digest.update(value.contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _on(part: Any, device: torch.device) -> Any:  # noqa: ANN401
    return part.to(device) if isinstance(part, torch.Tensor) else part
