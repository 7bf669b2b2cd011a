"""Divergence of the distributions of answer tokens from those of the published model."""

from __future__ import annotations

import torch

from moe_eval_plugin.override.finite import rows_not_finite

# Apple's GPUs have no float64.
WITHOUT_FLOAT64 = ("mps",)


def losses_of(
    published: torch.Tensor, changed: torch.Tensor, answer_ids: torch.Tensor
) -> list[float]:
    """Return the loss of each prompt, in nats per token of its answer.

    It is the Kullback-Leibler divergence of the changed model's distribution from the published
    one's, averaged over the tokens of the answer. Both are logits (rows, answer, vocabulary);
    ``answer_ids`` (rows, answer) is -1 behind an answer. It is summed in float64, since most terms
    of a small loss cancel out, and row by row, since a copy of all logits may be large. What is
    excluded by negative infinity in both adds nothing.
    """
    is_answer = (answer_ids >= 0).to(published.device)
    sums = [
        _divergence(one, other)[kept].sum()
        for one, other, kept in zip(published, changed, is_answer, strict=True)
    ]
    counts = is_answer.sum(-1)
    losses: list[float] = (torch.stack(sums) / counts.to(sums[0].device)).clamp_min(0).tolist()
    return losses


def prompts_not_finite(logits: torch.Tensor, answer_ids: torch.Tensor) -> int:
    """Count the prompts for which logits (rows, answer, vocabulary) rank no token somewhere."""
    is_answer = (answer_ids >= 0).to(logits.device)
    return int((rows_not_finite(logits) & is_answer).any(-1).sum())


def _divergence(published: torch.Tensor, changed: torch.Tensor) -> torch.Tensor:
    """Return the divergence at each position (positions,), of logits (positions, vocabulary)."""
    exact = torch.float32 if published.device.type in WITHOUT_FLOAT64 else torch.float64
    log_p = published.to(exact).log_softmax(-1)
    log_q = changed.to(published.device, exact).log_softmax(-1)
    p = log_p.exp()
    return torch.where(p > 0, p * (log_p - log_q), 0.0).sum(-1)
