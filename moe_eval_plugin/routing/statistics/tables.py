"""Tables of a routing study: what ``study`` computes from a trace.

``docs/explanation/routing.md`` has definitions, formulas and their limits. All shares and
probabilities are from 0 to 1. "Not measured" is ``None``, and NaN in a matrix.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from moe_eval_plugin.stats.resampling import Interval

GroupKind = Literal["all", "modality", "phase", "task"]
# Digits after the point of a number in a matrix that is written as JSON.
MATRIX_DECIMALS = 5


@dataclass(frozen=True)
class TokenGroup:
    """Tokens that a row of a table is about."""

    kind: GroupKind
    name: str
    """"all", or the modality, phase or task."""


@dataclass(frozen=True)
class Spread:
    """Mean over tokens, and the values below which a tenth and nine tenths of the tokens are."""

    mean: float
    p10: float
    p90: float


@dataclass(frozen=True)
class Load:
    """Tokens of each expert of a layer."""

    tokens: tuple[int, ...]
    """Tokens that chose each expert; experts that compute nothing come last."""
    entropy: float | None
    """Entropy of the computing experts' shares over its largest value: 1 is an equal load."""
    gini: float | None
    """Gini coefficient of the same shares: 0 is an equal load."""
    unused: tuple[int, ...]
    """Experts that no token chose, also among those that compute nothing."""
    largest: float | None
    """Tokens of the busiest computing expert over the mean of them: 1 is an equal load."""
    zero_share: float | None
    """Share of all choices that are experts that compute nothing; ``None`` without such experts."""
    ffn_k: Spread | None
    """Computing experts of a token; ``None`` without experts that compute nothing."""


@dataclass(frozen=True)
class Margin:
    """Margin of the k-th expert over the next one: difference of their scores."""

    k: int
    margin: Spread
    median: float


@dataclass(frozen=True)
class Mass:
    """Score that the first k experts of a token have."""

    k: int
    retained: Spread
    """Their sum over that of the experts of the published k."""
    interval: Interval | None
    """Confidence interval of the mean, by resampling questions; ``None`` with too few."""
    of_all: float | None
    """Mean share of all experts' probability; ``None`` where scores do not sum to 1."""


@dataclass(frozen=True)
class Saturation:
    """Overlap of the first k experts of a token with those in another trace of the same tokens."""

    k: int
    n_tokens: int
    """Tokens that are in both traces: without the decoded ones where the answers differ."""
    overlap: float
    """Mean share of the k experts that are the same."""
    interval: Interval | None
    """Confidence interval, by resampling questions; ``None`` with too few."""
    chance: float
    """Overlap of two routers with the same loads that choose independently of each other."""


@dataclass(frozen=True)
class GroupRouting:
    """Statistics of some tokens in one layer."""

    group: TokenGroup
    n_tokens: int
    load: Load
    entropy: Spread | None
    """Entropy of the router's probabilities in nats; ``None`` where it was not recorded."""
    margins: tuple[Margin, ...] | None
    """For k from 1 as far as the next expert is known; ``None`` without scores."""
    mass: tuple[Mass, ...] | None
    """For k from 1 to the published k; ``None`` without scores."""
    saturation: tuple[Saturation, ...] | None
    """``None`` without another trace, or where it does not have the layer."""


@dataclass(frozen=True)
class ExpertPair:
    """Two experts that tokens choose together."""

    first: int
    second: int
    tokens: int
    """Tokens that chose both."""
    lift: float
    """These over the number that the loads of the two alone lead to."""


@dataclass(frozen=True, eq=False)
class Coactivation:
    """Experts that tokens choose together, in one layer, over all tokens."""

    conditional: NDArray[np.float32]
    """Share of the tokens of expert i that chose j as well, ``(i, j)``; the diagonal is 0."""
    lift: NDArray[np.float32]
    """Tokens that chose both over the number expected from their loads, ``(i, j)``: 1 is chance.

    NaN where fewer than ``min_expected`` are expected, and on the diagonal.
    """
    pairs: tuple[ExpertPair, ...]
    """Pairs with a large lift, in the order of the lower end of its 95% interval."""
    min_expected: float
    """Tokens that must be expected of a pair for its lift to be given."""


@dataclass(frozen=True)
class TokenExpert:
    """One entry of the vocabulary and one expert."""

    token_id: int
    expert: int
    count: int
    """Occurrences of the token."""
    share: float
    """Share of them that chose the expert."""
    expected: float
    """The same share of all text tokens: what it would be if the token did not matter."""


