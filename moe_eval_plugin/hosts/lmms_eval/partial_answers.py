"""Answers as lmms-eval takes them, also those of a run that vLLM did not live to end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moe_eval_plugin.hosts.lmms_eval.exit_codes import user_errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class PartialAnswers(list[Any]):
    """The answers before the first one that is missing, and then the error that ended the run.

    lmms-eval stores answers in its response cache one by one, as it goes through what a model
    returns. So the error comes when the answers that are there have been taken.
    """

    def __init__(self, answers: Sequence[Any], error: Exception) -> None:
        super().__init__(answers)
        self._error = error

    @user_errors()
    def _fail(self) -> None:
        raise self._error

    def __iter__(self) -> Iterator[Any]:
        """Give each answer, then end the process as a failed run ends."""
        yield from super().__iter__()
        self._fail()
