"""``PolicyCalibration``: what a plugin gets to choose the parameters of its policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor, nn


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


class CalibrationBatch(Protocol):
    """Some calibration prompts, each followed by the tokens of its answer.

    The prompts are padded on the left to ``n_prompt`` columns and the answers on the right, so
    that all answers begin in one column. The last token of an answer is predicted and never put
    to the model.
    """

    @property
    def inputs(self) -> Mapping[str, Any]:
        """Arguments of the model, on the CPU; ``input_ids`` is (rows, n_prompt + answer - 1)."""

    @property
    def n_prompt(self) -> int:
        """Columns of the prompts: the logits of the answers begin in column ``n_prompt - 1``."""

    @property
    def answer_ids(self) -> Tensor:
        """Tokens of the answers, (rows, answer), -1 behind the last one of a row."""


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
    model: nn.Module | None = None
    """The loaded model of transformers at the published k, for methods that need more than losses.

    Leave it as it was: ``measure`` runs the same one. ``None`` while a request is checked, before
    the weights are read.
    """
    prompts: Sequence[CalibrationBatch] = ()
    """The calibration prompts with their answers, in batches; empty where ``model`` is ``None``."""

    @property
    def target_k(self) -> float:
        """Largest allowed mean of the routed experts per token."""
        return self.target * self.baseline
