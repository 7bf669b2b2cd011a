"""Hugging Face transformers as an engine: load, encode, generate, score; no host is known here.

Every host that runs transformers models uses this one class, so that k is set, observed and
verified in one place.
"""

from __future__ import annotations

import logging
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoProcessor,
    AutoTokenizer,
    BatchFeature,
    StoppingCriteria,
    StoppingCriteriaList,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

from moe_eval_plugin import checkpoint, cost, override, preflight, probe
from moe_eval_plugin.errors import CheckpointMismatchError, InvalidArgumentError, UserError
from moe_eval_plugin.families import describe
from moe_eval_plugin.places import layer_number
from moe_eval_plugin.policies import parse_rule
from moe_eval_plugin.schedule import parse_experts_k
from moe_eval_plugin.spec import constant_schedule
from moe_eval_plugin.verification import verify

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor
    from transformers import PretrainedConfig

    from moe_eval_plugin.families import MoEDescription
    from moe_eval_plugin.spec import ResolvedSchedule, RoutingRule
    from moe_eval_plugin.verification import VerifiedOverride

logger = logging.getLogger(__name__)

Conversation = list[dict[str, Any]]
DTYPES = ("auto", "bfloat16", "float16", "float32")
EXPERTS_IMPLEMENTATIONS = (None, "eager", "grouped_mm", "batched_mm")
VERIFICATION_NEW_TOKENS = 2


@dataclass(frozen=True)
class EngineOptions:
    """How a model is loaded. ``None`` leaves a choice to transformers or to the checkpoint."""

    pretrained: str
    revision: str | None = None
    experts_k: object = None
    experts_policy: str | None = None
    renorm: str | None = None
    experts_implementation: str | None = None
    dtype: str = "auto"
    device: str = "cpu"
    device_map: str | None = None
    attn_implementation: str | None = None
    min_pixels: int | None = None
    max_pixels: int | None = None
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        """Raise ``InvalidArgumentError`` for a value that no option can take."""
        _check_choice("dtype", self.dtype, DTYPES)
        _check_choice(
            "experts_implementation", self.experts_implementation, EXPERTS_IMPLEMENTATIONS
        )


@dataclass(frozen=True)
class Encoded:
    """A batch of conversations as tensors on the CPU, padded on the left.

    ``n_input_tokens`` counts each conversation's tokens, image tokens included.
    """

    tensors: BatchFeature
    n_input_tokens: tuple[int, ...]


@dataclass(frozen=True)
class Generated:
    """One answer: its text up to the first stop string, and the tokens that were generated.

    ``n_output_tokens`` counts up to and with the token that ended the answer.
    """

    text: str
    n_input_tokens: int
    n_output_tokens: int


@dataclass(frozen=True)
class Request:
    """What was asked of a model, checked against its configuration."""

    config: PretrainedConfig
    description: MoEDescription
    rule: RoutingRule
    resolved: ResolvedSchedule | None


def check_request(options: EngineOptions) -> Request:
    """Check all that the configuration can tell, before a weight is read.

    Raises the errors of ``checkpoint`` and ``spec``.
    """
    config = checkpoint.load_config(
        options.pretrained,
        revision=options.revision,
        trust_remote_code=options.trust_remote_code,
    )
    description = describe(config)
    rule = parse_rule(options.experts_policy, options.renorm)
    schedule = parse_experts_k(options.experts_k)
    if schedule is None and not rule.is_native:
        # A rule alone works at the baseline k.
        schedule = constant_schedule(description.num_experts_per_tok)
    if schedule is None:
        return Request(config, description, rule, None)
    layers = None
    if schedule.names_layers and description.is_moe:
        found = cost.count_parameters(config, trust_remote_code=options.trust_remote_code).layers
        layers = sorted({n for x in found if (n := layer_number(x.path)) is not None})
    return Request(config, description, rule, schedule.resolve(description, layers))


