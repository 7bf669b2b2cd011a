"""Measure the losses of many requests for experts, batch by batch, in passes that share work.

Each batch begins with a pass of the published model. Each request then runs the layers from the
first one that it changes on. The k of each request is observed on the first batch that has all
tokens it distinguishes, in all layers, before its losses are stored.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from moe_eval_plugin.experts.verification import verify
from moe_eval_plugin.tuning.passes.candidate import kinds_in, verified_on
from moe_eval_plugin.tuning.passes.journal import BatchLoss
from moe_eval_plugin.tuning.passes.shared import SharedPasses

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from moe_eval_plugin.engines.expert_request import ExpertRequest
    from moe_eval_plugin.prompts.progress import Progress
    from moe_eval_plugin.tuning.calibration import CalibrationModel, CalibrationPrompts
    from moe_eval_plugin.tuning.passes.batch_passes import Outcome
    from moe_eval_plugin.tuning.passes.candidate import Candidate


class Measuring:
    """The passes of some candidates over all prompts.

    ``observes`` is whether each pass is observed, not only those that verify k; ``shared`` has the
    passes of this model and these prompts that other measurements share. Raises
    ``InvalidExpertCountError`` for a candidate with a k of tokens that no prompt has, and what
    setting k raises, before any pass.
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
        shared: SharedPasses | None = None,
    ) -> None:
        self._model = model
        self._prompts = prompts
        self._progress = progress
        self._observes = observes
        self._candidates = _from_both_ends(candidates)
        kinds = [kinds_in(model, batch) for batch in prompts.batches]
        self._verified_on = {one.key: verified_on(one, kinds) for one in candidates}
        self._shared = shared or SharedPasses(model, prompts)
        self._journal = self._shared.journal(journal)

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
            self._shared.set(one.request)

    def _measure(self, number: int, candidates: Sequence[Candidate]) -> None:
        passes = self._shared.begin(number, self._candidates)
        for candidate in candidates:
            self._shared.set(candidate.request)
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
