"""Train the embedded demo model: a small Qwen3-VL-MoE that answers easy-VQA.

Run ``python -m moe_eval_plugin.models.demo.train --output DIR``. It needs the package ``easy-vqa``
(4,000 training images with 38,575 questions), two CPU cores and under an hour. The run is seeded,
and ``--resume`` continues from the last checkpoint in ``DIR/checkpoint.pt`` with the same random
state, so that an interrupted run equals an undisturbed one.

The shipped weights are those of the last step. Nothing was selected on the test split: progress is
measured on 100 training images that are held out.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from tqdm import tqdm
from transformers import GenerationConfig
from transformers.models.qwen3_vl_moe.modeling_qwen3_vl_moe import load_balancing_loss_func

from moe_eval_plugin.models.demo.dataset import Split, encode_split, mirrored, tokenizer_texts
from moe_eval_plugin.models.demo.recipe import Recipe, build_model, build_processor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import Qwen3VLMoeForConditionalGeneration, Qwen3VLProcessor


# PyTorch's label for a position that does not count.
NO_LABEL = -100


def answer_logits(
    model: Qwen3VLMoeForConditionalGeneration,
    split: Split,
    rows: Tensor,
    is_mirrored: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the logits at the labelled positions, their labels, and the load-balancing loss.

    ``rows`` are the questions, and ``is_mirrored`` (rows,) marks those with a mirrored image. The
    logits are (labels, vocabulary), the labels (labels,); the loss is that of all tokens but
    padding. Padding is at the end and attention is causal, so no mask is needed, and the positions
    are the same in every row.
    """
    pixels = split.pixel_values[split.image_index[rows]]
    if is_mirrored is not None:
        pixels = torch.where(is_mirrored[:, None, None], mirrored(pixels), pixels)
    side = math.isqrt(pixels.shape[1])
    grid = torch.tensor([[1, side, side]])
    input_ids = torch.cat([split.prefix_ids.expand(len(rows), -1), split.question_ids[rows]], dim=1)
    is_image = input_ids[:1].eq(model.config.image_token_id).int()
    positions, _ = model.model.get_rope_index(input_ids[:1], is_image, image_grid_thw=grid)
    out = model.model(
        input_ids=input_ids,
        position_ids=positions.expand(-1, len(rows), -1),
        pixel_values=pixels.flatten(0, 1),
        image_grid_thw=grid.expand(len(rows), -1),
        use_cache=False,
        output_router_logits=True,
    )
    text, labels = model.config.text_config, split.labels[rows]
    is_labelled = labels != NO_LABEL
    balance = load_balancing_loss_func(
        out.router_logits,
        text.num_experts,
        text.num_experts_per_tok,
        input_ids.ne(text.pad_token_id).long(),
    )
    hidden = out.last_hidden_state[:, len(split.prefix_ids) :]
    return model.lm_head(hidden[is_labelled]), labels[is_labelled], balance


@torch.no_grad()
def held_out_accuracy(
    model: Qwen3VLMoeForConditionalGeneration, split: Split, rows: Tensor
) -> float:
    """Return the share of correct answers, 0 to 1: each token of the answer is the most likely."""
    model.eval()
    n_right = 0
    for chunk in rows.split(128):
        logits, labels, _ = answer_logits(model, split, chunk)
        n_labels = (split.labels[chunk] != NO_LABEL).sum(-1).tolist()
        wrong = (logits.argmax(-1) != labels).split(n_labels)
        n_right += sum(not bool(tokens.any()) for tokens in wrong)
    model.train()
    return n_right / len(rows)


def learning_rate_share(recipe: Recipe, step: int) -> float:
    """Return the share of the peak learning rate: linear warm-up to 1, then half a cosine.

    It ends at ``final_learning_rate_share``.
    """
    warmup = min(1.0, (step + 1) / recipe.warmup_steps)
    cosine = 0.5 * (1 + math.cos(math.pi * step / recipe.steps))
    floor = recipe.final_learning_rate_share
    return warmup * (floor + (1 - floor) * cosine)


def build_optimizers(
    recipe: Recipe, model: Qwen3VLMoeForConditionalGeneration
) -> list[torch.optim.Optimizer]:
    """Return AdamW for vectors, experts, embedding and routers, and Muon for the matrices.

    Every group has its full learning rate as ``peak_lr``.
    """
    experts, matrices, others = [], [], []
    for name, parameter in model.named_parameters():
        is_table = "embed" in name or name.endswith("mlp.gate.weight")
        if ".experts." in name:
            experts.append(parameter)
        elif parameter.dim() == 2 and not is_table:  # noqa: PLR2004
            matrices.append(parameter)
        else:
            others.append(parameter)
    decay = recipe.weight_decay
    adamw_groups = [
        {"params": others, "peak_lr": recipe.learning_rate},
        {"params": experts, "peak_lr": recipe.expert_learning_rate},
    ]
    muon_groups = [{"params": matrices, "peak_lr": recipe.muon_learning_rate}]
    return [
        torch.optim.AdamW(adamw_groups, betas=(0.9, 0.98), weight_decay=decay),
        torch.optim.Muon(muon_groups, weight_decay=decay, adjust_lr_fn="match_rms_adamw"),
    ]