class HFEngine:
    """A loaded model at the k that was asked for, until ``close``.

    Everything that the configuration can tell is checked before a weight is read. The errors are
    those of ``checkpoint``, ``spec``, ``preflight`` and ``override``.
    """

    def __init__(self, options: EngineOptions) -> None:
        self.options = options
        source = checkpoint.resolve(options.pretrained)
        request = check_request(options)
        config = request.config
        self.description = request.description
        self.rule = request.rule
        self.resolved = request.resolved
        self.warnings = self.description.warnings if self.resolved else ()
        for warning in self.warnings:
            logger.warning("%s: %s", self.description.model_type, warning)
        preflight.check_memory(
            options.pretrained,
            revision=options.revision,
            device=options.device,
            device_map=options.device_map,
            dtype=options.dtype,
        )
        self.takes_images = config.model_type in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
        self.processor = self._load_processor(source)
        self.tokenizer = getattr(self.processor, "tokenizer", self.processor)
        self._prepare_tokenizer()
        self.model = self._load_model(source)
        self._override = ExitStack()
        self.trace = None
        if self.resolved:
            self.trace = self._override.enter_context(
                override.apply(self.model, self.resolved, self.rule)
            )

    def close(self) -> None:
        """Restore the model's own k."""
        self._override.close()

    @property
    def input_device(self) -> torch.device:
        """Where the inputs of a forward pass belong."""
        return torch.device(self.model.device)

    def encode(self, conversations: Sequence[Conversation]) -> Encoded:
        """Apply the chat template, tokenise and preprocess images; safe to run in a thread."""
        if self.takes_images:
            tensors = self.processor.apply_chat_template(
                list(conversations),
                add_generation_prompt=True,
                tokenize=True,
                return_dict=True,
                return_tensors="pt",
                processor_kwargs={"padding": True},
            )
        else:
            texts = [self._text_prompt(conversation) for conversation in conversations]
            tensors = self.tokenizer(texts, padding=True, return_tensors="pt")
        counts = tensors["attention_mask"].sum(-1).tolist()
        return Encoded(tensors=tensors, n_input_tokens=tuple(counts))

    @torch.inference_mode()
    def generate(
        self, encoded: Encoded, arguments: Mapping[str, Any], until: Sequence[str] = ()
    ) -> list[Generated]:
        """Generate an answer for each conversation.

        ``arguments`` go to transformers' ``generate``. Generation of an answer ends with the
        model's end token or once it holds one of the strings of ``until``, which are cut off.
        """
        inputs = encoded.tensors.to(self.input_device)
        n_prompt = inputs["input_ids"].shape[1]
        ended = _AnswerHolds(self.tokenizer, until, n_prompt)
        criteria = StoppingCriteriaList([ended] if until else [])
        sequences = self.model.generate(**inputs, **arguments, stopping_criteria=criteria)
        answers = [
            self._until_end(ids[: ended.n_tokens.get(row)])
            for row, ids in enumerate(sequences[:, n_prompt:].tolist())
        ]
        texts = self.tokenizer.batch_decode(
            answers, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return [
            Generated(cut_at(text, until), n_input, len(ids))
            for text, n_input, ids in zip(texts, encoded.n_input_tokens, answers, strict=True)
        ]

    @torch.inference_mode()
    def loglikelihood(self, conversation: Conversation, continuation: str) -> tuple[float, bool]:
        """Score a continuation as the assistant's answer.

        Returns the sum of its tokens' log-probabilities (natural logarithm), and whether each
        token is the most likely one.
        """
        prompt = self.encode([conversation]).tensors.to(self.input_device)
        target = self.tokenizer(continuation, add_special_tokens=False, return_tensors="pt")
        target_ids = target["input_ids"].to(self.input_device)
        inputs = dict(prompt)
        for name in ("input_ids", "attention_mask", "mm_token_type_ids"):
            if name in inputs:
                filler = _continuation_of(name, inputs[name], target_ids)
                inputs[name] = torch.cat([inputs[name], filler], dim=1)
        logits = self.model(**inputs, use_cache=False).logits[0, -target_ids.shape[1] - 1 : -1]
        log_probs = logits.float().log_softmax(-1)
        chosen = log_probs.gather(-1, target_ids[0, :, None]).sum()
        is_greedy = bool((log_probs.argmax(-1) == target_ids[0]).all())
        return float(chosen), is_greedy

    def verify(self, conversations: Sequence[Conversation]) -> VerifiedOverride:
        """Run a few real prompts, prefill and decode, and compare the k that tokens used.

        Raises ``OverrideNotEffectiveError``. A dense model has nothing to observe.
        """
        with probe.observe(self.model) as pending:
            self.generate(
                self.encode(conversations),
                {
                    "do_sample": False,
                    "min_new_tokens": VERIFICATION_NEW_TOKENS,
                    "max_new_tokens": VERIFICATION_NEW_TOKENS,
                },
            )
        baseline = self.description.num_experts_per_tok or None
        return verify(self.resolved, baseline, pending.result(), self.rule)

    def _until_end(self, ids: list[int]) -> list[int]:
        """Cut a generated row behind the first token that ends an answer."""
        ends = self.model.generation_config.eos_token_id
        end_ids = {ends} if isinstance(ends, int) else set(ends or ())
        for position, token_id in enumerate(ids):
            if token_id in end_ids:
                return ids[: position + 1]
        return ids

    def _text_prompt(self, conversation: Conversation) -> str:
        """Build the prompt of a text-only model: its chat template, or the bare text."""
        messages = [{**m, "content": _only_text(m["content"])} for m in conversation]
        if self.tokenizer.chat_template is None:
            return "\n".join(message["content"] for message in messages)
        prompt = self.tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=False
        )
        return str(prompt)

    def _load_processor(self, source: str) -> Any:  # noqa: ANN401  (one of many processor classes)
        loader = AutoProcessor if self.takes_images else AutoTokenizer
        processor = loader.from_pretrained(
            source,
            revision=self.options.revision,
            trust_remote_code=self.options.trust_remote_code,
        )
        if self.takes_images and getattr(processor, "chat_template", None) is None:
            message = (
                f"{self.options.pretrained} has no chat template, so there is no telling where its "
                "prompts hold the image. Use the instruction-tuned checkpoint of this model."
            )
            raise UserError(message)
        self._set_pixels(processor)
        return processor

    def _set_pixels(self, processor: Any) -> None:  # noqa: ANN401
        limits = {
            "shortest_edge": self.options.min_pixels,
            "longest_edge": self.options.max_pixels,
        }
        given = {key: value for key, value in limits.items() if value is not None}
        size = getattr(getattr(processor, "image_processor", None), "size", None)
        if not given:
            return
        if size is None or not all(key in size for key in limits):
            message = (
                f"min_pixels and max_pixels are not options of {self.options.pretrained}: its "
                "image processor does not limit images by their number of pixels. Leave them out."
            )
            raise InvalidArgumentError(message)
        processor.image_processor.size = {**dict(size), **given}

    def _prepare_tokenizer(self) -> None:
        self.tokenizer.padding_side = "left"
        if self.tokenizer.pad_token_id is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token

    def _load_model(self, source: str) -> Any:  # noqa: ANN401  (one of many model classes)
        options = self.options
        loader = AutoModelForImageTextToText if self.takes_images else AutoModelForCausalLM
        chosen = {
            "attn_implementation": options.attn_implementation,
            "experts_implementation": options.experts_implementation,
            "revision": options.revision,
        }
        model, loading = loader.from_pretrained(
            source,
            dtype=options.dtype,
            device_map=options.device_map or options.device,
            trust_remote_code=options.trust_remote_code,
            output_loading_info=True,
            **{key: value for key, value in chosen.items() if value is not None},
        )
        _refuse_incomplete(type(model).__name__, source, loading)
        return model.eval()


