"""Encode the questions about an image with the image encoded once.

The first question of each group goes through the processor, image and all. Of the others only the
text is tokenised, with the placeholder of the image as it is; the tokens that the processor put in
its place are those of the first question.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.engines.transformers.shared.layout import lay_out, n_common
from moe_eval_plugin.models.releases.names import image_token_ids

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from transformers import BatchFeature

    from moe_eval_plugin.engines.request import Conversation
    from moe_eval_plugin.engines.transformers.encoding import Encoded
    from moe_eval_plugin.engines.transformers.engine import HFEngine


class CannotShareError(Exception):
    """Some prompts have less in common than an image; they are encoded one by one then."""


@dataclass(frozen=True)
class Prompts:
    """The tokens of a group of prompts, in full."""

    ids: list[list[int]]
    """Tokens of each prompt, image tokens included."""
    n_needed: int
    """Tokens up to the end of the last image, which all have in common."""


def encode_shared(engine: HFEngine, groups: Sequence[Sequence[Conversation]]) -> Encoded:
    """Encode groups of prepared conversations; those of a group are to have the same images.

    Raises ``CannotShareError`` where they have not, or where their prompts differ before the end of
    the images, and what the processor raises.
    """
    if not all(same_images(group[0], other) for group in groups for other in group[1:]):
        message = "questions that the data give the same image have several"
        raise CannotShareError(message)
    firsts = engine.encode_prepared([group[0] for group in groups])
    prompts = list(_prompts(engine, groups, firsts.tensors))
    layout = lay_out(
        [one.ids for one in prompts],
        [one.n_needed for one in prompts],
        firsts.tensors["attention_mask"],
    )
    counts = tuple(len(ids) for one in prompts for ids in one.ids)
    return type(firsts)(firsts.tensors, counts, layout)


def same_images(one: Conversation, other: Conversation) -> bool:
    """Whether two prepared conversations have the same images, pixel by pixel, in their order."""
    mine, others = list(_images(one)), list(_images(other))
    return len(mine) == len(others) and all(
        a is b or (a.size == b.size and a.mode == b.mode and a.tobytes() == b.tobytes())
        for a, b in zip(mine, others, strict=True)
    )


def _prompts(
    engine: HFEngine, groups: Sequence[Sequence[Conversation]], firsts: BatchFeature
) -> Iterator[Prompts]:
    """Yield the prompts of each group; ``firsts`` are the encoded first ones of all groups."""
    texts = [engine.template.render(one) for group in groups for one in group]
    bare = engine.tokenizer(
        texts,
        add_special_tokens=engine.template.adds_special_tokens,
        return_attention_mask=False,
    )["input_ids"]
    image_ids = frozenset(image_token_ids(engine.model.config))
    begin = 0
    for row, group in enumerate(groups):
        mask = firsts["attention_mask"][row].bool()
        first = firsts["input_ids"][row][mask].tolist()
        yield _with_image(first, bare[begin : begin + len(group)], image_ids)
        begin += len(group)


def _with_image(first: list[int], bare: list[list[int]], image_ids: Collection[int]) -> Prompts:
    """Put the image tokens of the ``first`` prompt into the prompts of a group."""
    is_image = [token in image_ids for token in first]
    if True not in is_image:
        message = "the first prompt has no image tokens"
        raise CannotShareError(message)
    n_after = is_image[::-1].index(True)
    n_tail = min(n_after, n_common([first[::-1], bare[0][::-1]]))
    n_head, n_bare = len(first) - n_tail, len(bare[0]) - n_tail
    if n_tail == 0 or any(ids[:n_bare] != bare[0][:n_bare] for ids in bare):
        message = "the prompts differ before the end of the image"
        raise CannotShareError(message)
    ids = [first[:n_head] + one[n_bare:] for one in bare]
    if any(len(one) == n_head for one in ids):
        message = "a prompt ends with its image"
        raise CannotShareError(message)
    return Prompts(ids, n_head)


def _images(conversation: Conversation) -> Iterator[Any]:
    for message in conversation:
        for part in message["content"] if isinstance(message["content"], list) else ():
            if part["type"] == "image":
                yield part["image"]
