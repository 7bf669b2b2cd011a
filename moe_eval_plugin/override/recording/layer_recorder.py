"""Record what one MoE layer's router preferred, call by call."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from moe_eval_plugin.override.recording.recorded import RecordedLayer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from moe_eval_plugin.models.moe_layers import MoELayer
    from moe_eval_plugin.override.recording.score_watch import RouterScores

logger = logging.getLogger(__name__)
# The softmax of some hundred experts in float32 sums to 1 within this.
SUM_TOLERANCE = 1e-3
# A router that computes in bfloat16 orders its scores as bfloat16 rounds them.
ROUNDING = 2**-7


@dataclass(frozen=True)
class _Call:
    """The kept rows of one call, on the CPU; ``ranking`` is ``None`` where no scores were seen."""

    chosen: Tensor
    """Experts that tokens used, (rows, k), most preferred first."""
    rows: Tensor
    """Rows of the tokens, (rows,)."""
    ranking: _Ranking | None


@dataclass(frozen=True)
class _Ranking:
    """Scores of the kept rows of one call."""

    following: Tensor
    """The expert that the router prefers next, (rows, 1), or none, (rows, 0)."""
    scores: Tensor
    """Scores of the chosen and the following, (rows, k + 1) or (rows, k)."""
    entropy: Tensor
    """(rows,)."""
    is_ranked: bool
    """Whether the router's order is that of the scores."""
    sums_to_one: bool


class LayerRecorder:
    """Recorder of one layer, or of one of its runs in each pass: ``add`` calls, then ``result``."""

    def __init__(self, layer: MoELayer, run: int = 0) -> None:
        self.path = f"{layer.path} (run {run + 1})" if run else layer.path
        self._num_experts = layer.num_experts or 0
        self._num_zero_experts = layer.num_zero_experts or 0
        self._calls: list[_Call] = []
        self._n_dropped = 0

    def add(
        self,
        chosen: Tensor,
        weights: Tensor | None,
        found: RouterScores | None,
        kept: Tensor,
        rows: Tensor,
    ) -> None:
        """Record some rows of a call.

        ``chosen`` has the distinct experts of each row, (n, k), -1 for none; ``weights`` (n, k) are
        those of its experts, if seen. ``kept`` are the rows to be recorded, of the n, and ``rows``
        the rows of their tokens. A row with fewer experts than others is left out.
        """
        kept = kept.to(chosen.device)
        is_full = (chosen[kept] >= 0).all(-1)
        self._n_dropped += int((~is_full).sum())
        kept, rows = kept[is_full], rows[is_full.to(rows.device)].cpu()
        chosen = chosen[kept]
        if found is None:
            order = None if weights is None else weights[kept].argsort(descending=True, stable=True)
            ordered = chosen if order is None else chosen.gather(-1, order)
            self._calls.append(_Call(ordered.cpu(), rows, None))
            return
        selection = found.selection[kept]
        order = selection.gather(-1, chosen).argsort(descending=True, stable=True)
        chosen = chosen.gather(-1, order)
        ranking = None
        if found.scores is not None:
            ranking = _rank(chosen, selection, found.scores[kept])
        self._calls.append(_Call(chosen.cpu(), rows, ranking))

    def result(self, n_tokens: int) -> RecordedLayer | None:
        """Return what was recorded; ``None`` if no token reached the layer."""
        calls = self._widest()
        if not calls:
            return None
        k = calls[0].chosen.shape[1]
        rows = torch.cat([call.rows for call in calls]).numpy()
        order = rows.argsort(kind="stable")
        experts = [call.chosen for call in calls]
        rankings = [call.ranking for call in calls if call.ranking is not None]
        scores = entropy = None
        if len(rankings) == len(calls):
            pairs = zip(calls, rankings, strict=True)
            experts = [torch.cat([call.chosen, one.following], -1) for call, one in pairs]
            scores = _joined([one.scores for one in rankings])[order].astype(np.float32)
            entropy = _joined([one.entropy for one in rankings])[order].astype(np.float32)
        return RecordedLayer(
            path=self.path,
            num_experts=self._num_experts,
            num_zero_experts=self._num_zero_experts,
            published_k=k,
            experts=_joined(experts)[order].astype(np.int16),
            scores=scores,
            entropy=entropy,
            rows=None if len(rows) == n_tokens else rows[order],
            ranked_by_score=all(one.is_ranked for one in rankings),
            scores_sum_to_one=all(one.sums_to_one for one in rankings),
        )

    def _widest(self) -> list[_Call]:
        """Return the calls at the layer's largest k, and report what cannot be recorded."""
        k = max((call.chosen.shape[1] for call in self._calls), default=0)
        calls = [call for call in self._calls if call.chosen.shape[1] == k and len(call.rows)]
        n_dropped = self._n_dropped + sum(
            len(call.rows) for call in self._calls if call.chosen.shape[1] != k
        )
        if n_dropped:
            logger.warning(
                "%s: %d tokens used fewer than %d experts and are not recorded.",
                *(self.path, n_dropped, k),
            )
        n_without = sum(call.ranking is None for call in calls)
        if 0 < n_without < len(calls):
            logger.warning(
                "%s: the router's scores were not seen in %d of %d calls, so no scores of this "
                "layer are recorded.",
                *(self.path, n_without, len(calls)),
            )
        return calls


def _rank(chosen: Tensor, selection: Tensor, scores: Tensor) -> _Ranking:
    """Rank the rows of a call; ``chosen`` is in the order of ``selection`` (rows, experts)."""
    is_chosen = torch.zeros_like(selection, dtype=torch.bool).scatter_(-1, chosen, value=True)
    others = selection.masked_fill(is_chosen, -torch.inf)
    # Where groups of experts are ruled out, all others may be equal: then by score.
    is_next = (others == others.amax(-1, keepdim=True)) & ~is_chosen
    n_following = min(1, scores.shape[-1] - chosen.shape[-1])
    following = torch.where(is_next, scores, -1).argmax(-1, keepdim=True)[:, :n_following]
    in_order = scores.gather(-1, selection.argsort(descending=True, stable=True))
    sums = scores.sum(-1)
    shares = scores / sums.clamp_min(torch.finfo(torch.float32).tiny)[:, None]
    return _Ranking(
        following=following.cpu(),
        scores=scores.gather(-1, torch.cat([chosen, following], -1)).cpu(),
        entropy=torch.special.entr(shares).sum(-1).clamp_min(0).cpu(),
        is_ranked=bool((in_order[:, 1:] <= in_order[:, :-1] * (1 + ROUNDING)).all()),
        sums_to_one=bool(((sums - 1).abs() <= SUM_TOLERANCE).all()),
    )


def _joined(parts: Sequence[Tensor]) -> NDArray[Any]:
    joined: NDArray[Any] = torch.cat(list(parts)).numpy()
    return joined
