"""What was recorded of a model's routers: its tokens, and the experts of each in each layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class RowLabel:
    """Whose tokens a row of a batch has."""

    task: int
    """Number of the task."""
    question: int
    """Number of the question within the task."""
    sequence: int
    """Number of the text, different for each text that the model is called with."""
    n_known: int = 0
    """How many of its first tokens are not recorded, since another text has them too."""


@dataclass(frozen=True, eq=False)
class RecordedTokens:
    """Tokens that a model was called with, without padding, in the order of the calls; (n,)."""

    token_id: NDArray[np.int32]
    """Number in the vocabulary; -1 where the model was called with embeddings."""
    task: NDArray[np.int16]
    """As in ``RowLabel``."""
    modality: NDArray[np.int8]
    """Index into ``experts.tokens.OBSERVED_MODALITIES``, text or image."""
    phase: NDArray[np.int8]
    """Index into ``experts.tokens.PHASES``."""
    question: NDArray[np.int32]
    """As in ``RowLabel``."""
    position: NDArray[np.int32]
    """Position within its text, from 0."""
    sequence: NDArray[np.int32]
    """As in ``RowLabel``."""


@dataclass(frozen=True, eq=False)
class RecordedLayer:
    """Experts that one router preferred for the tokens that reached its layer."""

    path: str
    """Path of the layer; that of a layer that runs several times in a pass ends with the run."""
    num_experts: int
    """Routed experts that compute."""
    num_zero_experts: int
    """Routed experts that compute nothing; their numbers are the last."""
    published_k: int
    """Experts of each token while it was recorded."""
    experts: NDArray[np.int16]
    """Experts of each token, (rows, width), most preferred first by what the router selects by.

    The width is ``published_k``, and one more with ``scores`` unless all experts are chosen.
    """
    scores: NDArray[np.float32] | None
    """Softmax or sigmoid over all experts at these, (rows, width); ``None`` where not seen."""
    entropy: NDArray[np.float32] | None
    """Entropy of ``scores`` over all experts divided by their sum, (rows,), in nats."""
    rows: NDArray[np.int64] | None
    """Rows of the tokens that reached the layer, ascending; ``None`` for all."""
    ranked_by_score: bool
    """Whether the router selects by these scores alone, without a bias or groups of experts."""
    scores_sum_to_one: bool
    """Whether the scores of all experts sum to 1."""


@dataclass(frozen=True, eq=False)
class RecordedChoices:
    """Everything that was recorded of a model."""

    tokens: RecordedTokens
    """Its tokens."""
    layers: tuple[RecordedLayer, ...]
    """Its MoE layers that were reached by tokens, in the order of the model."""
