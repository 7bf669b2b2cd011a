"""Prompts of a bench: of exactly the tokens asked for, and with images that the model takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from PIL import Image
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

from moe_eval_plugin.bench.engines.transformers import TransformersEngine
from moe_eval_plugin.bench.plan import ImagePlan, Workload
from moe_eval_plugin.bench.workload.inputs import BenchInputs
from moe_eval_plugin.errors import DataError, InvalidArgumentError, UserError
from moe_eval_plugin.models.architecture import image_tower
from moe_eval_plugin.models.demo import MODEL_PATH
from moe_eval_plugin.testing import tiny_config, tiny_moe

if TYPE_CHECKING:
    from pathlib import Path

WORK = Workload(batch_size=2, prompt_tokens=9, new_tokens=3)
IMAGE_TOKEN = 5


@pytest.fixture(scope="module")
def demo() -> Any:
    return AutoModelForImageTextToText.from_pretrained(MODEL_PATH, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def processor() -> Any:
    return AutoProcessor.from_pretrained(MODEL_PATH)


def inputs(config: Any, **changes: Any) -> BenchInputs:
    return BenchInputs(config, "cpu", torch.float32, **changes)


def test_prompts_have_the_tokens_that_were_asked_for_and_no_special_ones() -> None:
    config = tiny_config(eos_token_id=[1, 7], pad_token_id=0)
    made = inputs(config).make(Workload(64, 50, 3))
    assert made["input_ids"].shape == (64, 50)
    assert set(made["input_ids"].unique().tolist()) == set(range(64)) - {0, 1, 7}
    assert made["attention_mask"].all()


def test_equal_workloads_get_equal_prompts_and_another_seed_others() -> None:
    config = tiny_config()
    first, again = (inputs(config).make(WORK)["input_ids"] for _ in range(2))
    other = inputs(config, seed=1).make(WORK)["input_ids"]
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first[0], first[1])


def test_a_prompt_that_is_too_long_is_refused() -> None:
    config = tiny_config(max_position_embeddings=11)
    with pytest.raises(InvalidArgumentError, match="are 12, and qwen3_moe takes 11"):
        inputs(config).make(WORK)


def test_random_images_go_through_the_processor(demo: Any, processor: Any) -> None:
    images = ImagePlan(n_images=2, size=(32, 48))
    source = inputs(demo.config, images=images, processor=processor)
    made = source.make(WORK)
    one = processor.image_processor([Image.new("RGB", (32, 48))], return_tensors="pt")
    assert made["image_grid_thw"].tolist() == one["image_grid_thw"].tolist() * 4
    n_image = int(made["image_grid_thw"][0].prod()) // 4
    assert (made["input_ids"] == IMAGE_TOKEN).sum(-1).tolist() == [2 * n_image] * 2
    assert made["input_ids"].shape == made["attention_mask"].shape
    repetition = TransformersEngine(demo, source).run(WORK)
    assert repetition.phases is not None
    assert (repetition.phases.vision_s or 0) > 0
    assert repetition.n_input_tokens == made["input_ids"].numel()


def test_given_images_are_shown(demo: Any, processor: Any, tmp_path: Path) -> None:
    Image.new("RGB", (40, 40), "red").save(tmp_path / "red.png")
    images = ImagePlan(files=(str(tmp_path / "red.png"),))
    made = inputs(demo.config, images=images, processor=processor).make(WORK)
    assert len(made["image_grid_thw"]) == 2
    half = len(made["pixel_values"]) // 2
    assert torch.equal(made["pixel_values"][:half], made["pixel_values"][half:])


def test_an_image_that_cannot_be_read_is_named(demo: Any, processor: Any, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("no image")
    images = ImagePlan(files=(str(tmp_path / "a.png"),))
    with pytest.raises(DataError, match=r"a\.png cannot be read"):
        inputs(demo.config, images=images, processor=processor).make(WORK)


@pytest.mark.parametrize(("n_images", "size"), [(1, (32, 32)), (3, (64, 30))])
def test_patches_are_drawn_from_the_configuration_alone(
    demo: Any, n_images: int, size: tuple[int, int]
) -> None:
    source = inputs(demo.config, images=ImagePlan(n_images, size))
    made = source.make(WORK)
    # The demo model merges 2 x 2 patches of 8 pixels into a token: 16 x 16 pixels.
    width, height = (round(side / 16) * 2 for side in size)
    assert made["image_grid_thw"].tolist() == [[1, height, width]] * (2 * n_images)
    assert made["pixel_values"].shape == (2 * n_images * width * height, 3 * 2 * 8 * 8)
    assert (made["mm_token_type_ids"] == 1).equal(made["input_ids"] == IMAGE_TOKEN)
    TransformersEngine(demo, source).run(WORK)


def test_a_configuration_without_image_sizes_is_refused() -> None:
    with pytest.raises(UserError, match="does not state how images are encoded"):
        inputs(tiny_config(), images=ImagePlan(1)).make(WORK)


def test_files_make_no_difference_to_random_weights(demo: Any) -> None:
    with pytest.raises(UserError, match="the content of an image makes no difference"):
        inputs(demo.config, images=ImagePlan(files=("a.png",))).make(WORK)


def test_the_image_tower_is_found_where_there_is_one(demo: Any) -> None:
    assert image_tower(demo) is demo.model.visual
    assert image_tower(tiny_moe()) is None


def test_without_images_no_tower_is_timed(demo: Any) -> None:
    assert AutoConfig.from_pretrained(MODEL_PATH).model_type == demo.config.model_type
    phases = TransformersEngine(demo, inputs(demo.config)).run(WORK).phases
    assert phases is not None
    assert phases.vision_s is None
