"""A request for experts whose loss is measured: the layers it changes, the tokens it needs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

from moe_eval_plugin.errors import InvalidExpertCountError
from moe_eval_plugin.experts.tokens import CONTENT, PHASES, Modality, Phase
from moe_eval_plugin.models.releases.names import image_token_ids

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moe_eval_plugin.engines.expert_request import ExpertRequest
    from moe_eval_plugin.tuning.calibration import CalibrationModel, PromptBatch

Kind: TypeAlias = "Modality | Phase"


@dataclass(frozen=True, eq=False)
class Candidate:
    """A request whose loss is measured, under a name."""

    name: str
    request: ExpertRequest

    @cached_property
    def key(self) -> str:
        """What is requested, as a journal stores it."""
        resolved, rule = self.request.resolved, self.request.rule
        text = resolved.schedule.text if resolved else ""
        return f"{text} {rule.policy_text} {rule.renorm}"

    @cached_property
    def changed(self) -> frozenset[int]:
        """The decoder layers in which some tokens may use other experts than as published."""
        request = self.request
        layers = request.model.moe_layers
        if request.resolved is None:
            return frozenset()
        if not request.rule.is_native:
            return frozenset(layers)
        baseline = request.description.num_experts_per_tok
        numbers = [layer for (layer, *_), k in request.resolved.table.items() if k != baseline]
        return frozenset(layers if None in numbers else [n for n in numbers if n is not None])

    @cached_property
    def kinds(self) -> frozenset[Kind]:
        """Modalities and phases that the request distinguishes, so that each must be observed."""
        resolved = self.request.resolved
        by_modality = resolved is not None and resolved.differs_by_modality
        by_phase = resolved is not None and resolved.differs_by_phase
        return frozenset((*(CONTENT if by_modality else ()), *(PHASES if by_phase else ())))

    @property
    def rewrites(self) -> tuple[bool, bool, str]:
        """What a family must support for it: it is the same for candidates that differ in k."""
        return "text" in self.kinds, "decode" in self.kinds, self.request.rule.policy_text


def kinds_in(model: CalibrationModel, batch: PromptBatch) -> frozenset[Kind]:
    """Return the modalities and phases of the tokens of a batch."""
    ids = batch.inputs["input_ids"]
    image_ids = image_token_ids(getattr(model.module, "config", None))
    has_image = any(bool((ids == token).any()) for token in image_ids)
    has_decode = bool((batch.answer_ids[:, 1:] >= 0).any())
    present: dict[Kind, bool] = {"text": True, "image": has_image}
    present |= {"prefill": True, "decode": has_decode}
    return frozenset(kind for kind, is_there in present.items() if is_there)


def verified_on(candidate: Candidate, kinds: Sequence[frozenset[Kind]]) -> int:
    """Return the first batch that has all tokens that a candidate distinguishes.

    Raises ``InvalidExpertCountError`` where none has.
    """
    for number, present in enumerate(kinds):
        if candidate.kinds <= present:
            return number
    missing = sorted(candidate.kinds - frozenset[Kind]().union(*kinds))
    resolved = candidate.request.resolved
    message = (
        f"experts_k={resolved.schedule.text if resolved else ''} distinguishes "
        f"{' and '.join(missing)} tokens, and no calibration prompt with its answer has any, so "
        "nothing could verify it. Calibrate by layer, or on a task with images or longer answers."
    )
    raise InvalidExpertCountError(message)
