"""``PolicyCalibration``: what a plugin gets to choose the parameters of its policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor, nn


@dataclass(frozen=True)
class MeasuredPolicy:
    """The loss and the experts used of a policy with given numbers, on the calibration prompts."""

    loss: float
    """Kullback-Leibler divergence from the published model, in nats per answer token."""
    mean_k: float
    """Mean number of routed experts that a token used, over all tokens and MoE layers."""
    mean_k_text: float | None = None
    """The mean for text tokens; ``None`` if there are none."""
    mean_k_image: float | None = None
    """The mean for image tokens; ``None`` if there are none."""


class CalibrationBatch(Protocol):
    """Some calibration prompts, each followed by the tokens of its answer.

    Prompts are padded on the left to ``n_prompt`` columns, and answers on the right. So all
    answers begin in the same column. The last token of an answer is only predicted: it is not
    among the inputs.
    """

    @property
    def inputs(self) -> Mapping[str, Any]:
        """Arguments of the model, on the CPU; ``input_ids`` is (rows, n_prompt + answer - 1)."""

    @property
    def n_prompt(self) -> int:
        """Columns of the prompts. The logits of the answers begin in column ``n_prompt - 1``."""

    @property
    def answer_ids(self) -> Tensor:
        """Tokens of the answers, (rows, answer). Rows are filled with -1 after their last token."""


@dataclass(frozen=True)
class PolicyCalibration:
    """A policy whose numbers a plugin shall choose, and what is known about the model.

    Example, the mean loss of the layers at k = 2::

        losses = [by_k[2] for by_k in calibration.losses_by_layer.values()]
        mean = sum(losses) / len(losses)
    """

    policy: str
    """Name of the policy."""
    target: float
    """Largest allowed share of the published k, from 0 to 1."""
    baseline: int
    """The published k."""
    layers: tuple[int, ...]
    """Numbers of the decoder layers with routed experts, in order."""
    measure: Callable[[Sequence[float | tuple[float, ...]]], MeasuredPolicy]
    """Function of the numbers, each a float or a tuple with one for each MoE layer.

    The first measurement of a choice runs all prompts and counts as a setting that was tried. A
    repeated choice costs nothing.
    """
    n_prompts: int
    """Number of calibration prompts."""
    has_images: bool
    """Whether the prompts have image tokens."""
    losses_by_layer: Mapping[int, Mapping[int, float]]
    """Loss by decoder layer and k, when only this layer uses this k.

    Each layer has the same values of k, all below ``baseline``. If the search is by phase, this is
    the sum of the losses of both phases. Empty if layers were not measured.
    """
    losses_by_modality: Mapping[tuple[int, str], Mapping[int, float]]
    """Loss by (decoder layer, ``text`` or ``image``) and k, when only these tokens use this k in
    this layer. Empty if modalities were not measured."""
    model: nn.Module | None = None
    """The loaded transformers model at its published k, for methods that need more than losses.

    Leave the model as you found it: ``measure`` runs it too. ``None`` in the call that is made
    before the weights are read.
    """
    prompts: Sequence[CalibrationBatch] = ()
    """The calibration prompts and their answers, in batches. Empty if ``model`` is ``None``."""

    @property
    def target_k(self) -> float:
        """Largest mean number of experts per token that the target allows."""
        return self.target * self.baseline
