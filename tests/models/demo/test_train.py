"""The training script in miniature: what it learns from, what it resumes, what it writes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForImageTextToText

from moe_eval_plugin.models.demo import train
from moe_eval_plugin.models.demo.dataset import Split, chat_prompt, tokenizer_texts
from moe_eval_plugin.models.demo.recipe import Recipe, build_processor

if TYPE_CHECKING:
    from pathlib import Path

SMALL = replace(
    Recipe(),
    steps=4,
    open_question_steps=2,
    batch_size=8,
    num_hidden_layers=2,
    num_experts=4,
    num_experts_per_tok=2,
    vision_depth=1,
    held_out_images=1,
)


@pytest.fixture(scope="module")
def split() -> Split:
    """Ten images with three questions each, random where their content does not matter."""
    generator = torch.Generator().manual_seed(0)
    width, n_images, n_questions = 12, 10, 3
    processor = build_processor(SMALL, tokenizer_texts(0))
    prefix = chat_prompt(processor, "?", 16).partition("<|vision_end|>")
    ids = torch.randint(20, 200, (n_images * n_questions, width), generator=generator)
    labels = torch.full_like(ids, -100)
    labels[:, 8:10] = ids[:, 9:11]
    ids[:, 11] = processor.tokenizer.pad_token_id
    return Split(
        prefix_ids=torch.tensor(processor.tokenizer("".join(prefix[:2]))["input_ids"]),
        question_ids=ids,
        labels=labels,
        is_open=torch.arange(n_images * n_questions) % 3 > 0,
        image_index=torch.arange(n_images).repeat_interleave(n_questions),
        pixel_values=torch.randn(n_images, 64, 384, generator=generator),
    )


@pytest.fixture
def run(tmp_path: Path) -> train.Training:
    processor = build_processor(SMALL, tokenizer_texts(0))
    return train.Training(SMALL, processor, tmp_path)


def weights(training: train.Training) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in training.model.state_dict().items()}


@torch.no_grad()
def test_it_trains_on_what_the_model_computes_for_one_question(
    run: train.Training, split: Split
) -> None:
    rows = torch.tensor([4, 17])
    together, labels, _ = train.answer_logits(run.model, split, rows)
    alone = []
    for row in rows:
        ids = torch.cat([split.prefix_ids, split.question_ids[row]])[None]
        logits = run.model(
            input_ids=ids,
            attention_mask=ids.ne(run.processor.tokenizer.pad_token_id).long(),
            mm_token_type_ids=ids.eq(run.model.config.image_token_id).int(),
            pixel_values=split.pixel_values[split.image_index[row]],
            image_grid_thw=torch.tensor([[1, 8, 8]]),
        ).logits[0, len(split.prefix_ids) :]
        alone.append(logits[split.labels[row] != -100])
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=1e-4)
    assert labels.tolist() == split.question_ids[rows, 9:11].flatten().tolist()


def test_a_resumed_run_equals_an_undisturbed_one(
    run: train.Training, split: Split, tmp_path: Path
) -> None:
    run.run(split, checkpoint_every=2)
    undisturbed = weights(run)
    interrupted = train.Training(replace(SMALL), run.processor, tmp_path / "second")
    interrupted.checkpoint.parent.mkdir()
    with pytest.raises(KeyboardInterrupt):
        _stop_after(interrupted, split, steps=3)
    resumed = train.Training(SMALL, run.processor, tmp_path / "second")
    resumed.resume()
    assert resumed.step == 2
    resumed.run(split, checkpoint_every=2)
    assert all(torch.equal(value, undisturbed[name]) for name, value in weights(resumed).items())


def _stop_after(training: train.Training, split: Split, steps: int) -> None:
    one_step = training._one_step

    def stopping(data: Split, rows: torch.Tensor) -> float:
        if training.step == steps:
            raise KeyboardInterrupt
        return one_step(data, rows)

    training._one_step = stopping  # type: ignore[method-assign]
    training.run(split, checkpoint_every=2)


def test_a_checkpoint_of_another_recipe_is_refused(
    run: train.Training, split: Split, tmp_path: Path
) -> None:
    run.run(split, checkpoint_every=4)
    other = train.Training(replace(SMALL, seed=1), run.processor, tmp_path)
    with pytest.raises(ValueError, match="another recipe"):
        other.resume()


def test_the_export_has_the_hubs_layout_and_loads_unchanged(
    run: train.Training, tmp_path: Path
) -> None:
    before = {name: value.to(torch.bfloat16) for name, value in weights(run).items()}
    train.export(run, tmp_path / "model")
    with safe_open(tmp_path / "model" / "model.safetensors", framework="pt") as file:
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    prefix = "model.language_model.layers.0.mlp.experts"
    assert shapes[f"{prefix}.gate_up_proj"] == (4, 96, 2 * SMALL.moe_intermediate_size)
    assert shapes[f"{prefix}.down_proj"] == (4, SMALL.moe_intermediate_size, 96)
    loaded = AutoModelForImageTextToText.from_pretrained(tmp_path / "model").state_dict()
    assert loaded.keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in loaded.items())


def test_the_learning_rate_warms_up_and_falls() -> None:
    recipe = Recipe()
    shares = [train.learning_rate_share(recipe, step) for step in range(recipe.steps)]
    assert shares[0] == pytest.approx(1 / recipe.warmup_steps, rel=0.01)
    assert max(shares) <= 1
    assert shares[recipe.warmup_steps :] == sorted(shares[recipe.warmup_steps :], reverse=True)


def test_each_weight_has_one_optimizer(run: train.Training) -> None:
    groups = [group for each in run.optimizers for group in each.param_groups]
    trained = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(trained) == sorted(id(parameter) for parameter in run.model.parameters())
    assert {group["peak_lr"] for group in groups} == {1.5e-3, 5e-4, 2e-3}
