"""The loss of a prompt is the divergence from the published distributions of its answer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import rel_entr, softmax

from moe_eval_plugin.tuning.passes.kl import losses_of, prompts_not_finite

ANSWERS = torch.tensor([[5, -1, -1], [3, 4, 6]])


def logits(seed: int) -> torch.Tensor:
    return torch.randn(2, 3, 50, generator=torch.Generator().manual_seed(seed)) * 4


def test_it_is_the_mean_over_the_tokens_of_each_answer() -> None:
    published, changed = logits(0), logits(1)
    p, q = (softmax(one.double().numpy(), axis=-1) for one in (published, changed))
    by_token = rel_entr(p, q).sum(-1)
    expected = [by_token[0, 0], by_token[1].mean()]
    assert losses_of(published, changed, ANSWERS) == pytest.approx(expected, rel=1e-12)


def test_a_difference_far_below_float32_is_seen() -> None:
    published = logits(0)
    changed = published.clone()
    changed[..., 7] += 1e-4
    p = softmax(published.double().numpy(), axis=-1)
    # To second order: half the variance of the change of the logits.
    share = p[0, 0, 7]
    expected = 0.5 * share * (1 - share) * 1e-8
    assert losses_of(published, changed, ANSWERS)[0] == pytest.approx(expected, rel=2e-2)
    assert losses_of(published, published, ANSWERS) == [0.0, 0.0]


def test_tokens_that_both_exclude_add_nothing() -> None:
    published, changed = logits(0), logits(1)
    cut = losses_of(published[..., 10:], changed[..., 10:], ANSWERS)
    published[..., :10] = changed[..., :10] = -torch.inf
    assert losses_of(published, changed, ANSWERS) == pytest.approx(cut)
    changed[1, 2, 20] = -torch.inf
    assert np.isinf(losses_of(published, changed, ANSWERS)).tolist() == [False, True]


def test_what_is_not_a_number_is_counted_in_answers_alone() -> None:
    found = logits(0)
    found[0, 2] = torch.nan
    assert prompts_not_finite(found, ANSWERS) == 0
    found[1, 2, 3] = torch.inf
    assert prompts_not_finite(found, ANSWERS) == 1