class _AnswerHolds(StoppingCriteria):
    """Ends each row whose answer holds a stop string; the prompt is not looked at.

    ``n_tokens`` tells the rows that were ended so, and after how many generated tokens.
    """

    def __init__(self, tokenizer: Any, until: Sequence[str], n_prompt: int) -> None:  # noqa: ANN401
        self._tokenizer = tokenizer
        self._until = tuple(until)
        self._n_prompt = n_prompt
        self.n_tokens: dict[int, int] = {}
        # A token decodes to one byte at least, so a string of n bytes ends within n tokens.
        self._window = max((len(stop.encode()) for stop in until), default=0) + 1

    def __call__(self, input_ids: Tensor, _scores: Tensor, **_kwargs: Any) -> Tensor:  # noqa: ANN401
        start = max(self._n_prompt, input_ids.shape[1] - self._window)
        tails = self._tokenizer.batch_decode(input_ids[:, start:], skip_special_tokens=True)
        holds = [any(stop in tail for stop in self._until) for tail in tails]
        for row in (row for row, is_ended in enumerate(holds) if is_ended):
            self.n_tokens.setdefault(row, input_ids.shape[1] - self._n_prompt)
        return torch.tensor(holds, device=input_ids.device)


def cut_at(text: str, until: Sequence[str]) -> str:
    """Cut a text before the first of some stop strings; empty strings stop nothing."""
    for stop in until:
        if stop:
            text = text.split(stop, 1)[0]
    return text


def _continuation_of(name: str, prompt: Tensor, target_ids: Tensor) -> Tensor:
    """Give what stands behind the prompt in one of the model's per-token inputs."""
    if name == "input_ids":
        return target_ids
    fill = 1 if name == "attention_mask" else 0
    return torch.full_like(target_ids, fill, dtype=prompt.dtype)


def _only_text(content: Any) -> str:  # noqa: ANN401  (a string or a list of parts)
    """Join the text of a message; ``InvalidArgumentError`` where it holds an image."""
    if isinstance(content, str):
        return content
    kinds = {part["type"] for part in content} - {"text"}
    if kinds:
        message = (
            f"This model reads text only, and the task shows it {', '.join(sorted(kinds))}. "
            "Name a vision-language model with pretrained=, or run a text-only task."
        )
        raise InvalidArgumentError(message)
    return "".join(part["text"] for part in content)


def _refuse_incomplete(model_class: str, source: str, loading: Mapping[str, Any]) -> None:
    """Raise ``CheckpointMismatchError`` if some weight was not loaded as it is stored.

    transformers gives such weights fresh random values and goes on. ``loading`` is what it tells
    of that: keys that are missing, unexpected, or of another shape.
    """
    kinds = {
        "are missing and were made up": loading.get("missing_keys"),
        "are not used by the model": loading.get("unexpected_keys"),
        "have another shape": [key for key, *_ in loading.get("mismatched_keys") or ()],
    }
    found = [
        f"{len(keys)} weights {what} (first: {min(map(str, keys))})"
        for what, keys in kinds.items()
        if keys
    ]
    if found:
        message = (
            f"The checkpoint in {source} does not fit {model_class}: {'; '.join(found)}. A result "
            "would be that of another model. Check that config.json belongs to the weights, and "
            "that transformers is as new as the model needs."
        )
        raise CheckpointMismatchError(message)


def _check_choice(name: str, value: str | None, allowed: Sequence[str | None]) -> None:
    if value not in allowed:
        choices = ", ".join(str(choice) for choice in allowed if choice is not None)
        message = f"{name}={value} is not known. Use one of: {choices}."
        raise InvalidArgumentError(message)
