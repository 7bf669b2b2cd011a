"""Conversations keep their text and their images in vLLM's form."""

from __future__ import annotations

import pytest
from PIL import Image

from moe_eval_plugin.engines.vllm.messages import messages
from moe_eval_plugin.errors import InvalidArgumentError

TEXT = {"type": "text", "text": "What is it?"}


def test_texts_stay_as_they_are() -> None:
    conversation = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [TEXT]},
    ]

    assert messages(conversation) == conversation


def test_images_get_the_key_of_vllm() -> None:
    image = Image.new("RGB", (4, 3), "red")
    parts = [{"type": "image", "image": image}, TEXT]

    [message] = messages([{"role": "user", "content": parts}])

    given, text = message["content"]
    assert given == {"type": "image_pil", "image_pil": image}
    assert text is TEXT


def test_other_parts_are_refused() -> None:
    conversation = [{"role": "user", "content": [{"type": "video", "video": "a.mp4"}]}]

    with pytest.raises(InvalidArgumentError, match="text and images, and this task has video"):
        messages(conversation)
