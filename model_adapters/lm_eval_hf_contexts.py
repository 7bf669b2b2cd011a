"""Score the continuations of one context together, in lm-eval's own class for transformers."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, NamedTuple

from lm_eval.models.huggingface import HFLM
from tqdm import tqdm

from moe_eval_plugin.engines.transformers.batches.sharing_limits import (
    reason_of_code,
    reason_of_policy,
)
from moe_eval_plugin.engines.transformers.shared.contexts import (
    Choices,
    find_difference,
    in_batches,
    score_choices,
)
from moe_eval_plugin.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from moe_eval_plugin.hosts.lm_eval.call_timer import CallTimer

logger = logging.getLogger(__name__)

NOT_ASKED = "share_contexts=no"
NO_TWO = "no context has two continuations that differ before their last token"


class TokenRequest(NamedTuple):
    """A request for a log-probability, as the host passes it on."""

    texts: tuple[str, str] | None
    """Context and continuation; ``None`` for a part of a long text."""
    context: list[int]
    """Tokens of the context."""
    continuation: list[int]
    """Tokens of the continuation."""


class ContextSharing:
    """Decides for each task whether its continuations share contexts, and which.

    ``how`` is the argument ``share_contexts``: ``auto``, ``no`` or ``yes``.
    """

    def __init__(self, model: Any, policy: str, how: str) -> None:  # noqa: ANN401  (many classes)
        self._model = model
        self._policy = policy
        self._how = how
        self._reasons: dict[str, str | None] = {}

    def describe(self, task: str) -> dict[str, Any]:
        """Describe what is shared in a task, as plain JSON data."""
        reason = self._reasons.get(task, NOT_ASKED if self._how == "no" else NO_TWO)
        return {"shared": reason is None, "reason": reason}

    def choose(
        self, task: str, requests: Sequence[TokenRequest], max_length: int
    ) -> dict[Choices, list[list[int]]]:
        """Return the contexts to share, and for each continuation the positions of its requests.

        Raises ``InvalidArgumentError`` for ``share_contexts=yes`` where nothing can be shared.
        """
        if self._how == "no":
            return {}
        found = _by_context(requests, max_length)
        # Parts of long texts come batch by batch.
        is_first = task not in self._reasons
        self._reasons[task] = reason = self._reason(list(found))
        if reason is not None and self._how == "yes":
            message = (
                f"share_contexts=yes is not possible for {task}: {reason}. Use share_contexts=auto,"
                " which shares what can be shared."
            )
            raise InvalidArgumentError(message)
        if is_first:
            how = f"not shared: {reason}" if reason else "shared"
            logger.info("%s: contexts are %s", task, how)
        return found if reason is None else {}

    def _reason(self, found: Sequence[Choices]) -> str | None:
        if not found:
            return NO_TWO
        return (
            reason_of_policy(self._policy)
            or reason_of_code(self._model)
            or find_difference(self._model, found[0])
        )


class SharedContextsLM(HFLM):
    """``hf`` of lm-eval that may compute a context once for all of its continuations.

    A subclass sets ``_sharing`` and, while requests of a task are answered, ``_timer``.
    """

    _sharing: ContextSharing
    _timer: CallTimer | None = None

    def _loglikelihood_tokens(
        self,
        requests: list[TokenRequest],
        disable_tqdm: bool = False,  # noqa: FBT001, FBT002  (the host's)
        override_bs: int | None = None,
    ) -> list[tuple[float, bool]]:
        timer, shared = self._timer, {}
        if timer is not None and timer.call.may_share:
            # The check of a first question both ways is no part of the task's time.
            with timer.not_counted():
                shared = self._sharing.choose(timer.call.task, requests, self.max_length)
        scores: dict[int, tuple[float, bool]] = {}
        if timer is not None and shared:
            scores = self._score_shared(timer, requests, shared, disable_tqdm=disable_tqdm)
        rest = [position for position in range(len(requests)) if position not in scores]
        if rest:
            others = super()._loglikelihood_tokens(
                [requests[position] for position in rest], disable_tqdm, override_bs
            )
            scores.update(zip(rest, others, strict=True))
        return [scores[position] for position in range(len(requests))]

    def _score_shared(
        self,
        timer: CallTimer,
        requests: Sequence[TokenRequest],
        shared: Mapping[Choices, list[list[int]]],
        *,
        disable_tqdm: bool,
    ) -> dict[int, tuple[float, bool]]:
        """Return the scores of requests by their position, and report each as the host does."""
        size = self._size_of(max(shared, key=lambda one: one.n_tokens))
        total = sum(len(at) for places in shared.values() for at in places)
        scores: dict[int, tuple[float, bool]] = {}
        with tqdm(total=total, disable=disable_tqdm or self.rank != 0, desc="contexts") as progress:
            for batch in in_batches(shared, size):
                with timer.calling():
                    found = score_choices(self.model, batch, size, self.softmax_dtype)
                timer.shared()
                for choices, of_choices in zip(batch, found, strict=True):
                    for at, score in zip(shared[choices], of_choices, strict=True):
                        for position in at:
                            scores[position] = score
                            texts = requests[position][0]
                            self.cache_hook.add_partial("loglikelihood", texts, score)
                            progress.update()
        return scores

    def _size_of(self, longest: Choices) -> int:
        """Return how many continuations are computed at once."""
        if self.batch_size != "auto":
            return int(self.batch_size)
        continuation = max(longest.continuations, key=len)
        found: int = self._detect_batch_size([(None, [*longest.context], [*continuation])], 0)
        return found


def _by_context(
    requests: Sequence[TokenRequest], max_length: int
) -> dict[Choices, list[list[int]]]:
    """Group requests by their context, those alone that gain from sharing it.

    The host itself computes continuations once that differ in their last token alone. Requests that
    it cuts, and parts of long texts, are left to it.
    """
    contexts: dict[tuple[int, ...], dict[tuple[int, ...], list[int]]] = {}
    for position, (texts, context, continuation) in enumerate(requests):
        if texts is not None and len(context) + len(continuation) <= max_length + 1:
            continuations = contexts.setdefault(tuple(context), {})
            continuations.setdefault(tuple(continuation), []).append(position)
    found = {
        Choices(context, tuple(of_one)): [*of_one.values()] for context, of_one in contexts.items()
    }
    return {choices: at for choices, at in found.items() if choices.is_shareable}
