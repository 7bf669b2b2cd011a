"""Stop generation at the stop strings of a task, and cut answers at their end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from transformers import LogitsProcessor, StoppingCriteria

from moe_eval_plugin.engines.generation import truncate_before

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from moe_eval_plugin.measure.answer_ends import EndedBy

UNFINISHED_CHARACTER = "\ufffd"


class StopStrings:
    """The stop strings of a task, and which tokens can end one of them.

    One object serves all batches of a run: it remembers which tokens can end a stop string, so
    that answers are decoded only where one of these was chosen.
    """

    def __init__(self, tokenizer: Any, strings: Sequence[str]) -> None:  # noqa: ANN401  (one of many classes)
        self._tokenizer = tokenizer
        self._strings = tuple(strings)
        self._last_characters = {string[-1] for string in strings} | {UNFINISHED_CHARACTER}
        self._can_end: dict[int, bool] = {}
        # A token decodes to one byte at least, so a string of n bytes ends within n tokens.
        self._window = max((len(string.encode()) for string in strings), default=0) + 1

    def can_end(self, token_id: int) -> bool:
        """Whether a stop string can end in this token, since it contains the last character."""
        if token_id not in self._can_end:
            # Some tokenizers drop the space before the first token, so the token is decoded twice.
            text = self._tokenizer.decode([token_id, token_id], skip_special_tokens=True)
            self._can_end[token_id] = not self._last_characters.isdisjoint(text)
        return self._can_end[token_id]

    def end(self, answer: Sequence[int]) -> bool:
        """Whether the text of these tokens contains a stop string near its end."""
        tail = answer[-self._window :]
        text = self._tokenizer.decode(tail, skip_special_tokens=True)
        return any(string in text for string in self._strings)

    def truncate_after(self, answer: Sequence[int], least: int = 0) -> Sequence[int]:
        """Cut a row of tokens after the first one that completes a stop string.

        A stop string within the ``least`` first tokens does not end an answer.
        """
        for position, token_id in enumerate(answer[least:], start=least + 1):
            if self.can_end(token_id) and self.end(answer[least:position]):
                return answer[:position]
        return answer


class StopStringCriteria(StoppingCriteria):
    """Ends each row whose answer contains a stop string.

    The first ``n_skipped`` tokens of a row are not searched: the prompt, and the tokens that an
    answer must have.
    """

    def __init__(self, stops: StopStrings, n_skipped: int) -> None:
        self._stops = stops
        self._n_skipped = n_skipped

    def __call__(self, input_ids: Tensor, _scores: Tensor, **_kwargs: Any) -> Tensor:  # noqa: ANN401
        """Return a boolean for each row of ``input_ids`` (rows, tokens): whether it has ended."""
        ended = [
            self._stops.can_end(token_id)
            and self._stops.end(input_ids[row, self._n_skipped :].tolist())
            for row, token_id in enumerate(input_ids[:, -1].tolist())
        ]
        return torch.tensor(ended, device=input_ids.device)


class OnTokenCallback(StoppingCriteria):
    """Stopping criterion that never stops; calls ``on_token`` after each generated token."""

    def __init__(self, on_token: Callable[[], None]) -> None:
        self._on_token = on_token

    def __call__(self, input_ids: Tensor, _scores: Tensor, **_kwargs: Any) -> Tensor:  # noqa: ANN401
        """Call ``on_token``, and end no row."""
        self._on_token()
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)


class TokenListener(LogitsProcessor):
    """Logits processor that changes nothing; calls ``on_token`` before each token is chosen.

    For code that takes no further stopping criteria.
    """

    def __init__(self, on_token: Callable[[], None]) -> None:
        self._on_token = on_token

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:  # noqa: ARG002
        """Call ``on_token``, and return the scores as they are."""
        self._on_token()
        return scores


def truncate_after_end(ids: Sequence[int], ends: set[int]) -> Sequence[int]:
    """Cut a generated row after the first token that ends an answer."""
    for position, token_id in enumerate(ids):
        if token_id in ends:
            return ids[: position + 1]
    return ids


def end_ids(model: Any) -> set[int]:  # noqa: ANN401  (one of many classes)
    """Return the tokens that end an answer of a model."""
    ends = model.generation_config.eos_token_id
    return {ends} if isinstance(ends, int) else set(ends or ())


def cut_answers(
    rows: Sequence[Sequence[int]], ends: set[int], stops: StopStrings, least: int
) -> list[Sequence[int]]:
    """Cut generated rows after an end token or a stop string behind the ``least`` first tokens."""
    return [stops.truncate_after(truncate_after_end(ids, ends), least) for ids in rows]


def decoded(
    tokenizer: Any,  # noqa: ANN401  (one of many classes)
    answers: Sequence[Sequence[int]],
    kept: frozenset[int],
) -> list[str]:
    """Return the texts of answers without special tokens, but those that are ``kept``."""
    if kept:
        special = {n for n, one in tokenizer.added_tokens_decoder.items() if one.special}
        dropped = special - kept
        answers = [[token for token in ids if token not in dropped] for ids in answers]
    texts: list[str] = tokenizer.batch_decode(
        answers, skip_special_tokens=not kept, clean_up_tokenization_spaces=False
    )
    return texts


def ended_by(ids: Sequence[int], text: str, ends: set[int], until: Sequence[str]) -> EndedBy:
    """Return what ended an answer, from its tokens, cut at their end, and their text."""
    if truncate_before(text, until) != text:
        return "stop_string"
    return "end_token" if ids and ids[-1] in ends else "token_limit"
