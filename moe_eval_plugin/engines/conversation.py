"""Prepare the parts of a conversation: the same images and the same checks on every engine."""

from __future__ import annotations

import json
from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

from PIL.Image import Image

from moe_eval_plugin.errors import DataError, UnreadableImageError
from moe_eval_plugin.models.releases.names import image_token_ids
from moe_eval_plugin.vqa.images import as_rgb, read_image

if TYPE_CHECKING:
    from collections.abc import Collection

    from moe_eval_plugin.engines.request import Conversation

# What processors call the texts that they replace by the tokens of an image.
PLACEHOLDERS = ("image_token", "video_token", "boi_token", "fake_image_token")
ADDRESSES = ("http://", "https://", "data:")
ADDRESS_TIMEOUT_S = 60
LONGEST_NAME = 200


def prepare_conversation(conversation: Conversation, placeholders: Collection[str]) -> Conversation:
    """Return a conversation with its images decoded, upright and as RGB.

    ``placeholders`` are the texts that the model takes for images. Raises ``DataError`` for an
    image that cannot be read, and for such a text in the words of the conversation: it would take
    an image that belongs elsewhere.
    """
    return [
        {**message, "content": [_part(part, placeholders) for part in message["content"]]}
        if isinstance(message["content"], list)
        else {**message, "content": _words(message["content"], placeholders)}
        for message in conversation
    ]


def placeholder_texts(config: Any, processor: Any) -> frozenset[str]:  # noqa: ANN401  (many classes)
    """Return the texts that a model takes for an image or a video, if they are in a prompt.

    ``processor`` may be the tokenizer alone.
    """
    tokenizer = getattr(processor, "tokenizer", processor)
    named = [getattr(processor, name, None) for name in PLACEHOLDERS]
    of_config = [tokenizer.convert_ids_to_tokens(token) for token in image_token_ids(config)]
    return frozenset(str(token) for token in (*named, *of_config) if token)


def _part(part: dict[str, Any], placeholders: Collection[str]) -> dict[str, Any]:
    if part["type"] == "text":
        _words(part["text"], placeholders)
        return part
    return {**part, "image": _decoded(part["image"])} if part["type"] == "image" else part


def _words(text: str, placeholders: Collection[str]) -> str:
    for placeholder in placeholders:
        if placeholder in text:
            message = f"its text has {json.dumps(placeholder)}, which this model takes for an image"
            raise DataError(message)
    return text


def _decoded(image: Any) -> Image:  # noqa: ANN401  (whatever a task passes)
    """Decode an image of a task: an image of Pillow, the path of a file, or an address."""
    if isinstance(image, Image):
        return as_rgb(image)
    if image is None:
        message = "it has no image"
        raise DataError(message)
    try:
        if isinstance(image, str) and image.startswith(ADDRESSES):
            with urlopen(image, timeout=ADDRESS_TIMEOUT_S) as content:  # noqa: S310  (see ADDRESSES)
                image = BytesIO(content.read())
        return read_image(image)
    except (UnreadableImageError, OSError) as error:
        message = f"its image {str(image)[:LONGEST_NAME]} cannot be read: {error}"
        raise DataError(message) from error
