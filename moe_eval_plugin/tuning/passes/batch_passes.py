"""Passes over one batch of prompts with their answers: the published one, whole ones, suffixes."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from moe_eval_plugin.engines.transformers.shared.images import ImageOutputs
from moe_eval_plugin.errors import NotFiniteError
from moe_eval_plugin.models.releases.names import LAST_LOGITS, forward_arguments
from moe_eval_plugin.override.finite import first_not_finite
from moe_eval_plugin.override.forward_pass import answers_from
from moe_eval_plugin.override.observe import observe
from moe_eval_plugin.tuning.passes.kl import losses_of, prompts_not_finite

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from torch import Tensor

    from moe_eval_plugin.experts.observation import Observation
    from moe_eval_plugin.override.observe import PendingObservation
    from moe_eval_plugin.tuning.calibration import CalibrationModel, PromptBatch
    from moe_eval_plugin.tuning.passes.layer_calls import LayerCalls

# What an image tower computed for one batch is kept in RAM up to this size.
IMAGE_BYTES = 2**31


@dataclass(frozen=True)
class Outcome:
    """What one pass at some k shows."""

    logits: Tensor
    """Logits at the tokens of the answers, (rows, answer, vocabulary)."""
    observation: Observation | None
    """The experts that tokens used, in all layers; ``None`` if not observed."""


class BatchPasses:
    """Passes over one batch, which share its images and what layers of the published model return.

    The k in force is that of the model as it is when a pass runs. ``calls`` is ``None`` where each
    pass must run whole. Passes raise ``NotFiniteError`` for a model that computes NaN or infinity.
    """

    def __init__(
        self, model: CalibrationModel, batch: PromptBatch, calls: LayerCalls | None
    ) -> None:
        self._model: Any = model.module
        self._name = model.config.pretrained
        self._batch = batch
        self.calls = calls
        self._images = ImageOutputs(IMAGE_BYTES)
        self._inputs = _prepared(self._model, batch)

    @property
    def nbytes(self) -> int:
        """Bytes of what the published pass gave: outputs of layers and images, and its logits."""
        of_layers = self.calls.nbytes if self.calls else 0
        return of_layers + self._images.nbytes + self.published.logits.nbytes

    def run_published(self) -> Outcome:
        """Run and observe the model as published, and keep what the layers return."""
        with ExitStack() as stack:
            if self.calls is not None:
                stack.enter_context(self.calls.keeping())
            self.published = self._run(observes=True)
        return self.published

    def run(self, changed: Collection[int], *, observes: bool = False) -> Outcome:
        """Run what may differ from the published pass where some layers are changed.

        The observation of a suffix pass has the layers that did not run from the published pass.
        """
        if self.calls is None:
            return self._run(observes=observes)
        with self.calls.replaying(changed) as run:
            outcome = self._run(observes=observes)
        if outcome.observation is None or self.published.observation is None:
            return outcome
        kept = self.published.observation
        path = self.calls.path
        ran = tuple(f"{path}.{number}." for number in run)
        layers = {
            name: outcome.observation.layers[name] if name.startswith(ran) else layer
            for name, layer in kept.layers.items()
        }
        return replace(outcome, observation=replace(outcome.observation, layers=layers))

    def run_whole(self) -> Outcome:
        """Run a whole pass, which nothing is kept of."""
        return self._run(observes=False)

    def losses(self, outcome: Outcome) -> list[float]:
        """Return the loss of each prompt, in nats per token of its answer."""
        found = losses_of(self.published.logits, outcome.logits, self._batch.answer_ids)
        if not all(loss < float("inf") for loss in found):
            raise NotFiniteError(self._excluded())
        return found

    def divergences(self, one: Outcome, other: Outcome) -> list[float]:
        """Return the divergence of one pass from another for each prompt, as a loss is computed."""
        return losses_of(one.logits, other.logits, self._batch.answer_ids)

    @torch.no_grad()
    def _run(self, *, observes: bool) -> Outcome:
        with self._watching(observes=observes) as pending:
            logits = self._forward()
        if n_bad := prompts_not_finite(logits, self._batch.answer_ids):
            raise NotFiniteError(self._not_finite(n_bad))
        return Outcome(logits, pending.result() if pending else None)

    @contextmanager
    def _watching(self, *, observes: bool) -> Iterator[PendingObservation | None]:
        with ExitStack() as stack:
            stack.enter_context(self._images.serving(self._model, "batch"))
            stack.enter_context(answers_from(self._model, self._batch.n_prompt))
            yield stack.enter_context(observe(self._model)) if observes else None

    def _forward(self) -> Tensor:
        logits: Tensor = self._model(**self._inputs).logits
        return logits[:, -self._batch.answer_ids.shape[1] :]

    @torch.no_grad()
    def _not_finite(self, n_bad: int) -> str:
        path = first_not_finite(self._model, self._forward)
        where = f" The first module whose output is not finite is {path}." if path else ""
        return (
            f"{self._name} computes NaN or infinity for {n_bad} of {self._batch.n_rows} prompts, "
            f"so its loss is unknown.{where} float16 is too small for some models: pass "
            "dtype=bfloat16 or dtype=float32."
        )

    def _excluded(self) -> str:
        return (
            f"{self._name} gives a token the probability 0 that it gives more as published, so its "
            "loss is infinite. Leave this k out, or report the model."
        )


def _prepared(model: Any, batch: PromptBatch) -> dict[str, Any]:  # noqa: ANN401
    """Return the inputs of a pass on the model's device: no cache, the logits of answers alone."""
    inputs = {
        name: value.to(model.device) if isinstance(value, torch.Tensor) else value
        for name, value in batch.inputs.items()
    }
    arguments = set(forward_arguments(type(model)))
    if "use_cache" in arguments:
        inputs["use_cache"] = False
    if LAST_LOGITS in arguments:
        # A number lets gemma4 leave out tokens of the prompt in some layers; positions do not.
        n, ids = batch.answer_ids.shape[1], inputs["input_ids"]
        inputs[LAST_LOGITS] = torch.arange(ids.shape[1] - n, ids.shape[1], device=ids.device)
    return inputs
