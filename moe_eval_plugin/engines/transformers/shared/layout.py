"""Lay out a batch of prompts as a few prefixes and the rest of each prompt.

The prefix of a group of prompts is computed once. The rest of each prompt, its suffix, continues
from a copy of the computed prefix. Both are padded on the left: ``[pads, prefix, pads, suffix]``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import takewhile
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from torch import Tensor

# A pass of one token per row that continues from a cache would count as one of decode.
LEAST_SUFFIX = 2


@dataclass(frozen=True)
class Layout:
    """Which tokens are computed once for which prompts of a batch; tensors on the CPU.

    G groups, n prompts, prefixes of up to P tokens, suffixes of up to S. A pad repeats the last
    token of its prompt: a penalty on repeated tokens then sees no other tokens than the prompt's.
    """

    rows: Tensor
    """The group of each prompt (n,)."""
    prefix_ids: Tensor
    """The prefixes (G, P)."""
    prefix_columns: Tensor
    """Where the tokens of each prefix are in the row of its group's first prompt (G, P)."""
    prefix_mask: Tensor
    """1 for tokens of the prefixes, 0 for pads (G, P)."""
    next_columns: Tensor
    """Where the first token after each prefix is in the row of its group's first prompt (G,)."""
    input_ids: Tensor
    """All prompts (n, P + S)."""
    attention_mask: Tensor
    """1 for tokens, 0 for pads (n, P + S)."""

    def parts(self, size: int) -> Iterator[tuple[list[int], Layout]]:
        """Yield which prompts go into one call of the model, and the layout of these alone.

        A part has up to ``size`` prompts of about equal length.
        """
        lengths = self.attention_mask[:, self.n_prefix :].sum(-1)
        order = lengths.argsort(descending=True, stable=True)
        for chosen in order.split(size):
            n_suffix = max(LEAST_SUFFIX, int(lengths[chosen].max()))
            begin = self.input_ids.shape[1] - n_suffix
            columns = [*range(self.n_prefix), *range(begin, self.input_ids.shape[1])]
            part = replace(
                self,
                rows=self.rows[chosen],
                input_ids=self.input_ids[chosen][:, columns],
                attention_mask=self.attention_mask[chosen][:, columns],
            )
            yield chosen.tolist(), part

    @property
    def n_prefix(self) -> int:
        """Columns of the prefixes, P."""
        return self.prefix_mask.shape[1]

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return sum(tensor.nbytes for tensor in vars(self).values())


def lay_out(
    groups: Sequence[Sequence[Sequence[int]]],
    n_needed: Sequence[int],
    first_mask: Tensor,
    n_most: Sequence[int] | None = None,
) -> Layout:
    """Lay out groups of prompts, token by token as they are.

    ``n_needed`` is the number of tokens that each group's prompts must have in common, and have;
    ``first_mask`` is that of the groups' first prompts (G, T), padded in any way. ``n_most`` limits
    the tokens of each group's prefix; by default only the prompts do.
    """
    lengths = _prefix_lengths(groups, n_needed, n_most)
    columns = [row.nonzero().flatten().tolist() for row in first_mask]
    prompts = [(group, ids) for group, mine in enumerate(groups) for ids in mine]
    n_prefix = max(lengths)
    n_suffix = max(LEAST_SUFFIX, *(len(ids) - lengths[group] for group, ids in prompts))
    prefixes = [own[:length] for own, length in zip(columns, lengths, strict=True)]
    masks = [[0] * (n_prefix - length) + [1] * length for length in lengths]
    rows: list[list[int]] = []
    row_masks: list[list[int]] = []
    begins: list[int] = []
    for group, ids in prompts:
        if group == len(begins):
            begins.append(len(rows))
        prefix, suffix = ids[: lengths[group]], ids[lengths[group] :]
        n_pads = n_suffix - len(suffix)
        before = [ids[-1]] * (n_prefix - len(prefix))
        rows.append([*before, *prefix, *[ids[-1]] * n_pads, *suffix])
        row_masks.append([*masks[group], *[0] * n_pads, *[1] * len(suffix)])
    return Layout(
        rows=torch.tensor([group for group, _ in prompts]),
        prefix_ids=torch.tensor([rows[begin][:n_prefix] for begin in begins]),
        prefix_columns=torch.tensor([[own[0]] * (n_prefix - len(own)) + own for own in prefixes]),
        prefix_mask=torch.tensor(masks),
        next_columns=torch.tensor(
            [own[length] for own, length in zip(columns, lengths, strict=True)]
        ),
        input_ids=torch.tensor(rows),
        attention_mask=torch.tensor(row_masks),
    )


def n_common(rows: Iterable[Sequence[int]]) -> int:
    """Return the number of first elements that all rows have in common."""
    return sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, zip(*rows, strict=False)))


def _prefix_lengths(
    groups: Sequence[Sequence[Sequence[int]]],
    n_needed: Sequence[int],
    n_most: Sequence[int] | None,
) -> list[int]:
    """Choose where each group's prefix ends: as early as the longest suffix of the batch allows.

    The longest suffix decides how much is computed for every prompt, so it is made as short as can
    be; a prefix that is longer than that needs would be padding for the others.
    """
    longest = [max(map(len, group)) for group in groups]
    common = [min(n_common(group), min(map(len, group)) - 1) for group in groups]
    if n_most is not None:
        common = [min(limits) for limits in zip(common, n_most, strict=True)]
    n_suffix = max(length - most for length, most in zip(longest, common, strict=True))
    return [max(least, length - n_suffix) for least, length in zip(n_needed, longest, strict=True)]
