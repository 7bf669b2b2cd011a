"""Specialisation by token: how far a token alone, without its context, decides the experts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from moe_eval_plugin.experts.tokens import TEXT
from moe_eval_plugin.routing.statistics.tables import (
    TokenExpert,
    TokenRouting,
    TokenSpecialisation,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from moe_eval_plugin.routing.statistics.options import StudyOptions
    from moe_eval_plugin.routing.trace import LayerTrace, Tokens

    Counts = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class _Vocabulary:
    """Tokens that occur often enough, and the experts that their occurrences chose."""

    ids: Counts
    """Number in the vocabulary, ``(n,)``."""
    counts: Counts
    n_questions: Counts
    codes: Counts
    """Index into ``ids`` of each text token, ``(text tokens,)``; -1 for the other tokens."""
    chosen: NDArray[np.int16]
    """Experts of each text token, ``(text tokens, published_k)``."""
    num_choices: int

    def table(self, codes: Counts | None = None) -> Counts:
        """Return the choices of each expert by each token, ``(n, num_choices)``."""
        import numpy as np

        codes = self.codes if codes is None else codes
        kept = codes >= 0
        cells = codes[kept, None] * self.num_choices + self.chosen[kept]
        size = len(self.ids) * self.num_choices
        return np.bincount(cells.ravel(), minlength=size).reshape(-1, self.num_choices)

    def own_choices(self, table: Counts) -> Counts:
        """Return the choices of each token that are its most frequent experts, ``(n,)``."""
        import numpy as np

        k = self.chosen.shape[1]
        own: Counts = np.sort(table, axis=1)[:, -k:].sum(axis=1)
        return own


def token_specialisation(
    layer: LayerTrace, tokens: Tokens, questions: Counts, options: StudyOptions
) -> TokenSpecialisation | None:
    """Return the specialisation of a layer by token; ``None`` if no token occurs often enough.

    ``tokens`` and ``questions`` are those of the layer's rows. The share of a token and an expert
    is the one of FLAME-MoE: occurrences that chose the expert over all occurrences of the token
    (its ``expert_specialization.py``, which leaves out tokens that occur less often than a minimum,
    100 or 5). The own share is added here: with n_te choices of expert e by the n_t occurrences of
    token t, it is the sum of the k largest n_te over ``k n_t``. It is larger than the load even if
    tokens do not matter, the more so the rarer the token is, so it comes with the same number after
    shuffling the ids among all text tokens.
    """
    import numpy as np

    vocabulary = _vocabulary(layer, tokens, questions, options)
    if not len(vocabulary.ids):
        return None
    table = vocabulary.table()
    entries = _Entries(vocabulary, table)
    own, n_choices = vocabulary.own_choices(table), vocabulary.counts * layer.published_k
    generator = np.random.default_rng(options.bootstrap.seed)
    shuffled = [generator.permutation(vocabulary.codes) for _ in range(options.n_token_shuffles)]
    by_chance = np.mean(
        [vocabulary.own_choices(vocabulary.table(codes)) for codes in shuffled], axis=0
    )
    own_share, chance = own.sum() / n_choices.sum(), by_chance.sum() / n_choices.sum()
    return TokenSpecialisation(
        n_vocabulary=len(vocabulary.ids),
        covered=float(vocabulary.counts.sum() / len(vocabulary.codes)),
        min_count=options.min_count,
        min_questions=options.min_questions,
        own_share=float(own_share),
        chance=float(chance),
        corrected=float((own_share - chance) / (1 - chance)) if chance < 1 else 0.0,
        most_frequent=_most_frequent(
            vocabulary, entries, own / n_choices, by_chance / n_choices, options
        ),
        by_expert=tuple(
            entries.of_expert(expert, options.n_tokens_of_expert)
            for expert in range(layer.num_choices)
        ),
    )


def _most_frequent(
    vocabulary: _Vocabulary,
    entries: _Entries,
    own_shares: NDArray[np.float64],
    chance: NDArray[np.float64],
    options: StudyOptions,
) -> tuple[TokenRouting, ...]:
    import numpy as np

    order = np.argsort(-vocabulary.counts, kind="stable")[: options.n_tokens]
    return tuple(
        TokenRouting(
            token_id=int(vocabulary.ids[number]),
            count=int(vocabulary.counts[number]),
            n_questions=int(vocabulary.n_questions[number]),
            own_share=float(own_shares[number]),
            chance=float(chance[number]),
            experts=entries.of_token(number, vocabulary.chosen.shape[1]),
        )
        for number in order
    )


class _Entries:
    """Entries of the table of tokens and experts, largest first."""

    def __init__(self, vocabulary: _Vocabulary, table: Counts) -> None:
        import numpy as np

        self._vocabulary = vocabulary
        self._shares = table / vocabulary.counts[:, None]
        n_text = max(1, len(vocabulary.chosen))
        self._expected = (
            np.bincount(vocabulary.chosen.ravel(), minlength=vocabulary.num_choices) / n_text
        )

    def of_token(self, token: int, n: int) -> tuple[TokenExpert, ...]:
        """Return the experts that a token chose most often."""
        import numpy as np

        order = np.argsort(-self._shares[token], kind="stable")[:n]
        return tuple(self._entry(token, expert) for expert in order if self._shares[token, expert])

    def of_expert(self, expert: int, n: int) -> tuple[TokenExpert, ...]:
        """Return the tokens that chose an expert most often."""
        import numpy as np

        order = np.argsort(-self._shares[:, expert], kind="stable")[:n]
        return tuple(self._entry(token, expert) for token in order if self._shares[token, expert])

    def _entry(self, token: int, expert: int) -> TokenExpert:
        return TokenExpert(
            token_id=int(self._vocabulary.ids[token]),
            expert=int(expert),
            count=int(self._vocabulary.counts[token]),
            share=float(self._shares[token, expert]),
            expected=float(self._expected[expert]),
        )


def _vocabulary(
    layer: LayerTrace, tokens: Tokens, questions: Counts, options: StudyOptions
) -> _Vocabulary:
    import numpy as np

    # All positions of an image have the same id, which says nothing of their content.
    is_text = (tokens.modality == TEXT) & (tokens.token_id >= 0)
    ids, codes, counts = np.unique(
        tokens.token_id[is_text], return_inverse=True, return_counts=True
    )
    pairs = np.unique(codes * (questions.max(initial=0) + 1) + questions[is_text])
    n_questions = np.bincount(pairs // (questions.max(initial=0) + 1), minlength=len(ids))
    is_enough = (counts >= options.min_count) & (n_questions >= options.min_questions)
    new_codes = np.where(is_enough, np.cumsum(is_enough) - 1, -1)
    return _Vocabulary(
        ids=ids[is_enough],
        counts=counts[is_enough],
        n_questions=n_questions[is_enough],
        codes=new_codes[codes],
        chosen=layer.chosen[is_text],
        num_choices=layer.num_choices,
    )
