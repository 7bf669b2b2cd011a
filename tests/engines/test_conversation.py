"""Conversations get images that every engine reads alike, and no image by their words."""

from __future__ import annotations

import base64
import io
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from moe_eval_plugin.engines.conversation import placeholder_texts, prepare_conversation
from moe_eval_plugin.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

TEXT = {"type": "text", "text": "What is it?"}


def user(*parts: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(parts)}]


def picture() -> Image.Image:
    """Return a black dot on transparent."""
    image = Image.new("RGBA", (4, 3), (0, 0, 0, 0))
    image.putpixel((1, 1), (0, 0, 0, 255))
    return image


def test_words_stay_as_they_are() -> None:
    conversation = [{"role": "system", "content": "Be brief."}, *user(TEXT)]
    assert prepare_conversation(conversation, {"<image>"}) == conversation


def test_every_kind_of_image_is_decoded_alike(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    picture().save(path)
    address = "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
    given = [picture(), str(path), path, io.BytesIO(path.read_bytes()), address]
    parts = [{"type": "image", "image": image} for image in given]

    [message] = prepare_conversation(user(*parts, TEXT), ())

    *images, text = message["content"]
    shown = [part["image"] for part in images]
    assert {(image.mode, image.size, image.tobytes()) for image in shown} == {
        ("RGB", (4, 3), shown[0].tobytes())
    }
    assert shown[0].getpixel((0, 0)) == (255, 255, 255)
    assert shown[0].getpixel((1, 1)) == (0, 0, 0)
    assert text is TEXT


def test_an_upright_rgb_image_is_passed_on() -> None:
    image = Image.new("RGB", (4, 3))
    [message] = prepare_conversation(user({"type": "image", "image": image}), ())
    assert message["content"][0]["image"] is image


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (None, "it has no image"),
        ("gone.png", "its image gone.png cannot be read: .*No such file"),
        (Image.new("RGB", (0, 2)), r"it has no pixels \(0 x 2\)"),
    ],
)
def test_an_image_that_cannot_be_used(image: Any, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        prepare_conversation(user({"type": "image", "image": image}), ())


@pytest.mark.parametrize("content", ["Is <image> a word?", [{"type": "text", "text": "<image>"}]])
def test_words_that_would_take_an_image(content: Any) -> None:
    with pytest.raises(DataError, match='its text has "<image>", which this model takes'):
        prepare_conversation([{"role": "user", "content": content}], {"<image>"})


def test_placeholders_come_from_the_processor_and_the_configuration() -> None:
    image, film = "<image>", "<film>"
    tokenizer = SimpleNamespace(convert_ids_to_tokens={5: "<pad>"}.get, video_token=film)
    processor = SimpleNamespace(tokenizer=tokenizer, image_token=image, boi_token=None)
    config = SimpleNamespace(image_token_id=5)
    assert placeholder_texts(config, processor) == {"<image>", "<pad>"}
    assert placeholder_texts(config, tokenizer) == {"<film>", "<pad>"}
