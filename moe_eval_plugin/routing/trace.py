"""What routers chose: the tokens of a run, and the experts of each token in each layer.

Arrays are checked when a trace is made, so that statistics need not check them again.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.experts.tokens import CONTENT, PHASES, Modality, Phase
from moe_eval_plugin.routing.array_checks import check_array, check_range, check_shape, fail

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

UNKNOWN_TOKEN = -1
# A router that computes in bfloat16 orders its scores as bfloat16 rounds them: by 1 part in 256.
ROUNDING = 2**-7
# The softmax of the largest model that was tried sums to 1 within a hundredth of it.
SUM_TOLERANCE = 1e-3
TOKEN_TYPES = {
    "token_id": "int32",
    "task": "int16",
    "modality": "int8",
    "phase": "int8",
    "question": "int32",
    "position": "int32",
}


@dataclass(frozen=True, eq=False)
class Tokens:
    """Tokens that a model was called with, one row each, without padding; arrays of ``(n,)``.

    Raises ``DataError`` for arrays of other types or lengths, or values out of range.
    """

    token_id: NDArray[np.int32]
    """Number in the vocabulary; -1 where unknown. Image positions keep their placeholder's."""
    task: NDArray[np.int16]
    """Index into the ``tasks`` of the trace."""
    modality: NDArray[np.int8]
    """Index into ``experts.tokens.OBSERVED_MODALITIES``, text or image."""
    phase: NDArray[np.int8]
    """Index into ``experts.tokens.PHASES``."""
    question: NDArray[np.int32]
    """Number of the question within its task."""
    position: NDArray[np.int32]
    """Position within the question's text, from 0."""

    def __post_init__(self) -> None:
        for name, kind in TOKEN_TYPES.items():
            check_array(f"tokens.{name}", getattr(self, name), kind, 1)
        lengths = {name: len(getattr(self, name)) for name in TOKEN_TYPES}
        if len(set(lengths.values())) > 1:
            fail(f"the columns of tokens have different lengths: {lengths}")
        check_range("tokens.token_id", self.token_id, UNKNOWN_TOKEN)
        check_range("tokens.modality", self.modality, 0, len(CONTENT))
        check_range("tokens.phase", self.phase, 0, len(PHASES))
        for name in ("task", "question", "position"):
            check_range(f"tokens.{name}", getattr(self, name), 0)

    def __len__(self) -> int:
        """Return the number of tokens."""
        return len(self.token_id)

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Tokens:
        """Return the tokens of some rows, in the order of ``rows``, or where a mask is true."""
        return Tokens(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def where(
        self,
        task: int | None = None,
        modality: Modality | None = None,
        phase: Phase | None = None,
    ) -> NDArray[np.bool_]:
        """Return a mask ``(n,)`` of the tokens of a task, modality and phase; ``None``: of all."""
        import numpy as np

        mask = np.ones(len(self), dtype=np.bool_)
        if task is not None:
            mask &= self.task == task
        if modality is not None:
            mask &= self.modality == CONTENT.index(modality)
        if phase is not None:
            mask &= self.phase == PHASES.index(phase)
        return mask


@dataclass(frozen=True, eq=False)
class LayerTrace:
    """Experts that the router of one layer preferred, for each token that reached the layer.

    Raises ``DataError`` for arrays of other types or shapes, or values out of range.
    """

    path: str
    """Path of the module, "model.layers.3.mlp"; "layer 3" where only its number is known."""
    num_experts: int
    """Routed experts that compute."""
    num_zero_experts: int
    """Routed experts that compute nothing, besides ``num_experts``; their ids are the last."""
    published_k: int
    """Experts of a token in the published model."""
    experts: NDArray[np.int16]
    """Ids, ``(rows, width)``, most preferred first by what the router selects by.

    The width is at least ``published_k``. It is ``published_k + 1`` or more where the scores of
    all experts were seen, so that the margin of the last chosen expert is known.
    """
    scores: NDArray[np.float32] | None = None
    """Scores of these experts, ``(rows, width)``, from 0 to 1, before any renormalisation.

    They are the router's probabilities (or sigmoids) over all experts; ``None`` if not seen.
    """
    entropy: NDArray[np.float32] | None = None
    """Entropy in nats of the probabilities over all experts, ``(rows,)``; ``None`` as above."""
    rows: NDArray[np.int64] | None = None
    """Rows in ``Tokens`` that reached the layer, ascending; ``None``: all of them."""
    ranked_by_score: bool = True
    """Whether the router selects by ``scores`` alone, so that they descend.

    False where it adds a bias, or limits the choice to some groups of experts.
    """
    scores_sum_to_one: bool = True
    """Whether the scores of all experts sum to 1 (softmax); false for sigmoids."""

    def __post_init__(self) -> None:
        check_array(f"{self.path}: experts", self.experts, "int16", 2)
        if not 1 <= self.published_k <= min(self.width, self.num_choices):
            fail(
                f"{self.path}: published_k={self.published_k} is not 1 to "
                f"{min(self.width, self.num_choices)}, of {self.width} recorded experts of a token "
                f"and {self.num_choices} experts of the layer"
            )
        check_range(f"{self.path}: experts", self.experts, 0, self.num_choices)
        self._check_distinct()
        if self.scores is not None:
            self._check_scores(self.scores)
        for name, kind in (("entropy", "float32"), ("rows", "int64")):
            if (array := getattr(self, name)) is not None:
                check_array(f"{self.path}: {name}", array, kind, 1)
                check_shape(f"{self.path}: {name}", array, (self.n_tokens,))
        if self.entropy is not None:
            check_range(f"{self.path}: entropy", self.entropy, 0)
        if self.rows is not None:
            check_range(f"{self.path}: rows", self.rows, 0)
            if (self.rows[1:] <= self.rows[:-1]).any():
                fail(f"{self.path}: rows do not ascend")

    @property
    def num_choices(self) -> int:
        """Number of experts that the router chooses among, those that compute nothing included."""
        return self.num_experts + self.num_zero_experts

    @property
    def n_tokens(self) -> int:
        """Number of tokens that reached the layer."""
        return len(self.experts)

    @property
    def width(self) -> int:
        """Number of experts that were recorded for each token."""
        return int(self.experts.shape[1])

    @property
    def chosen(self) -> NDArray[np.int16]:
        """Ids of the experts that each token uses at the published k, ``(rows, published_k)``."""
        return self.experts[:, : self.published_k]

    def take(self, index: NDArray[np.int64] | NDArray[np.bool_], **changes: Any) -> LayerTrace:  # noqa: ANN401
        """Return the layer with some of its own rows, and other fields as in ``changes``."""
        return replace(
            self,
            experts=self.experts[index],
            scores=None if self.scores is None else self.scores[index],
            entropy=None if self.entropy is None else self.entropy[index],
            **({"rows": None if self.rows is None else self.rows[index]} | changes),
        )

    def _check_distinct(self) -> None:
        import numpy as np

        ordered = np.sort(self.experts, axis=1)
        if (ordered[:, 1:] == ordered[:, :-1]).any():
            fail(f"{self.path}: a token has the same expert twice")

    def _check_scores(self, scores: NDArray[np.float32]) -> None:
        name = f"{self.path}: scores"
        check_array(name, scores, "float32", 2)
        check_shape(name, scores, self.experts.shape)
        if not ((scores >= 0) & (scores <= 1 + SUM_TOLERANCE)).all():
            fail(f"{name} are not all from 0 to 1")
        if self.ranked_by_score and (scores[:, 1:] > scores[:, :-1] * (1 + ROUNDING)).any():
            fail(f"{name} do not descend, although the router selects by them")
        if self.scores_sum_to_one and (scores.sum(axis=1) > 1 + SUM_TOLERANCE).any():
            fail(f"{name} of a token sum to more than 1, so they are no probabilities")


@dataclass(frozen=True, eq=False)
class RoutingTrace:
    """Routing of one model: its tokens, and what each layer's router chose for them."""

    model: str
    """Folder, or name on the hub."""
    revision: str | None
    """Revision on the hub; ``None`` where there is none."""
    weights: str | None
    """Digest of the weights, as records have it; ``None`` where unknown."""
    tasks: tuple[str, ...]
    """Names of the tasks; ``Tokens.task`` has their indices."""
    tokens: Tokens
    """The tokens of all tasks."""
    layers: tuple[LayerTrace, ...]
    """The MoE layers, in the order of the model."""
    notes: tuple[str, ...] = ()
    """What readers must know of how the trace came about, a sentence each."""

    def __post_init__(self) -> None:
        check_range("tokens.task", self.tokens.task, 0, len(self.tasks))
        twice = [path for path, n in Counter(layer.path for layer in self.layers).items() if n > 1]
        if twice:
            fail(f"layers have the same path: {', '.join(twice)}")
        for layer in self.layers:
            if layer.rows is None:
                check_shape(f"{layer.path}: experts", layer.experts[:, 0], (self.n_tokens,))
            else:
                check_range(f"{layer.path}: rows", layer.rows, 0, self.n_tokens)

    @property
    def n_tokens(self) -> int:
        """Number of tokens that the model was called with."""
        return len(self.tokens)

    @cached_property
    def modalities(self) -> tuple[Modality, ...]:
        """Modalities of the tokens, in the order of ``CONTENT``."""
        return tuple(name for name in CONTENT if self.tokens.where(modality=name).any())

    @cached_property
    def phases(self) -> tuple[Phase, ...]:
        """Phases of the tokens, in the order of ``PHASES``."""
        return tuple(name for name in PHASES if self.tokens.where(phase=name).any())

    def rows_of(self, layer: LayerTrace) -> NDArray[np.int64]:
        """Return the rows in ``tokens`` of a layer's rows, ``(layer.n_tokens,)``."""
        import numpy as np

        return np.arange(self.n_tokens) if layer.rows is None else layer.rows

    def tokens_of(self, layer: LayerTrace) -> Tokens:
        """Return the tokens that reached a layer, in the order of its rows."""
        return self.tokens if layer.rows is None else self.tokens.take(layer.rows)

    def select(
        self,
        task: str | None = None,
        modality: Modality | None = None,
        phase: Phase | None = None,
    ) -> RoutingTrace:
        """Return the trace of the tokens of a task, modality and phase; ``None``: of all.

        Names of tasks and numbers of questions stay as they are. Raises ``DataError`` for a task
        that the trace does not have.
        """
        import numpy as np

        if task is not None and task not in self.tasks:
            message = f"The trace has no task {task!r}. Name one of: {', '.join(self.tasks)}."
            raise DataError(message)
        number = None if task is None else self.tasks.index(task)
        mask = self.tokens.where(number, modality, phase)
        new_rows = np.cumsum(mask) - 1
        layers = []
        for layer in self.layers:
            rows = self.rows_of(layer)
            kept = mask[rows]
            is_all = layer.rows is None
            layers.append(layer.take(kept, rows=None if is_all else new_rows[rows[kept]]))
        return replace(self, tokens=self.tokens.take(mask), layers=tuple(layers))
