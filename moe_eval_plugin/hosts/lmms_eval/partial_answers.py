"""A list of answers that raises the engine's error after the last one.

So lmms-eval caches what was answered before the engine failed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moe_eval_plugin.hosts.lmms_eval.exit_codes import user_errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class PartialAnswers(list[Any]):
    """The answers before the first missing one; iterating past the last raises the error.

    lmms-eval stores answers in its response cache one by one, as it iterates over what a model
    returns.
    """

    def __init__(self, answers: Sequence[Any], error: Exception) -> None:
        super().__init__(answers)
        self._error = error

    @user_errors()
    def _fail(self) -> None:
        raise self._error

    def __iter__(self) -> Iterator[Any]:
        """Yield each answer, then end the process as a failed run ends."""
        yield from super().__iter__()
        self._fail()
