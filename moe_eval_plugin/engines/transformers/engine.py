"""Run a model with Hugging Face transformers: encode, generate, score, verify.

Every host that runs transformers models uses this class, so that k is set, observed and verified
in one module. It imports no host.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from transformers import StoppingCriteriaList

from moe_eval_plugin.engines.chat_template import ChatTemplate
from moe_eval_plugin.engines.checks.checkpoint import check_checkpoint
from moe_eval_plugin.engines.checks.memory import check_memory
from moe_eval_plugin.engines.continuation import continuation_ids
from moe_eval_plugin.engines.conversation import placeholder_texts, prepare_conversation
from moe_eval_plugin.engines.expert_request import check_request
from moe_eval_plugin.engines.generation import truncate_before
from moe_eval_plugin.engines.request import VERIFICATION_NEW_TOKENS, Generated
from moe_eval_plugin.engines.transformers.encoding import Scored, appended, encode
from moe_eval_plugin.engines.transformers.loading import (
    check_loadable,
    load_model,
    name_image_token,
    refusing_own_code,
)
from moe_eval_plugin.engines.transformers.model_at_k import ModelAtK
from moe_eval_plugin.engines.transformers.options import check_available
from moe_eval_plugin.engines.transformers.processor import load_processor, reads_images
from moe_eval_plugin.engines.transformers.sampling import replace_generation_config, seeded
from moe_eval_plugin.engines.transformers.shared.prefix import Prefixes
from moe_eval_plugin.engines.transformers.stopping import (
    OnTokenCallback,
    StopStringCriteria,
    StopStrings,
    cut_answers,
    decoded,
    end_ids,
    ended_by,
)
from moe_eval_plugin.measure.phases import PhaseRecorder, marks_for
from moe_eval_plugin.models import checkpoint
from moe_eval_plugin.models.architecture import image_tower
from moe_eval_plugin.override.finite import (
    rows_not_finite,
    watch_logits,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from moe_eval_plugin.engines.expert_request import ExpertRequest
    from moe_eval_plugin.engines.request import Conversation
    from moe_eval_plugin.engines.transformers.encoding import Encoded
    from moe_eval_plugin.engines.transformers.options import EngineOptions
    from moe_eval_plugin.engines.transformers.shared.images import ImageOutputs
    from moe_eval_plugin.engines.transformers.shared.layout import Layout
    from moe_eval_plugin.experts.trace import OverrideTrace
    from moe_eval_plugin.experts.verification import VerifiedOverride

VERIFICATION_ARGUMENTS = {
    "do_sample": False,
    "min_new_tokens": VERIFICATION_NEW_TOKENS,
    "max_new_tokens": VERIFICATION_NEW_TOKENS,
}


class HFEngine:
    """A loaded model at the requested k, until ``close``.

    ``request`` is the check of ``options`` if it was made before; otherwise it is made here, before
    a weight is read; the chat template must have a use for a ``system_prompt``. Raises what
    ``check_request``, ``check_checkpoint``, ``check_memory``, ``ChatTemplate.check``,
    ``load_model`` and ``apply`` raise.
    """

    def __init__(
        self,
        options: EngineOptions,
        request: ExpertRequest | None = None,
        *,
        system_prompt: str | None = None,
    ) -> None:
        check_available(options)
        self.options = options
        source = checkpoint.resolve(options.pretrained)
        request = request or check_request(options)
        check_checkpoint(options, request.model.config)
        check_memory(
            options.pretrained,
            revision=options.revision,
            device=options.device,
            device_map=options.device_map,
            dtype=options.dtype,
        )
        config = request.model.config
        check_loadable(options, config)
        self.processor = load_processor(options, source, config)
        self.takes_images = reads_images(self.processor)
        self.tokenizer = getattr(self.processor, "tokenizer", self.processor)
        self.template = ChatTemplate(self.processor, options.pretrained, options.template_arguments)
        self.template.check(system_prompt)
        self.model = load_model(options, source, config)
        name_image_token(self.model, self.processor)
        self.generation = replace_generation_config(self.model, self.tokenizer)
        self._placeholders = placeholder_texts(self.model.config, self.processor)
        self._stops: dict[tuple[str, ...], StopStrings] = {}
        # Set by a sweep, whose settings all get the same images.
        self.image_outputs: ImageOutputs | None = None
        self._at_k = ModelAtK(self.model, request, options.pretrained)

    def set_experts(
        self,
        experts_k: object = None,
        experts_policy: str | None = None,
        renorm: str | None = None,
    ) -> None:
        """Replace the override by another one; weights stay loaded, the configuration too.

        The arguments are those of ``EngineOptions``. What cannot be used is refused before
        anything changes. If the model cannot be set, it is left as published.
        """
        request = self.request.model.request(experts_k, experts_policy, renorm)
        self.options = replace(
            self.options, experts_k=experts_k, experts_policy=experts_policy, renorm=renorm
        )
        self._at_k.set(request)

    def close(self) -> None:
        """Restore the model's own k."""
        self._at_k.close()

    @property
    def request(self) -> ExpertRequest:
        """The request for experts that is in force."""
        return self._at_k.request

    @property
    def at_k(self) -> ModelAtK:
        """What sets, verifies and restores k."""
        return self._at_k

    @property
    def trace(self) -> OverrideTrace | None:
        """Where k was set; ``None`` for a model as published."""
        return self._at_k.trace

    @property
    def input_device(self) -> torch.device:
        """The device for the inputs of a forward pass."""
        return torch.device(self.model.device)

    @property
    def devices(self) -> set[str]:
        """The devices of the weights."""
        return {str(parameter.device) for parameter in self.model.parameters()}

    def phase_recorder(self) -> PhaseRecorder:
        """Build a recorder of this model's phases, which is a context manager."""
        return PhaseRecorder(self.model, image_tower(self.model), marks_for(self.devices))

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count the tokens of each text as it is: no template, no images."""
        if not texts:
            return []
        encoded = self.tokenizer(list(texts), add_special_tokens=False, return_attention_mask=False)
        return [len(ids) for ids in encoded["input_ids"]]

    def encode(self, conversations: Sequence[Conversation]) -> Encoded:
        """Apply the chat template, tokenise and preprocess images; safe to run in a thread."""
        return self.encode_prepared([self.prepared(one) for one in conversations])

    def prepared(self, conversation: Conversation) -> Conversation:
        """Return a conversation with its images decoded and its words checked."""
        if not self.takes_images:
            return conversation
        return prepare_conversation(conversation, self._placeholders)

    def encode_prepared(self, conversations: Sequence[Conversation]) -> Encoded:
        """Encode conversations that were prepared."""
        return encode(self.template, conversations, takes_images=self.takes_images)

    def generate(
        self,
        encoded: Encoded,
        arguments: Mapping[str, Any],
        until: Sequence[str] = (),
        on_token: Callable[[], None] | None = None,
        seed: int = 0,
    ) -> list[Generated]:
        """Generate an answer for each conversation, none of which shares anything.

        ``arguments`` go to transformers' ``generate``. Generation of an answer ends with the
        model's end token or once it holds one of the strings of ``until``, which are cut off.
        ``on_token`` is called each time that a token of every answer was chosen. ``seed`` is that
        of the whole batch where answers are sampled.
        """
        inputs = encoded.tensors.to(self.input_device)
        counts = encoded.n_input_tokens
        with self._kept_images(encoded):
            return self.generate_from(inputs, counts, arguments, until, on_token, seed)

    @torch.inference_mode()
    def compute_prefixes(self, encoded: Encoded, layout: Layout) -> Prefixes:
        """Compute what the prompts of a batch share, from which each of them continues."""
        with self._kept_images(encoded):
            return Prefixes.compute(self.model, encoded.tensors.to(self.input_device), layout)

    @torch.inference_mode()
    def generate_from(
        self,
        inputs: Mapping[str, Any],
        n_input_tokens: Sequence[int],
        arguments: Mapping[str, Any],
        until: Sequence[str] = (),
        on_token: Callable[[], None] | None = None,
        seed: int = 0,
    ) -> list[Generated]:
        """Generate as ``generate`` does, from the inputs of the model on its device.

        They may have a cache of the first tokens of their ``input_ids``, which are all there.
        """
        n_prompt = inputs["input_ids"].shape[1]
        stops, least = self._stop_strings(until), arguments.get("min_new_tokens") or 0
        criteria = StoppingCriteriaList()
        if on_token is not None:
            criteria.append(OnTokenCallback(on_token))
        if until:
            criteria.append(StopStringCriteria(stops, n_prompt + least))
        self.generation.warn_of_sampling(arguments)
        draws = seeded(seed, self.devices) if arguments.get("do_sample") else nullcontext()
        with watch_logits(self.model) as watch, draws:
            sequences = self.model.generate(**inputs, **arguments, stopping_criteria=criteria)
        rows, ends = sequences[:, n_prompt:].tolist(), end_ids(self.model)
        answers = cut_answers(rows, ends, stops, least)
        texts = decoded(self.tokenizer, answers, self.template.special_tags)
        steps = watch.first_steps(len(answers))
        return [
            Generated(truncate_before(text, until), n, len(ids), ended_by(ids, text, ends, until))
            if step >= len(ids)
            else Generated("", n, len(ids), is_finite=False)
            for text, n, ids, step in zip(texts, n_input_tokens, answers, steps, strict=True)
        ]

    @torch.inference_mode()
    def score(self, encoded: Encoded, continuation: str) -> Scored:
        """Score a continuation as the assistant's answer to one encoded conversation."""
        inputs = encoded.tensors.to(self.input_device)
        prompt_ids = inputs["input_ids"][0].tolist()
        target = continuation_ids(self.tokenizer, prompt_ids, continuation)
        target_ids = torch.tensor([target], dtype=torch.long, device=self.input_device)
        inputs = appended(inputs, target_ids)
        logits = self.model(**inputs, use_cache=False).logits[0, -target_ids.shape[1] - 1 : -1]
        log_probs = logits.float().log_softmax(-1)
        if rows_not_finite(logits).any():
            n_tokens = inputs["input_ids"].shape[1]
            return Scored(float("-inf"), is_greedy=False, n_input_tokens=n_tokens, is_finite=False)
        chosen = log_probs.gather(-1, target_ids[0, :, None]).sum()
        is_greedy = bool((log_probs.argmax(-1) == target_ids[0]).all())
        return Scored(float(chosen), is_greedy, n_input_tokens=inputs["input_ids"].shape[1])

    def verify(self, conversations: Sequence[Conversation]) -> VerifiedOverride:
        """Run a few real prompts, prefill and decode, and compare the k that tokens used.

        Raises ``OverrideNotEffectiveError``, and ``NotFiniteError`` for a model that computes NaN
        or infinity. A dense model has nothing to observe.
        """
        encoded = self.encode(conversations)

        def run() -> None:
            self.generate(encoded, VERIFICATION_ARGUMENTS)

        with refusing_own_code(self.model):
            return self._at_k.verify(run, len(conversations))

    def _kept_images(self, encoded: Encoded) -> AbstractContextManager[None]:
        """Return a context in which kept outputs of the image tower are not computed again."""
        if self.image_outputs is None or encoded.images is None:
            return nullcontext()
        return self.image_outputs.serving(self.model, encoded.images)

    def _stop_strings(self, until: Sequence[str]) -> StopStrings:
        key = tuple(until)
        if key not in self._stops:
            self._stops[key] = StopStrings(self.tokenizer, key)
        return self._stops[key]
