from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.hosts.lmms_eval.easy_requests import messages, questions

if TYPE_CHECKING:
    from moe_eval_plugin.engines.vllm.messages import Prompt


GREEDY = {"max_tokens": 4, "temperature": 0.0}


def conversation(doc: dict[str, Any]) -> list[dict[str, Any]]:
    """A question as the adapter hands it to an engine."""
    (message,) = messages(doc)
    image, text = message["content"]
    return [{**message, "content": [{"type": "image", "image": image["url"]}, text]}]


def prompts(n: int = 6, continuation: str | None = None) -> list[Prompt]:
    from moe_eval_plugin.engines.vllm.messages import Prompt

    return [Prompt(lambda doc=doc: conversation(doc), GREEDY, continuation) for doc in questions(n)]


def conversations(n: int = 3) -> list[Any]:
    return [lambda doc=doc: conversation(doc) for doc in questions(n)]
