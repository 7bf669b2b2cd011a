"""Which experts tokens really use: observed at the door of the experts, not read from settings.

A router hands its choice to the experts module as a tensor of indices, one row per token. That
tensor is what the model computes with, whatever any attribute or configuration says, so its rows
are counted there. Hooks cost time: observe in a pass of its own, never in one that is timed.
"""

from __future__ import annotations

import re
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor, nn

Modality = Literal["text", "image", "padding"]
MODALITIES: tuple[Modality, ...] = ("text", "image", "padding")
TEXT, IMAGE, PADDING = range(len(MODALITIES))

EXPERTS_CLASS = re.compile(r"(?<!Shared)Experts$")
IMAGE_TOKEN_KEYS = ("image_token_id", "image_token_index", "video_token_id", "video_token_index")
TOKENS_BY_EXPERTS = 2


@dataclass(frozen=True)
class Observation:
    """What tokens used: per MoE layer and modality, distinct routed experts -> tokens.

    The key of a layer is the path of its experts module. A layer that no token reached is there
    with empty histograms.
    """

    histograms: Mapping[str, Mapping[Modality, Mapping[int, int]]]

    def by_layer(self) -> dict[str, dict[int, int]]:
        """Give the histogram of each layer over text and image tokens, without padding."""
        return {layer: dict(self._sum([layer])) for layer in self.histograms}

    def distinct_k(self) -> tuple[int, ...]:
        """List every number of routed experts that some token used in some layer, sorted."""
        return tuple(sorted(self._sum(self.histograms)))

    def mean_k(self) -> float | None:
        """Average the routed experts per token over layers and tokens; ``None`` without tokens."""
        total = self._sum(self.histograms)
        n = total.total()
        return sum(k * count for k, count in total.items()) / n if n else None

    def n_tokens(self, modality: Modality) -> int:
        """Count the tokens of one modality that reached the first MoE layer."""
        first = next(iter(self.histograms.values()), {})
        return sum(first.get(modality, {}).values())

    def _sum(self, layers: list[str] | Mapping[str, Any]) -> Counter[int]:
        total: Counter[int] = Counter()
        for layer in layers:
            for modality in ("text", "image"):
                total.update(self.histograms[layer].get(modality, {}))
        return total


def find_experts(model: nn.Module) -> dict[str, nn.Module]:
    """Find the routed experts of each MoE layer: path -> module, in the order of the model.

    A module counts when its class is named ``...Experts`` and it is not a shared one.
    """
    return {
        path: module
        for path, module in model.named_modules()
        if EXPERTS_CLASS.search(type(module).__name__)
    }


@dataclass
class _Recorder:
    """Counts on the model's device, so that a forward pass is not made to wait."""

    image_token_ids: tuple[int, ...]
    kinds: Tensor | None = None
    counts: dict[str, Tensor] = field(default_factory=dict)

    def begin_forward(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Note what each token of the coming forward pass is: text, image or padding."""
        import torch

        input_ids = kwargs.get("input_ids", args[0] if args else None)
        if input_ids is None:
            self.kinds = None
            return
        kinds = torch.zeros_like(input_ids)
        for token_id in self.image_token_ids:
            kinds[input_ids == token_id] = IMAGE
        mask = kwargs.get("attention_mask")
        if (
            torch.is_tensor(mask)
            and mask.shape[:1] == input_ids.shape[:1]
            and mask.dim() == kinds.dim()
        ):
            kinds[mask[:, -input_ids.shape[1] :] == 0] = PADDING
        self.kinds = kinds.flatten()

    def count(self, layer: str, chosen: Tensor, num_experts: int) -> None:
        """Add the rows of ``chosen`` (tokens, experts) to the histogram of a layer.

        An index of ``num_experts`` and above, or below 0, stands for "no expert".
        """
        import torch

        width = chosen.shape[-1]
        ordered = chosen.sort(dim=-1).values
        is_new = torch.ones_like(ordered, dtype=torch.bool)
        is_new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
        distinct = (is_new & (ordered >= 0) & (ordered < num_experts)).sum(-1)
        kinds = self.kinds
        if kinds is None or kinds.numel() != distinct.numel():
            kinds = torch.full_like(distinct, TEXT)
        flat = kinds.to(distinct.device) * (width + 1) + distinct
        counted = torch.bincount(flat, minlength=len(MODALITIES) * (width + 1))
        counted = counted.reshape(len(MODALITIES), width + 1)
        self.counts[layer] = _add(self.counts.get(layer), counted)

    def observation(self, layers: Mapping[str, nn.Module]) -> Observation:
        return Observation({layer: _as_histograms(self.counts.get(layer)) for layer in layers})


@contextmanager
def observe(model: nn.Module) -> Iterator[PendingObservation]:
    """Watch every MoE layer of a model while the block runs, then take all hooks off again.

    The object that is yielded gives the ``Observation`` afterwards. The model must be called as
    a module (``model(...)`` or ``generate``), so that its hooks run.
    """
    layers = find_experts(model)
    recorder = _Recorder(image_token_ids=_image_token_ids(model))
    handles = [
        model.register_forward_pre_hook(
            lambda _module, args, kwargs: recorder.begin_forward(args, kwargs), with_kwargs=True
        )
    ]
    for path, module in layers.items():
        handles.append(_watch(path, module, recorder))
    try:
        yield PendingObservation(recorder, layers)
    finally:
        for handle in handles:
            handle.remove()


@dataclass(frozen=True)
class PendingObservation:
    """What ``observe`` has seen so far."""

    _recorder: _Recorder
    _layers: Mapping[str, nn.Module]

    def result(self) -> Observation:
        """Give the counts until now; this waits for the device."""
        return self._recorder.observation(self._layers)


def _watch(path: str, module: nn.Module, recorder: _Recorder) -> Any:  # noqa: ANN401  (a torch handle)
    num_experts = int(getattr(module, "num_experts", 0)) or len(list(module.children()))

    def before_experts(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        chosen = _chosen_experts((*args, *kwargs.values()))
        if chosen is not None:
            recorder.count(path, chosen, num_experts)

    return module.register_forward_pre_hook(before_experts, with_kwargs=True)


def _chosen_experts(arguments: tuple[Any, ...]) -> Tensor | None:
    """Find the tensor of expert indices (tokens, k) among the arguments of an experts module."""
    import torch

    for value in arguments:
        if isinstance(value, torch.Tensor) and value.dim() == TOKENS_BY_EXPERTS:
            is_index = not value.is_floating_point() and value.dtype != torch.bool
            if is_index:
                return value
    return None


def _image_token_ids(model: nn.Module) -> tuple[int, ...]:
    config = getattr(model, "config", None)
    ids = (getattr(config, key, None) for key in IMAGE_TOKEN_KEYS)
    return tuple(dict.fromkeys(i for i in ids if isinstance(i, int)))


def _add(total: Tensor | None, counted: Tensor) -> Tensor:
    """Add two tables of (modality, k) whose widths may differ, when k differs between passes."""
    import torch

    if total is None:
        return counted
    width = max(total.shape[1], counted.shape[1])
    padded = [torch.nn.functional.pad(t, (0, width - t.shape[1])) for t in (total, counted)]
    return padded[0] + padded[1]


def _as_histograms(counts: Tensor | None) -> dict[Modality, dict[int, int]]:
    if counts is None:
        return {modality: {} for modality in MODALITIES}
    return {
        modality: {k: n for k, n in enumerate(row) if n}
        for modality, row in zip(MODALITIES, counts.tolist(), strict=True)
    }