@dataclass(frozen=True)
class TokenRouting:
    """How steadily one entry of the vocabulary is sent to the same experts."""

    token_id: int
    count: int
    n_questions: int
    """Questions that the token occurs in."""
    own_share: float
    """Share of its choices that are its own ``published_k`` most frequent experts."""
    chance: float
    """The same share of as many tokens at random."""
    experts: tuple[TokenExpert, ...]
    """Its most frequent experts, ``published_k`` of them, most frequent first."""


@dataclass(frozen=True)
class TokenSpecialisation:
    """How far the token alone, without its context, decides the experts of a layer.

    Only text tokens with known ids count that occur often enough, in enough questions.
    """

    n_vocabulary: int
    """Different tokens that occur often enough."""
    covered: float
    """Share of the text tokens that they are."""
    min_count: int
    min_questions: int
    own_share: float
    """Mean of ``TokenRouting.own_share`` over the occurrences of all these tokens."""
    chance: float
    """The same where the tokens' ids are shuffled: rare tokens look specialised by chance."""
    corrected: float
    """``(own_share - chance) / (1 - chance)``: 0 is chance, 1 a choice by the token alone."""
    most_frequent: tuple[TokenRouting, ...]
    """The most frequent of these tokens."""
    by_expert: tuple[tuple[TokenExpert, ...], ...]
    """For each expert the tokens with the largest share, largest first."""


@dataclass(frozen=True)
class ExpertTasks:
    """Tasks of the tokens that chose one expert."""

    expert: int
    tokens: int
    shares: tuple[float, ...] | None
    """Share of each task, in the order of ``RoutingStudy.tasks``; ``None`` for an unused expert."""
    divergence: float | None
    """Kullback-Leibler divergence in nats from the tasks of all tokens; ``None`` as above."""
    chance: float | None
    """Mean divergence where tasks are shuffled among questions; ``None`` as above."""


@dataclass(frozen=True)
class TaskSpecialisation:
    """How far experts of a layer specialise in tasks."""

    task_shares: tuple[float, ...]
    """Share of each task in all tokens, in the order of ``RoutingStudy.tasks``."""
    experts: tuple[ExpertTasks, ...]
    information: float
    """Mutual information of task and chosen expert, over the entropy of the tasks: 0 to 1."""
    chance: float
    """Mean of the same where tasks are shuffled among questions."""


@dataclass(frozen=True)
class LayerStudy:
    """Statistics of one MoE layer."""

    path: str
    num_experts: int
    """Routed experts that compute."""
    num_zero_experts: int
    published_k: int
    n_tokens: int
    groups: tuple[GroupRouting, ...]
    """All tokens first; then modalities, phases and tasks, each kind where there are several."""
    coactivation: Coactivation | None
    """``None`` at a published k of 1, or without tokens."""
    by_token: TokenSpecialisation | None
    """``None`` where no token occurs often enough."""
    by_task: TaskSpecialisation | None
    """``None`` with a single task."""

    def group(self, kind: GroupKind = "all", name: str = "all") -> GroupRouting | None:
        """Return the statistics of one group of tokens, ``None`` where the layer saw none."""
        wanted = TokenGroup(kind, name)
        return next((entry for entry in self.groups if entry.group == wanted), None)


@dataclass(frozen=True)
class GroupSummary:
    """Means over the layers, for some tokens."""

    group: TokenGroup
    n_tokens: int
    n_questions: int
    mass: tuple[Mass, ...] | None
    """Means over the layers whose router shows scores; ``None`` if none does, or k differs."""
    saturation: tuple[Saturation, ...] | None
    """Means over the layers that both traces have; ``None`` without another trace."""


@dataclass(frozen=True)
class RoutingStudy:
    """Statistics of a routing trace."""

    model: str
    revision: str | None
    weights: str | None
    against: str | None
    """Model of the other trace, with its revision; ``None`` without one."""
    tasks: tuple[str, ...]
    n_tokens: int
    n_questions: int
    summary: tuple[GroupSummary, ...]
    """Groups as in ``LayerStudy.groups``."""
    layers: tuple[LayerStudy, ...]
    """In the order of the model."""
    notes: tuple[str, ...] = ()
    """Notes of the trace, and of the other one."""

    def to_dict(self) -> dict[str, Any]:
        """Return the tables as JSON data; NaN in a matrix is ``None``."""
        plain: dict[str, Any] = _plain(self)
        return plain


def _plain(value: Any) -> Any:  # noqa: ANN401
    import numpy as np

    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, np.ndarray):
        plain = value.astype(np.float64).round(MATRIX_DECIMALS).astype(object)
        plain[np.isnan(value)] = None
        return plain.tolist()
    return value
