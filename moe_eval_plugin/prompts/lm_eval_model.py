"""``moe_hf`` and ``moe_hf-multimodal`` in lm-eval, whose prompts are encoded without being scored.

The host itself reads and encodes each request. What it would put to the model is taken instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.engines.transformers.stopping import end_ids
from moe_eval_plugin.hosts.lm_eval.asked import GENERATING
from moe_eval_plugin.hosts.lm_eval.model import MeasuredLM
from moe_eval_plugin.model_adapters.lm_eval_hf import MoEHFLM
from moe_eval_plugin.model_adapters.lm_eval_hf_multimodal import WITH_IMAGES, MoEHFMultimodalLM

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor, nn

    from moe_eval_plugin.model_adapters.lm_eval_hf_contexts import TokenRequest


@dataclass(frozen=True)
class TakenText:
    """A text that the host puts to the model."""

    prompt: tuple[int, ...]
    """Tokens of the prompt."""
    scored: tuple[int, ...] = ()
    """Tokens that are scored after the prompt; none where the model generates an answer."""
    n_new: int = 0
    """Tokens that the host would generate at most."""
    stop: tuple[str, ...] = ()
    """Texts that end a generated answer."""

    @property
    def is_generating(self) -> bool:
        """Whether the model generates an answer."""
        return not self.scored

    @property
    def tokens(self) -> tuple[int, ...]:
        """What is put to the model: the last token is scored, and not put to it."""
        return (*self.prompt, *self.scored[:-1])


@dataclass(frozen=True)
class TakenInputs:
    """A prompt with images that the host puts to the model."""

    inputs: Mapping[str, Any]
    """Inputs of the model, on its device, one row."""
    n_new: int
    """Tokens that the host would generate at most."""
    stop: tuple[str, ...]
    """Texts that end the answer."""


class PromptLM(MoEHFLM):
    """A model of lm-eval, for its prompts; with texts alone."""

    # The texts of the request that the host encodes, while they are taken from it.
    _taken: list[TakenText] | None = None

    @property
    def module(self) -> nn.Module:
        """The model of transformers."""
        module: nn.Module = self.model
        return module

    @property
    def end_tokens(self) -> set[int]:
        """Tokens that end an answer, and the one that fills rows behind it."""
        ends = {*end_ids(self.model), self.eot_token_id, self.tokenizer.pad_token_id}
        return {token for token in ends if token is not None}

    def verify(self, requests: Sequence[Any]) -> None:
        """Observe k on the first requests of a task.

        Raises ``OverrideNotEffectiveError`` where tokens use another one.
        """
        self._observe(requests)

    def take(self, request: Any) -> list[TakenText]:  # noqa: ANN401  (the host's)
        """Return the texts that the host would put to the model for one request."""
        texts: list[TakenText] = []
        self._taken = texts
        try:
            self._ask_alone(request)
        finally:
            self._taken = None
        return texts

    def _loglikelihood_tokens(
        self,
        requests: list[TokenRequest],
        disable_tqdm: bool = False,  # noqa: FBT001, FBT002  (the host's)
        override_bs: int | None = None,
    ) -> list[tuple[float, bool]]:
        if self._taken is None:
            return super()._loglikelihood_tokens(requests, disable_tqdm, override_bs)
        for _, context, continuation in requests:
            tokens = [*context, *continuation][-(self.max_length + 1) :]
            n_prompt = len(tokens) - len(continuation)
            self._taken.append(TakenText(tuple(tokens[:n_prompt]), tuple(tokens[n_prompt:])))
        return [(0.0, False)] * len(requests)

    def _model_generate(
        self,
        context: Tensor,
        max_length: int,
        stop: list[str],
        **kwargs: Any,  # noqa: ANN401
    ) -> Tensor:
        if self._taken is None:
            return super()._model_generate(context, max_length, stop, **kwargs)
        prompt = tuple(context[0].tolist())
        n_new, texts = max_length - len(prompt), tuple(text for text in stop if text)
        self._taken.append(TakenText(prompt, n_new=n_new, stop=texts))
        return context

    def _ask_alone(self, request: Any) -> None:  # noqa: ANN401  (the host's)
        """Pass one request to the host's own method, without measuring anything."""
        method: Callable[..., object] = getattr(super(MeasuredLM, self), request.request_type)
        method([request], disable_tqdm=True)


class PromptMultimodalLM(PromptLM, MoEHFMultimodalLM):
    """The same, with images."""

    # The inputs of the request that the host encodes, while they are taken from it.
    _taken_inputs: list[TakenInputs] | None = None

    def take_inputs(self, request: Any) -> TakenInputs:  # noqa: ANN401  (the host's)
        """Return what the host would put to the model for a request with images."""
        found: list[TakenInputs] = []
        self._taken_inputs = found
        try:
            self._ask_alone(request)
        finally:
            self._taken_inputs = None
        return found[0]

    def _model_multimodal_generate(
        self,
        inputs: Any,  # noqa: ANN401  (a mapping of the library)
        max_length: int,
        stop: list[str],
        **kwargs: Any,  # noqa: ANN401
    ) -> Tensor:
        if self._taken_inputs is None:
            return super()._model_multimodal_generate(inputs, max_length, stop, **kwargs)
        prompt: Tensor = inputs["input_ids"]
        n_new, texts = max_length - prompt.shape[1], tuple(text for text in stop if text)
        self._taken_inputs.append(TakenInputs(inputs, n_new, texts))
        return prompt


def has_images(request: Any) -> bool:  # noqa: ANN401  (the host's)
    """Whether the model answers a request with images."""
    return request.request_type == GENERATING and len(request.args) >= WITH_IMAGES
