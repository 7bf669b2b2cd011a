"""The chat template of a checkpoint: what it reads, what it renders, how it begins an answer."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from jinja2 import TemplateError, meta, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from moe_eval_plugin.engines.checks.template import (
    QUESTION,
    check_template,
    use_tokenizer_template,
)
from moe_eval_plugin.errors import InvalidArgumentError, UserError
from moe_eval_plugin.measure.answer_ends import REASONING_TAGS
from moe_eval_plugin.option_values import read_json, refusal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from jinja2.parser import Parser

    from moe_eval_plugin.engines.request import Conversation
    from moe_eval_plugin.measure.answer_ends import TagPair

# What an engine passes itself, and what transformers defines in every template.
OF_THE_ENGINE = frozenset(
    {"messages", "tools", "documents", "add_generation_prompt", "continue_final_message"}
)
FUNCTIONS = ("raise_exception", "strftime_now")


def read_template_kwargs(name: str, value: object) -> dict[str, Any]:
    """Return a mapping, or the JSON object of a text; ``InvalidArgumentError`` otherwise."""
    found = read_json(name, value) if isinstance(value, str) and value else value
    if not isinstance(found, dict) or not found:
        allowed = f'Write a JSON object: {name}={{"enable_thinking": false}}'
        raise refusal(name, value, allowed)
    return dict(found)


class TemplateOptions:
    """What the options of every engine have in common: the two that are for the chat template."""

    chat_template_kwargs: Mapping[str, Any] | None
    enable_thinking: bool | None

    @property
    def template_arguments(self) -> dict[str, Any]:
        """What is passed to the chat template, by name.

        ``enable_thinking`` is short for the key of that name. Raises ``InvalidArgumentError`` if
        both are given and differ.
        """
        given, short = dict(self.chat_template_kwargs or {}), self.enable_thinking
        if short is None:
            return given
        if given.get("enable_thinking", short) != short:
            message = (
                f"enable_thinking={json.dumps(short)} and chat_template_kwargs="
                f"{json.dumps(given)} contradict each other. Remove one of them."
            )
            raise InvalidArgumentError(message)
        return {**given, "enable_thinking": short}


@dataclass(frozen=True)
class ChatTemplate:
    """The chat template of a checkpoint, with the user's arguments to it."""

    processor: Any
    """The processor of a vision-language model, or the tokenizer of a text model."""
    pretrained: str
    """The model, as the user named it."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """What the user passes to the template, by name."""

    @classmethod
    def load(
        cls,
        pretrained: str,
        source: str,
        arguments: Mapping[str, Any],
        *,
        revision: str | None = None,
        trust_remote_code: bool = False,
    ) -> Self:
        """Read the template of a checkpoint in a folder or on the Hub; no weights are read.

        A checkpoint whose processor transformers cannot read counts as one without a template.
        """
        from transformers import AutoProcessor

        try:
            processor = AutoProcessor.from_pretrained(
                source, revision=revision, trust_remote_code=trust_remote_code
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError):
            processor = None
        use_tokenizer_template(processor)
        return cls(processor, pretrained, arguments)

    @property
    def _tokenizer(self) -> Any:  # noqa: ANN401  (one of many classes)
        return getattr(self.processor, "tokenizer", self.processor)

    @property
    def text(self) -> str | None:
        """The template; ``None`` for a checkpoint without one."""
        for owner in (self.processor, self._tokenizer):
            found = getattr(owner, "chat_template", None)
            template = found.get("default") if isinstance(found, dict) else found
            if template:
                return str(template)
        return None

    @cached_property
    def variables(self) -> frozenset[str]:
        """The names that the template reads and a user can set; none without a template."""
        environment = ImmutableSandboxedEnvironment(extensions=[_GenerationTag, loopcontrols])
        found = meta.find_undeclared_variables(environment.parse(self.text or ""))
        of_tokenizer = set(self._tokenizer.special_tokens_map)
        return frozenset(found - OF_THE_ENGINE - set(FUNCTIONS) - of_tokenizer)

    @cached_property
    def special_tags(self) -> frozenset[int]:
        """Ids of the special tokens around a thought: a text without them would hide it."""
        tags = {tag for pair in REASONING_TAGS for tag in pair}
        known = getattr(self._tokenizer, "added_tokens_decoder", {})
        return frozenset(n for n, one in known.items() if one.special and one.content in tags)

    @cached_property
    def adds_special_tokens(self) -> bool:
        """Whether tokens of the tokenizer surround the rendered template, as transformers has it.

        A text model's tokenizer adds none. The processor of a vision-language model does, unless
        the template begins with the token that begins a text.
        """
        if not self._takes_parts:
            return False
        question = [self._message("user", QUESTION)]
        ids = self.processor.apply_chat_template(
            question, tokenize=True, return_dict=True, **self.arguments
        )["input_ids"]
        first = ids[0] if isinstance(ids[0], list) else ids
        rendered = self.processor.apply_chat_template(question, tokenize=False, **self.arguments)
        bare = self._tokenizer(rendered, add_special_tokens=False)["input_ids"]
        return bool(list(first) != list(bare))

    def opened_thought(self, tags: Iterable[TagPair]) -> TagPair | None:
        """Return the tags of the thought that the template opens, in which an answer begins."""
        prompt = self._rendered_question() or ""
        begin = prompt.rpartition(QUESTION)[2]
        opened = (pair for pair in tags if begin.rfind(pair[0]) > begin.rfind(pair[1]))
        return next(opened, None)

    def check(self, system_prompt: str | None = None) -> None:
        """Raise ``UserError`` for an argument or a system prompt without effect on prompts."""
        if self.processor is None and self.arguments:
            message = (
                f"transformers cannot read the processor of {self.pretrained}, so the arguments of "
                "its chat template cannot be checked. Leave chat_template_kwargs and "
                "enable_thinking out."
            )
            raise InvalidArgumentError(message)
        for name in self.arguments:
            if self.text is None or name not in self.variables:
                raise InvalidArgumentError(self._not_read(name))
        if self.processor is not None:
            check_template(self.pretrained, self.processor, self.arguments, with_image=False)
        if system_prompt and self.text is not None:
            self._check_system_prompt(system_prompt)

    def render(self, conversation: Conversation) -> str:
        """Return the prompt of a conversation as text; ``UserError`` if the template refuses it."""
        with self.refusing([conversation]):
            return str(
                self.processor.apply_chat_template(
                    conversation, add_generation_prompt=True, tokenize=False, **self.arguments
                )
            )

    @contextmanager
    def refusing(self, conversations: Sequence[Conversation]) -> Iterator[None]:
        """Raise ``UserError`` if the template refuses one of these conversations in the block."""
        try:
            yield
        except TemplateError as error:
            raise UserError(self._refusal(error, conversations[0])) from error

    def _check_system_prompt(self, system_prompt: str) -> None:
        messages = [self._message("system", system_prompt), self._message("user", QUESTION)]
        if self.render(messages) == self._rendered_question():
            message = (
                f"The chat template of {self.pretrained} ignores system messages, so the system "
                "prompt would change nothing. Leave it out, or put its text into the questions of "
                "the task."
            )
            raise UserError(message)

    def _rendered_question(self) -> str | None:
        """Render a question without an image; ``None`` where the template has no such prompt."""
        if self.text is None:
            return None
        try:
            return self.render([self._message("user", QUESTION)])
        except (UserError, TypeError):
            return None

    @cached_property
    def _takes_parts(self) -> bool:
        """Whether the content of a message is a list of parts, as processors take it, not text."""
        if self.text is None or self.processor is self._tokenizer:
            return False
        parts = [{"role": "user", "content": [{"type": "text", "text": QUESTION}]}]
        try:
            rendered = self.render(parts)
        except (UserError, TypeError):
            return False
        return QUESTION in rendered and "'type'" not in rendered

    def _message(self, role: str, text: str) -> dict[str, Any]:
        content = [{"type": "text", "text": text}] if self._takes_parts else text
        return {"role": role, "content": content}

    def _refusal(self, error: TemplateError, conversation: Conversation) -> str:
        roles = ", ".join(dict.fromkeys(message["role"] for message in conversation))
        advice = (
            "Leave the system prompt out, or put its text into the questions of the task."
            if conversation[0]["role"] == "system"
            else "Check the messages of the task, or use another checkpoint of this model."
        )
        return (
            f"The chat template of {self.pretrained} refuses a conversation of the roles {roles}: "
            f"{error}. {advice}"
        )

    def _not_read(self, name: str) -> str:
        if self.text is None:
            return (
                f"{self.pretrained} has no chat template, so {name} would change nothing. Leave "
                "it out, or use the instruction-tuned checkpoint of this model."
            )
        known = ", ".join(sorted(self.variables)) or "none"
        return (
            f"The chat template of {self.pretrained} does not read {name}, so it would change "
            f"nothing. The template reads these: {known}. Leave {name} out, or write another name "
            "into chat_template_kwargs."
        )


def text_only(conversation: Conversation) -> Conversation:
    """Return a conversation whose messages are text, as tokenizers take them.

    Raises ``InvalidArgumentError`` for a message with an image.
    """
    return [{**message, "content": _joined(message["content"])} for message in conversation]


def bare_text(conversation: Conversation) -> str:
    """Return the prompt of a model without a chat template: the text of all messages."""
    return "\n".join(message["content"] for message in text_only(conversation))


class _GenerationTag(Extension):
    """Reads ``{% generation %}``, which transformers adds to Jinja, as the block that it is."""

    tags = {"generation"}  # noqa: RUF012  (as Jinja declares it)

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """Return the statements of the block."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _joined(content: Any) -> str:  # noqa: ANN401  (a string or a list of parts)
    if isinstance(content, str):
        return content
    kinds = {part["type"] for part in content} - {"text"}
    if kinds:
        message = (
            f"This model reads text only, and the task has {', '.join(sorted(kinds))}. "
            "Choose a vision-language model with pretrained=, or run a text-only task."
        )
        raise InvalidArgumentError(message)
    return "".join(part["text"] for part in content)
