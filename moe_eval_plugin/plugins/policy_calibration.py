"""``PolicyCalibration``: what a plugin gets to choose the parameters of its policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


@dataclass(frozen=True)
class MeasuredPolicy:
    """What a policy with some parameters costs and saves on the calibration prompts."""

    loss: float
    """Kullback-Leibler divergence from the published model, in nats per token of an answer."""
    mean_k: float
    """Mean routed experts that text and image tokens used, over tokens and MoE layers."""
    mean_k_text: float | None = None
    """The mean of text tokens; ``None`` without them."""
    mean_k_image: float | None = None
    """The mean of image tokens; ``None`` without them."""


@dataclass(frozen=True)
class PolicyCalibration:
    """A policy whose parameters are to be chosen, and what is known of the model."""

    policy: str
    """Name of the policy."""
    target: float
    """Largest allowed share of the routed experts of the published model, 0 to 1."""
    baseline: int
    """Routed experts per token of the published model."""
    layers: tuple[int, ...]
    """Numbers of the decoder layers with routed experts, in their order."""
    measure: Callable[[Sequence[float | tuple[float, ...]]], MeasuredPolicy]
    """Runs the calibration prompts with parameters, each a number or numbers by MoE layer.

    Each new choice takes a pass over all prompts, and counts among the settings tried; one that
    was measured before does not.
    """
    n_prompts: int
    """Number of calibration prompts."""
    has_images: bool
    """Whether there are image tokens in the prompts."""
    losses_by_layer: Mapping[int, Mapping[int, float]]
    """Loss by decoder layer and k where the k of this layer alone is lowered to it.

    Each layer has the same k, all below ``baseline``. Of a search by phase, it is the sum of the
    losses of both phases. Empty where layers were not measured.
    """
    losses_by_modality: Mapping[tuple[int, str], Mapping[int, float]]
    """Loss by (decoder layer, ``text`` or ``image``) and k where the k of these tokens alone is
    lowered in this layer. Empty where modalities were not measured."""

    @property
    def target_k(self) -> float:
        """Largest allowed mean of the routed experts per token."""
        return self.target * self.baseline
