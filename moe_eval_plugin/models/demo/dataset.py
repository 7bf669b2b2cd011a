"""Training data of the demo model: easy-VQA as tensors, and the texts of its tokenizer."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from PIL import Image
from torch import Tensor

from moe_eval_plugin.models.demo.recipe import POST_PROMPT, Recipe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import Qwen3VLProcessor


@dataclass(frozen=True)
class Split:
    """One split of easy-VQA as tensors; the questions are sorted by image."""

    prefix_ids: Tensor
    """Token ids that begin every sequence, with those of the image, (prefix,)."""
    question_ids: Tensor
    """Question, answer and end of text, padded on the right, (questions, width)."""
    labels: Tensor
    """Id to predict at each position of ``question_ids``, -100 for none, (questions, width)."""
    is_open: Tensor
    """False for questions that are answered by yes or no, (questions,)."""
    image_index: Tensor
    """Row of each question's image in ``pixel_values``, (questions,)."""
    pixel_values: Tensor
    """Preprocessed images, (images, patches, values of a patch)."""


def encode_split(recipe: Recipe, processor: Qwen3VLProcessor) -> Split:
    """Return easy-VQA's training split as tensors, through chat template and processor."""
    from easy_vqa import get_train_image_paths, get_train_questions

    paths = get_train_image_paths()
    triples = sorted(zip(*get_train_questions(), strict=True), key=lambda triple: triple[2])
    images = [Image.open(paths[image_id]).convert("RGB") for image_id in sorted(paths)]
    row_of_image = {image_id: row for row, image_id in enumerate(sorted(paths))}
    n_image_tokens = (recipe.image_side // recipe.patch_size // 2) ** 2
    prompts = [chat_prompt(processor, question, n_image_tokens) for question, _, _ in triples]
    prefix, end_of_prefix = prompts[0].partition("<|vision_end|>")[:2]
    prefix += end_of_prefix
    tokenizer = processor.tokenizer
    questions = [tokenizer(prompt.removeprefix(prefix))["input_ids"] for prompt in prompts]
    answers = [tokenizer(answer + "<|im_end|>")["input_ids"] for _, answer, _ in triples]
    question_ids, labels = _pad(questions, answers, tokenizer.pad_token_id)
    return Split(
        prefix_ids=torch.tensor(tokenizer(prefix)["input_ids"]),
        question_ids=question_ids,
        labels=labels,
        is_open=torch.tensor([answer not in {"yes", "no"} for _, answer, _ in triples]),
        image_index=torch.tensor([row_of_image[image_id] for _, _, image_id in triples]),
        pixel_values=preprocess(processor, images),
    )


def chat_prompt(processor: Qwen3VLProcessor, question: str, n_image_tokens: int) -> str:
    """Return the prompt of one question about one image, up to the answer."""
    content = [{"type": "image"}, {"type": "text", "text": question + POST_PROMPT}]
    prompt = processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
    )
    return str(prompt).replace("<|image_pad|>", "<|image_pad|>" * n_image_tokens)


def _pad(
    questions: list[list[int]], answers: list[list[int]], pad_id: int
) -> tuple[Tensor, Tensor]:
    """Return questions with answers as rows of one width, and the labels to predict."""
    width = max(len(q) + len(a) for q, a in zip(questions, answers, strict=True))
    ids = torch.full((len(questions), width), pad_id)
    labels = torch.full((len(questions), width), -100)
    for row, (question, answer) in enumerate(zip(questions, answers, strict=True)):
        ids[row, : len(question) + len(answer)] = torch.tensor(question + answer)
        labels[row, len(question) - 1 : len(question) + len(answer) - 1] = torch.tensor(answer)
    return ids, labels


def preprocess(processor: Qwen3VLProcessor, images: Sequence[Image.Image]) -> Tensor:
    """Return images of one size preprocessed, (images, patches, values of a patch)."""
    flat = processor.image_processor(images=list(images), return_tensors="pt")["pixel_values"]
    pixels: Tensor = flat.reshape(len(images), -1, flat.shape[-1])
    return pixels


def mirrored(pixels: Tensor) -> Tensor:
    """Return preprocessed images mirrored left to right, of the same shape.

    ``pixels`` is (images, patches, values of a patch). Patches come in blocks of 2 x 2, row by
    row, and the values of a patch are those of 3 colours, 2 equal frames, rows and columns.
    """
    blocks = math.isqrt(pixels.shape[1]) // 2
    side = math.isqrt(pixels.shape[2] // 6)
    grid = pixels.reshape(-1, blocks, blocks, 2, 2, 3, 2, side, side)
    return grid.flip(2, 4, 8).reshape(pixels.shape)


def tokenizer_texts(seed: int) -> list[str]:
    """List the texts that the tokenizer is trained on: questions, answers, parts of the prompt."""
    from easy_vqa import get_train_questions

    questions, answers, _ = get_train_questions()
    sample = random.Random(seed).sample(range(len(questions)), 5000)
    fixed = ["user\nassistant\nsystem", POST_PROMPT]
    return [questions[i] for i in sample] + [answers[i] for i in sample] + fixed * 50
