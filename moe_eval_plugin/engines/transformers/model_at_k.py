"""Set, verify and restore k of a loaded model, whoever loaded it."""

from __future__ import annotations

import logging
import weakref
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import torch

from moe_eval_plugin.errors import NotFiniteError
from moe_eval_plugin.experts.verification import verify
from moe_eval_plugin.override.apply import apply
from moe_eval_plugin.override.finite import NEVER, describe_fault, first_not_finite, watch_logits
from moe_eval_plugin.override.observe import observe

if TYPE_CHECKING:
    from collections.abc import Callable

    from moe_eval_plugin.engines.expert_request import ExpertRequest
    from moe_eval_plugin.experts.verification import VerifiedOverride

logger = logging.getLogger(__name__)


class ModelAtK:
    """A loaded model at the requested k, until ``close``, or until this object is gone.

    ``name`` is that of its checkpoint. Raises what ``apply`` raises.
    """

    def __init__(self, model: Any, request: ExpertRequest, name: str) -> None:  # noqa: ANN401  (one of many classes)
        self.model = model
        self.name = name
        self._override = ExitStack()
        self._warned: set[str] = set()
        # Also when the process ends: the parts that it needs are gone later.
        weakref.finalize(self, self._override.close)
        self._apply(request)

    def set(self, request: ExpertRequest, *, has_answers: bool = False) -> None:
        """Replace the override by another one; if it cannot be set, the model is as published.

        ``has_answers`` is for passes over prompts with their answers, as for ``apply``.
        """
        self.close()
        self._apply(request, has_answers=has_answers)

    def close(self) -> None:
        """Restore the model's own k."""
        self._override.close()

    @torch.no_grad()
    def verify(self, run: Callable[[], object], n_prompts: int) -> VerifiedOverride:
        """Compare the k that tokens use while ``run`` puts prompts to the model.

        Raises ``OverrideNotEffectiveError``, and ``NotFiniteError`` for a model that computes NaN
        or infinity after one of the ``n_prompts``. A dense model has nothing to observe.
        """
        with watch_logits(self.model) as watch, observe(self.model) as pending:
            run()
        if n_bad := sum(step < NEVER for step in watch.first_steps(n_prompts)):
            message = describe_fault(self.name, n_bad, first_not_finite(self.model, run))
            raise NotFiniteError(message)
        request = self.request
        baseline = request.description.num_experts_per_tok or None
        return verify(request.resolved, baseline, pending.result(), request.rule)

    def _apply(self, request: ExpertRequest, *, has_answers: bool = False) -> None:
        self.request = request
        for warning in request.warnings:
            if warning not in self._warned:
                logger.warning("%s: %s", request.description.model_type, warning)
            self._warned.add(warning)
        self.trace = None
        if request.resolved:
            override = apply(
                self.model,
                request.resolved,
                request.rule,
                request.description,
                has_answers=has_answers,
            )
            self.trace = self._override.enter_context(override)
