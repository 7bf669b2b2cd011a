"""Prompts of vLLM, made of conversations, and answers, read from what it returns."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.engines.chat_template import ChatTemplate, bare_text
from moe_eval_plugin.engines.continuation import continuation_ids
from moe_eval_plugin.engines.conversation import placeholder_texts
from moe_eval_plugin.engines.vllm.request_times import RequestTimes, ended_by
from moe_eval_plugin.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from moe_eval_plugin.engines.request import Conversation
    from moe_eval_plugin.engines.vllm.options import VLLMOptions
    from moe_eval_plugin.measure.answer_ends import EndedBy


@dataclass(frozen=True)
class Prompt:
    """A conversation to be answered; ``build`` reads its images, ``sampling`` is for vLLM.

    A ``continuation`` is scored instead: its tokens follow the conversation.
    """

    build: Callable[[], Conversation]
    sampling: Mapping[str, Any]
    continuation: str | None = None


@dataclass(frozen=True)
class Answer:
    """The result of one prompt."""

    text: str
    """The answer; empty where the prompt could not be answered."""
    times: RequestTimes
    """Tokens and seconds of the request."""
    error: str | None = None
    """Why the prompt could not be answered."""
    ended_by: EndedBy | None = None
    """What ended the answer; ``None`` is not known."""
    log_probability: float | None = None
    """Of a continuation that was scored: the sum of its tokens' natural logarithms."""
    is_greedy: bool | None = None
    """Of a continuation that was scored: whether each token is the most likely one."""

    is_finite: bool = True
    """Whether no token was chosen or scored from NaN or infinity."""
    request: str = ""
    """Name of vLLM's request, which the workers know too."""

    def without_text(self) -> Answer:
        """Return the answer as one that was computed from NaN or infinity."""
        return replace(self, text="", ended_by=None, is_finite=False)

    @property
    def n_input_tokens(self) -> int:
        """Tokens of the prompt, image tokens included."""
        return self.times.n_input_tokens

    @property
    def n_output_tokens(self) -> int:
        """Generated tokens, the one that ended the answer included."""
        return self.times.n_output_tokens


def read_answer(output: Any, target: Sequence[int] | None) -> Answer:  # noqa: ANN401  (a RequestOutput)
    """Return the answer in what vLLM returns, or the score of the ``target`` tokens."""
    completion, n_input = output.outputs[0], len(output.prompt_token_ids)
    if target is None:
        times = RequestTimes.read(output.metrics, n_input, len(completion.token_ids))
        return Answer(
            completion.text, times, ended_by=ended_by(completion), request=name_of(output)
        )
    of_tokens = output.prompt_logprobs[-len(target) :]
    chosen = [found[token] for found, token in zip(of_tokens, target, strict=True)]
    total = sum(one.logprob for one in chosen)
    is_finite = not math.isnan(total) and total < math.inf
    return Answer(
        "",
        RequestTimes.read(output.metrics, n_input, 0),
        log_probability=total if is_finite else -math.inf,
        is_greedy=is_finite and all(one.rank == 1 for one in chosen),
        is_finite=is_finite,
    )


def name_of(output: Any) -> str:  # noqa: ANN401  (vLLM appends to the submitted name)
    """Return the name under which a request was submitted."""
    return str(output.request_id).partition("-")[0]


def load_template(options: VLLMOptions, source: str) -> ChatTemplate:
    """Read the chat template that vLLM will use; ``source`` is a folder or a hub id."""
    return ChatTemplate.load(
        options.pretrained,
        options.engine.get("tokenizer") or source,
        options.template_arguments,
        revision=options.engine.get("tokenizer_revision") or options.revision,
        trust_remote_code=options.trust_remote_code,
    )


def messages(conversation: Conversation) -> Conversation:
    """Convert a conversation of transformers, whose images are decoded, to one of vLLM.

    Raises ``InvalidArgumentError`` for a part that is neither text nor an image.
    """
    return [
        {**message, "content": [_part(part) for part in message["content"]]}
        if isinstance(message["content"], list)
        else message
        for message in conversation
    ]


def placeholders_of(model_config: Any) -> frozenset[str]:  # noqa: ANN401  (vLLM's ModelConfig)
    """Return the texts that a model takes for an image; none for one that reads text only."""
    if not model_config.is_multimodal_model:
        return frozenset()
    from vllm.transformers_utils.processor import cached_processor_from_config

    processor = cached_processor_from_config(model_config)
    return placeholder_texts(model_config.hf_config, processor)


def rendered_prompt(llm: Any, template: ChatTemplate, conversation: Conversation) -> dict[str, Any]:  # noqa: ANN401  (vllm.LLM)
    """Encode a conversation for ``LLM.llm_engine``, with the tokens that transformers gives it.

    ``template`` is the checkpoint's. Raises what ``messages`` and vLLM's renderer raise.
    """
    from vllm.renderers.chat_utils import ChatTemplateResolutionError

    # Its public methods run what they render.
    try:
        rendered: dict[str, Any] = llm._preprocess_chat_one(  # noqa: SLF001
            messages(conversation),
            chat_template_kwargs=dict(template.arguments),
            tokenization_kwargs={"add_special_tokens": template.adds_special_tokens},
        )
    except ChatTemplateResolutionError:
        rendered = llm._preprocess_cmpl_one(bare_text(conversation))  # noqa: SLF001
    return rendered


def append_continuation(
    llm: Any,  # noqa: ANN401  (vllm.LLM)
    rendered: dict[str, Any],
    continuation: str | None,
) -> list[int] | None:
    """Append the tokens of a text to a prompt, and return them; ``None`` for no text."""
    if continuation is None:
        return None
    prompt_ids = rendered["prompt_token_ids"]
    target = continuation_ids(llm.get_tokenizer(), prompt_ids, continuation)
    rendered["prompt_token_ids"] = [*prompt_ids, *target]
    return target


def _part(part: dict[str, Any]) -> dict[str, Any]:
    if part["type"] == "text":
        return part
    if part["type"] != "image":
        message = f"moe_vllm takes text and images, and this task has {part['type']}."
        raise InvalidArgumentError(message)
    return {"type": "image_pil", "image_pil": part["image"]}
