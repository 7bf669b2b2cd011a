"""Measure the losses of many requests for experts, batch by batch, in passes that share work.

Each batch begins with a pass of the published model. Each request then runs the layers from the
first one that it changes on. The k of each request is observed on the first batch that has all
tokens it distinguishes, in all layers, before its losses are stored.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import UserError
from moe_eval_plugin.experts.verification import verify
from moe_eval_plugin.tuning.passes.batch_passes import BatchPasses
from moe_eval_plugin.tuning.passes.candidate import kinds_in, verified_on
from moe_eval_plugin.tuning.passes.journal import BatchLoss, LossJournal, identity
from moe_eval_plugin.tuning.passes.layer_calls import LayerCalls
from moe_eval_plugin.tuning.passes.suffix_check import SuffixCheck, compared, reason_of_model

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from moe_eval_plugin.engines.expert_request import ExpertRequest
    from moe_eval_plugin.prompts.progress import Progress
    from moe_eval_plugin.tuning.calibration import CalibrationModel, CalibrationPrompts
    from moe_eval_plugin.tuning.passes.batch_passes import Outcome
    from moe_eval_plugin.tuning.passes.candidate import Candidate

logger = logging.getLogger(__name__)


class Measuring:
    """The passes of some candidates over all prompts.

    ``observes`` is whether each pass is observed, not only those that verify k; ``whole`` whether
    each pass computes all layers, to compare with. Raises ``InvalidExpertCountError`` for a
    candidate with a k of tokens that no prompt has, and what setting k raises, before any pass.
    """

    def __init__(
        self,
        model: CalibrationModel,
        prompts: CalibrationPrompts,
        candidates: Sequence[Candidate],
        journal: Path,
        progress: Progress,
        *,
        observes: bool,
        whole: bool = False,
    ) -> None:
        self._model = model
        self._prompts = prompts
        self._progress = progress
        self._observes = observes
        self._candidates = _from_both_ends(candidates)
        kinds = [kinds_in(model, batch) for batch in prompts.batches]
        self._verified_on = {one.key: verified_on(one, kinds) for one in candidates}
        self._published = model.config.request(None)
        self._calls: LayerCalls | None = None
        self._is_checked = whole
        self._journal = LossJournal(journal, identity(model, prompts))

    def run(self) -> dict[str, list[BatchLoss]]:
        """Run all passes that the journal lacks; return the losses by name, batch by batch.

        Raises ``OverrideNotEffectiveError`` where tokens use another k than requested, and
        ``NotFiniteError`` for a model that computes NaN or infinity.
        """
        missing = [self._missing(number) for number in range(len(self._prompts.batches))]
        before = self._model.at_k.request
        try:
            self._set_each_once()
            self._progress.counting("measuring losses", sum(map(len, missing)), "passes")
            for number, candidates in enumerate(missing):
                if candidates:
                    self._measure(number, candidates)
        finally:
            self._journal.write()
            self._model.at_k.set(before)
        numbers = range(len(missing))
        return {
            one.name: [found for n in numbers if (found := self._journal.get(n, one.key))]
            for one in self._candidates
        }

    def _missing(self, batch: int) -> list[Candidate]:
        found: dict[str, Candidate] = {}
        for one in self._candidates:
            if self._journal.get(batch, one.key, observed=self._observes) is None:
                found.setdefault(one.key, one)
        return list(found.values())

    def _set_each_once(self) -> None:
        """Set a candidate of each kind: what the model does not support is refused at once."""
        for one in {one.rewrites: one for one in self._candidates}.values():
            self._set(one.request)

    def _measure(self, number: int, candidates: Sequence[Candidate]) -> None:
        passes = self._begin(number)
        for candidate in candidates:
            self._set(candidate.request)
            is_verified = number == self._verified_on[candidate.key]
            outcome = passes.run(candidate.changed, observes=self._observes or is_verified)
            if outcome.observation is not None:
                self._verify(candidate.request, outcome, present_only=not is_verified)
            losses = tuple(passes.losses(outcome))
            observation = outcome.observation if self._observes else None
            state = observation.to_state() if observation else None
            self._journal.add(BatchLoss(number, candidate.key, losses, state))
            self._progress.advance()
        self._journal.write()

    def _begin(self, number: int) -> BatchPasses:
        """Run the published pass of a batch; on the first one, check what suffix passes give."""
        model, batch = self._model, self._prompts.batches[number]
        if not self._is_checked:
            self._is_checked = True
            if reason := self._reason_for_whole_passes(number):
                self._calls = None
                logger.warning(
                    "%s: every pass computes all layers, which takes about twice as long, "
                    "because %s.",
                    *(model.config.pretrained, reason),
                )
        passes = BatchPasses(model, batch, self._calls)
        self._set(self._published)
        passes.run_published()
        return passes

    def _reason_for_whole_passes(self, number: int) -> str | None:
        """Return why suffix passes are not those of this model; ``None`` if they are."""
        module = self._model.module
        try:
            self._calls = LayerCalls(module)
        except UserError as error:
            return str(error)
        if reason := reason_of_model(module, self._calls.path):
            return reason
        passes = BatchPasses(self._model, self._prompts.batches[number], self._calls)
        self._set(self._published)
        passes.run_published()
        check = SuffixCheck(passes)
        by_layers = {one.changed: one for one in self._candidates if one.changed}
        if reason := check.reason_of_unchanged(sorted({min(one) for one in by_layers})):
            return reason
        for changed in compared(by_layers):
            self._set(by_layers[changed].request)
            if reason := check.reason_of_changed(changed):
                return reason
        return None

    def _set(self, request: ExpertRequest) -> None:
        self._model.at_k.set(request, has_answers=True)

    def _verify(self, request: ExpertRequest, outcome: Outcome, *, present_only: bool) -> None:
        baseline = request.description.num_experts_per_tok or None
        if outcome.observation is not None:
            verify(
                request.resolved,
                baseline,
                outcome.observation,
                request.rule,
                present_only=present_only,
            )


def _from_both_ends(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return candidates of late and of early layers in turn: so time left is estimated well."""
    ordered = deque(sorted(candidates, key=lambda one: min(one.changed, default=0)))
    return [ordered.popleft() if i % 2 else ordered.pop() for i in range(len(candidates))]
