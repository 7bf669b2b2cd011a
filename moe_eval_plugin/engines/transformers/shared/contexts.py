"""Score continuations of contexts; a context is computed once for all of its continuations.

Choices of a multiple-choice question differ in their last tokens alone. The context is computed as
a prefix, and each continuation goes on from a copy of its keys and values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from moe_eval_plugin.engines.transformers.shared.difference import compare_logits
from moe_eval_plugin.engines.transformers.shared.layout import lay_out
from moe_eval_plugin.engines.transformers.shared.prefix import Prefixes, cache_argument

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from torch import Tensor

    from moe_eval_plugin.engines.transformers.shared.layout import Layout

# The last token of a context predicts a continuation's first, so it is no part of the prefix.
LEAST_CONTEXT = 2


@dataclass(frozen=True)
class Choices:
    """Continuations of one context, as token ids; none of them is empty."""

    context: tuple[int, ...]
    continuations: tuple[tuple[int, ...], ...]

    @property
    def prompts(self) -> list[list[int]]:
        """What the model reads for each continuation: all tokens but the last one."""
        return [[*self.context, *one[:-1]] for one in self.continuations]

    @property
    def is_shareable(self) -> bool:
        """Whether there is a prefix that several prompts begin with; equal ones count once."""
        return len(self.context) >= LEAST_CONTEXT and len(set(map(tuple, self.prompts))) > 1

    @property
    def n_tokens(self) -> int:
        """Tokens of the longest prompt."""
        return max(map(len, self.prompts))


def in_batches(choices: Iterable[Choices], size: int) -> Iterator[list[Choices]]:
    """Yield choices of up to ``size`` continuations together, or one with more; longest first."""
    batch: list[Choices] = []
    n = 0
    for one in sorted(choices, key=lambda one: one.n_tokens, reverse=True):
        if batch and n + len(one.continuations) > size:
            yield batch
            batch, n = [], 0
        batch.append(one)
        n += len(one.continuations)
    if batch:
        yield batch


@torch.inference_mode()
def score_choices(
    model: Any,  # noqa: ANN401  (one of many classes)
    batch: Sequence[Choices],
    size: int,
    softmax_dtype: torch.dtype | None = None,
) -> list[list[tuple[float, bool]]]:
    """Return the log-probability of each continuation, and whether it is the greedy one.

    The contexts are computed together, the continuations ``size`` at a time. ``softmax_dtype`` is
    the type of the log-probabilities, by default that of the logits.
    """
    targets = [one for choices in batch for one in choices.continuations]
    scores: list[tuple[float, bool]] = [(0.0, False)] * len(targets)
    for rows, logits in _shared_logits(model, batch, size):
        for row, of_row in zip(rows, logits, strict=True):
            scores[row] = _score(of_row, targets[row], softmax_dtype)
    ends = iter(scores)
    return [[next(ends) for _ in choices.continuations] for choices in batch]


@torch.inference_mode()
def find_difference(model: Any, choices: Choices) -> str | None:  # noqa: ANN401
    """Return what sharing a context changes in its continuations' logits; ``None`` for nothing."""
    prompts = choices.prompts
    ids, mask = _padded(prompts, model.device)
    plain = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
    try:
        shared = dict(_rows(_shared_logits(model, [choices], len(prompts))))
    except Exception as error:  # noqa: BLE001  (the code of any family)
        return f"{type(model).__name__} cannot continue from a context: {error}"
    for row, target in enumerate(choices.continuations):
        n = len(target)
        reason = compare_logits(plain[row, -n:].float(), shared[row][-n:].float(), model.dtype)
        if reason is not None:
            return reason
    return None


def _shared_logits(
    model: Any,  # noqa: ANN401
    batch: Sequence[Choices],
    size: int,
) -> Iterator[tuple[list[int], Tensor]]:
    """Yield which prompts were computed, and their logits at the last tokens (n, S, vocabulary)."""
    groups = [one.prompts for one in batch]
    ids, mask = _padded([group[0] for group in groups], model.device)
    # A prefix ends before the last token of its context.
    most = [len(one.context) - 1 for one in batch]
    layout = lay_out(groups, [1] * len(groups), mask.cpu(), most)
    prefixes = Prefixes.compute(model, {"input_ids": ids, "attention_mask": mask}, layout)
    for rows, part in layout.parts(size):
        yield rows, _continue(model, prefixes, part)


def _continue(model: Any, prefixes: Prefixes, layout: Layout) -> Tensor:  # noqa: ANN401
    inputs = prefixes.continued(model, layout)
    name, n_prefix = cache_argument(model), layout.n_prefix
    logits: Tensor = model(
        input_ids=inputs["input_ids"][:, n_prefix:],
        attention_mask=inputs["attention_mask"],
        position_ids=inputs["position_ids"][..., n_prefix:],
        **{name: inputs[name]},
    ).logits
    return logits


def _score(
    logits: Tensor, target: Sequence[int], softmax_dtype: torch.dtype | None
) -> tuple[float, bool]:
    """Score a continuation by the logits at the tokens before each of its tokens."""
    of_target = logits[-len(target) :]
    ids = torch.tensor(target, device=logits.device)
    log_probs = of_target.log_softmax(-1, dtype=softmax_dtype).gather(-1, ids[:, None])
    return float(log_probs.sum()), bool((of_target.argmax(-1) == ids).all())


def _rows(parts: Iterable[tuple[list[int], Tensor]]) -> Iterator[tuple[int, Tensor]]:
    for rows, logits in parts:
        yield from zip(rows, logits, strict=True)


def _padded(prompts: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return prompts padded on the left with their last token, and their mask (n, T)."""
    n = max(map(len, prompts))
    ids = [[one[-1]] * (n - len(one)) + [*one] for one in prompts]
    mask = [[0] * (n - len(one)) + [1] * len(one) for one in prompts]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)
