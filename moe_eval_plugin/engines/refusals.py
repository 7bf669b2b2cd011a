"""Jobs that cannot be put to a model, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import DataError, MoEEvalError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from moe_eval_plugin.engines.request import Job


LONGEST_CONTEXT = 200


class RefusedJobsError(Exception):
    """Some jobs of a batch cannot be encoded; ``reasons`` has the reason of each."""

    def __init__(self, reasons: Mapping[Job, str]) -> None:
        super().__init__("; ".join(reasons.values()))
        self.reasons = dict(reasons)

    def others(self, jobs: Sequence[Job]) -> list[Job]:
        """List the jobs of the batch that can be encoded."""
        return [job for job in jobs if job not in self.reasons]


def reason_of(error: Exception) -> str | None:
    """Return why a prompt is refused; ``None`` for an error that is not of this one prompt.

    What tasks, chat templates and processors raise for a prompt they cannot use is of any type.
    """
    if isinstance(error, DataError):
        return str(error).rstrip(".")
    if isinstance(error, MoEEvalError | MemoryError):
        return None
    cause: BaseException = error
    reason = _text(error)
    while cause.__cause__ is not None:
        cause = cause.__cause__
    if cause is error:
        return reason
    # vLLM repeats the whole prompt, and has the reason in the cause.
    return f"{_text(cause)} ({reason[:LONGEST_CONTEXT]})"


def _text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".rstrip(".: ")


def find_refused(jobs: Sequence[Job], error: Exception, attempt: Callable[[Job], object]) -> None:
    """Raise ``RefusedJobsError`` for the jobs that made the ``error`` of their batch.

    ``attempt`` encodes one job alone. Returns if the error is not of single prompts.
    """
    reason = reason_of(error)
    if reason is None:
        return
    reasons = {jobs[0]: reason} if len(jobs) == 1 else {}
    for job in jobs if len(jobs) > 1 else ():
        try:
            attempt(job)
        except Exception as of_one:  # noqa: BLE001  (see `reason_of`)
            if (reason := reason_of(of_one)) is not None:
                reasons[job] = reason
    if reasons:
        raise RefusedJobsError(reasons) from error


def check_length(config: Any, n_tokens: int) -> None:  # noqa: ANN401  (one of many classes)
    """Raise ``DataError`` if a prompt and the least answer exceed the positions of a model."""
    limit = _n_positions(config.get_text_config())
    if limit is not None and n_tokens > limit:
        message = (
            f"its prompt and the answer have {n_tokens:,} tokens at least, and the model takes "
            f"{limit:,}"
        )
        raise DataError(message)


def _n_positions(text: Any) -> int | None:  # noqa: ANN401
    """Return the positions of a text model, after stretching; ``None`` where it states none."""
    limit = getattr(text, "max_position_embeddings", None)
    if not isinstance(limit, int):
        return None
    rope = getattr(text, "rope_parameters", None) or getattr(text, "rope_scaling", None) or {}
    factor = rope.get("factor") if isinstance(rope, dict) else None
    if not isinstance(factor, int | float):
        return limit
    original = rope.get("original_max_position_embeddings") or limit
    return max(limit, int(original * factor))
