"""Passes of the published model that all measurements of a study share, and what checks found."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import UserError
from moe_eval_plugin.hardware.memory import free_memory
from moe_eval_plugin.tuning.passes.batch_passes import BatchPasses
from moe_eval_plugin.tuning.passes.journal import LossJournal, identity
from moe_eval_plugin.tuning.passes.layer_calls import LayerCalls
from moe_eval_plugin.tuning.passes.suffix_check import SuffixCheck, compared, reason_of_model

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from moe_eval_plugin.engines.expert_request import ExpertRequest
    from moe_eval_plugin.tuning.calibration import CalibrationModel, CalibrationPrompts
    from moe_eval_plugin.tuning.passes.candidate import Candidate

logger = logging.getLogger(__name__)

# Of the free memory, at most this part is taken by what passes of the published model gave.
KEPT_SHARE = 0.125


class SharedPasses:
    """Passes of one model over one set of prompts, for one measurement after the other.

    Whether passes from a layer on give what whole passes give is examined once for each layer.
    The published passes of batches are kept as far as they take an eighth of the free memory.
    ``whole`` is whether each pass computes all layers, to compare with.
    """

    def __init__(
        self, model: CalibrationModel, prompts: CalibrationPrompts, *, whole: bool = False
    ) -> None:
        self._model = model
        self._prompts = prompts
        self._is_whole = whole
        self._published = model.config.request(None)
        self._lacking: str | None = None
        self._checked: set[int] = set()
        self._kept: dict[int, BatchPasses] = {}
        self._journals: dict[Path, LossJournal] = {}
        free = free_memory(str(getattr(model.module, "device", "")), None)
        self._left_bytes = int(free.free_bytes * KEPT_SHARE) if free else 0

    def journal(self, path: Path) -> LossJournal:
        """Return the journal of these prompts in a file, which is read once."""
        if path not in self._journals:
            self._journals[path] = LossJournal(path, identity(self._model, self._prompts))
        return self._journals[path]

    def begin(self, number: int, candidates: Sequence[Candidate]) -> BatchPasses:
        """Return the passes of a batch, whose published pass has run, for some candidates.

        The k in force is then any.
        """
        passes = self._of(number)
        new = [one for one in candidates if one.changed and min(one.changed) not in self._checked]
        if new and not self._is_whole:
            self._checked |= {min(one.changed) for one in new}
            if reason := self._reason_for_whole_passes(passes, new):
                self._is_whole = True
                self._kept.clear()
                logger.warning(
                    "%s: every pass computes all layers, which takes about twice as long, "
                    "because %s.",
                    *(self._model.config.pretrained, reason),
                )
                passes = self._of(number)
        return passes

    def set(self, request: ExpertRequest) -> None:
        """Set the k of the model."""
        self._model.at_k.set(request, has_answers=True)

    def _of(self, number: int) -> BatchPasses:
        if number in self._kept:
            return self._kept[number]
        passes = BatchPasses(self._model, self._prompts.batches[number], self._calls())
        self.set(self._published)
        passes.run_published()
        if passes.nbytes <= self._left_bytes:
            self._left_bytes -= passes.nbytes
            self._kept[number] = passes
        return passes

    def _calls(self) -> LayerCalls | None:
        """Return what keeps the outputs of layers; ``None`` where each pass runs whole."""
        if self._is_whole:
            return None
        try:
            return LayerCalls(self._model.module)
        except UserError as error:
            self._lacking = str(error)
            return None

    def _reason_for_whole_passes(
        self, passes: BatchPasses, candidates: Sequence[Candidate]
    ) -> str | None:
        """Return why suffix passes are not those of this model; ``None`` if they are."""
        module = self._model.module
        if passes.calls is None:
            return self._lacking
        if reason := reason_of_model(module, passes.calls.path):
            return reason
        self.set(self._published)
        check = SuffixCheck(passes)
        by_layers = {one.changed: one for one in candidates}
        if reason := check.reason_of_unchanged(sorted({min(one) for one in by_layers})):
            return reason
        for changed in compared(by_layers):
            self.set(by_layers[changed].request)
            if reason := check.reason_of_changed(changed):
                return reason
        return None
