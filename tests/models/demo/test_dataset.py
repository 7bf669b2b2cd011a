"""The training data of the demo model as tensors."""

from __future__ import annotations

import torch
from PIL import Image, ImageOps

from moe_eval_plugin.models.demo.dataset import mirrored, preprocess, tokenizer_texts
from moe_eval_plugin.models.demo.recipe import Recipe, build_processor


def test_a_mirrored_image_is_what_the_processor_makes_of_it() -> None:
    recipe = Recipe()
    processor = build_processor(recipe, tokenizer_texts(recipe.seed))
    noise = torch.randint(256, (64, 64, 3), generator=torch.Generator().manual_seed(0))
    image = Image.fromarray(noise.numpy().astype("uint8"))
    straight, other = (
        preprocess(processor, [picture]) for picture in (image, ImageOps.mirror(image))
    )
    assert torch.equal(mirrored(straight), other)
    assert not torch.equal(straight, other)