class Training:
    """One training run: model, optimisers, random state and curve, saved and loaded together."""

    def __init__(self, recipe: Recipe, processor: Qwen3VLProcessor, folder: Path) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe = recipe
        self.processor = processor
        self.checkpoint = folder / "checkpoint.pt"
        self.model = build_model(recipe, processor)
        self.optimizers = build_optimizers(recipe, self.model)
        self.random = torch.Generator().manual_seed(recipe.seed)
        self.step = 0
        self.seconds = 0.0
        self.curve: list[dict[str, float]] = []

    def save(self) -> None:
        """Write the checkpoint whole or not at all."""
        state = {
            "recipe": asdict(self.recipe),
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "random": self.random.get_state(),
            "step": self.step,
            "seconds": self.seconds,
            "curve": self.curve,
        }
        fresh = self.checkpoint.with_suffix(".tmp")
        torch.save(state, fresh)
        fresh.replace(self.checkpoint)

    def resume(self) -> None:
        """Load the checkpoint; ``ValueError`` if it was made by another recipe."""
        state = torch.load(self.checkpoint, weights_only=True)
        if state["recipe"] != asdict(self.recipe):
            message = f"{self.checkpoint} was made by another recipe: {state['recipe']}"
            raise ValueError(message)
        self.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.random.set_state(state["random"])
        self.step, self.seconds, self.curve = state["step"], state["seconds"], state["curve"]

    def run(self, split: Split, checkpoint_every: int = 500) -> None:
        """Train to the last step, with a point of the curve and a checkpoint now and then."""
        held_out = split.image_index < self.recipe.held_out_images
        train_rows, held_out_rows = (~held_out).nonzero()[:, 0], held_out.nonzero()[:, 0]
        open_rows = train_rows[split.is_open[train_rows]]
        bar = tqdm(total=self.recipe.steps, initial=self.step, desc="training", unit="step")
        losses: list[float] = []
        self.model.train()
        start = time.perf_counter() - self.seconds
        while self.step < self.recipe.steps:
            is_first_part = self.step < self.recipe.open_question_steps
            losses.append(self._one_step(split, open_rows if is_first_part else train_rows))
            self.step += 1
            bar.update()
            if self.step % checkpoint_every == 0 or self.step == self.recipe.steps:
                self.seconds = time.perf_counter() - start
                row = {
                    "step": self.step,
                    "loss": sum(losses) / len(losses),
                    "held_out_accuracy": held_out_accuracy(self.model, split, held_out_rows),
                }
                bar.write(json.dumps(row | {"seconds": round(self.seconds)}))
                self.curve.append(row)
                losses.clear()
                self.save()
        bar.close()

    def _one_step(self, split: Split, train_rows: Tensor) -> float:
        recipe = self.recipe
        chosen = torch.randint(len(train_rows), (recipe.batch_size,), generator=self.random)
        is_mirrored = torch.rand(recipe.batch_size, generator=self.random) < 0.5  # noqa: PLR2004
        share = learning_rate_share(recipe, self.step)
        for group in [group for each in self.optimizers for group in each.param_groups]:
            group["lr"] = share * group["peak_lr"]
        logits, labels, balance = answer_logits(self.model, split, train_rows[chosen], is_mirrored)
        loss = nn.functional.cross_entropy(logits, labels)
        self.model.zero_grad()
        (loss + recipe.load_balancing_weight * balance).backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
        return float(loss.detach())


def export(training: Training, folder: Path) -> None:
    """Write the model as bf16 safetensors in the hub's tensor layout, with its stock processor.

    transformers writes this family's expert weights transposed, compared with the published
    checkpoints. It reads both layouts; vLLM reads the published one only.
    """
    from safetensors.torch import load_file, save_file

    model = training.model.to(torch.bfloat16)
    config = model.config.text_config
    model.generation_config = GenerationConfig(
        eos_token_id=config.eos_token_id, pad_token_id=config.pad_token_id, do_sample=False
    )
    model.save_pretrained(folder)
    training.processor.save_pretrained(folder)
    weights_file = folder / "model.safetensors"
    weights = load_file(weights_file)
    for name, shape_in_hub_layout in {
        "gate_up_proj": (config.num_experts, config.hidden_size, 2 * config.moe_intermediate_size),
        "down_proj": (config.num_experts, config.moe_intermediate_size, config.hidden_size),
    }.items():
        for key in [key for key in weights if key.endswith(f"experts.{name}")]:
            if weights[key].shape != shape_in_hub_layout:
                weights[key] = weights[key].transpose(1, 2).contiguous()
    save_file(weights, weights_file, metadata={"format": "pt"})
    weights_file.chmod(0o644)
    record = {
        "recipe": asdict(training.recipe),
        "seconds": round(training.seconds),
        "curve": training.curve,
        "torch": torch.__version__,
    }
    (folder / "training.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, then export to ``--output``/model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="folder for the run")
    parser.add_argument("--steps", type=int, default=Recipe.steps, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=Recipe.seed, help="default: %(default)s")
    parser.add_argument("--resume", action="store_true", help="continue from the checkpoint")
    options = parser.parse_args(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    recipe = Recipe(seed=options.seed, steps=options.steps)
    processor = build_processor(recipe, tokenizer_texts(recipe.seed))
    training = Training(recipe, processor, options.output)
    if options.resume:
        training.resume()
    training.run(encode_split(recipe, processor))
    export(training, options.output / "model")


if __name__ == "__main__":
    main()
