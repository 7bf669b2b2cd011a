"""Trains the embedded demo model: a small Qwen3-VL-MoE that answers easy-VQA.

Run ``python -m moe_eval_plugin.models.demo.train --output DIR``. It needs ``easy-vqa`` from the
package
registry (4,000 training images with 38,575 questions), two CPU cores and under an hour. The run is
seeded, and ``--resume`` continues from the last checkpoint in ``DIR/checkpoint.pt`` with the same
random state, so that an interrupted run equals an undisturbed one.

The shipped weights are those of the last step. Nothing was selected on the test split: progress is
watched on 100 training images that are held out.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn
from tqdm import tqdm
from transformers import (
    GenerationConfig,
    PreTrainedTokenizerFast,
    Qwen2VLImageProcessor,
    Qwen3VLMoeConfig,
    Qwen3VLMoeForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
)
from transformers.models.qwen3_vl_moe.modeling_qwen3_vl_moe import load_balancing_loss_func

if TYPE_CHECKING:
    from collections.abc import Sequence

SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
POST_PROMPT = "\nAnswer the question using a single word or phrase."
CHAT_TEMPLATE = """\
{%- for message in messages -%}
<|im_start|>{{ message.role }}
{% if message.content is string -%}
{{ message.content }}
{%- else -%}
{%- for part in message.content -%}
{%- if part.type == 'image' -%}<|vision_start|><|image_pad|><|vision_end|>
{%- elif part.type == 'video' -%}<|vision_start|><|video_pad|><|vision_end|>
{%- else -%}{{ part.text }}
{%- endif -%}
{%- endfor -%}
{%- endif -%}<|im_end|>
{% endfor -%}
{%- if add_generation_prompt -%}<|im_start|>assistant
{% endif -%}
"""


@dataclass(frozen=True)
class Recipe:
    """All that the result depends on, besides the data and the versions of the libraries.

    The sizes are such that vLLM's CPU build takes them too: a hidden size that is a multiple of 32,
    heads of 32, and expert widths for which a transposed weight cannot be mistaken for a right one.
    The first ``open_question_steps`` ask only for the shape or the colour, which teaches the image
    tower quickest. Matrices are trained by Muon and all else by AdamW, each at its learning rate,
    and every image is mirrored half of the time. The image tower is narrow and the experts are
    many, so that much of the seeing is done in the MoE layers. Experts begin with large weights and
    change slowly, so they stay different from each other: what a token gets depends on all that it
    chose, and a smaller k is felt.
    """

    seed: int = 0
    steps: int = 2600
    open_question_steps: int = 600
    batch_size: int = 32
    learning_rate: float = 1.5e-3
    muon_learning_rate: float = 2e-3
    expert_learning_rate: float = 5e-4
    warmup_steps: int = 200
    final_learning_rate_share: float = 0.02
    weight_decay: float = 0.1
    load_balancing_weight: float = 0.05
    held_out_images: int = 100
    weight_std: float = 0.04
    expert_std: float = 0.3
    vocab_size: int = 512
    hidden_size: int = 96
    head_dim: int = 32
    num_attention_heads: int = 4
    num_key_value_heads: int = 2
    num_hidden_layers: int = 4
    num_experts: int = 32
    num_experts_per_tok: int = 8
    moe_intermediate_size: int = 40
    vision_hidden_size: int = 64
    vision_depth: int = 2
    patch_size: int = 8
    image_side: int = 64


@dataclass(frozen=True)
class Split:
    """One split of easy-VQA as tensors; the questions are sorted by image.

    Every sequence is the same ``prefix_ids`` (prefix,), which holds the image, and then one row of
    ``question_ids`` (questions, width): question, answer and end mark, padded on the right.
    ``labels`` (questions, width) are the ids to predict at each place, -100 where nothing is asked.
    ``is_open`` (questions,) is false for questions that are answered by yes or no. ``image_index``
    (questions,) tells the image of each question, a row of ``pixel_values`` (images, patches,
    values of a patch).
    """

    prefix_ids: Tensor
    question_ids: Tensor
    labels: Tensor
    is_open: Tensor
    image_index: Tensor
    pixel_values: Tensor


def build_processor(recipe: Recipe, texts: Sequence[str]) -> Qwen3VLProcessor:
    """Learn a byte-level BPE from the training texts and join it to the stock image processor."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    bpe.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=recipe.vocab_size,
            special_tokens=list(SPECIAL_TOKENS),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        padding_side="left",
        chat_template=CHAT_TEMPLATE,
        model_max_length=512,
    )
    pixels = recipe.image_side**2
    common = {
        "patch_size": recipe.patch_size,
        "merge_size": 2,
        "temporal_patch_size": 2,
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
        "size": {"shortest_edge": pixels, "longest_edge": pixels},
    }
    return Qwen3VLProcessor(
        image_processor=Qwen2VLImageProcessor(**common),
        tokenizer=tokenizer,
        video_processor=Qwen3VLVideoProcessor(**common),
        chat_template=CHAT_TEMPLATE,
    )


def build_model(recipe: Recipe, processor: Qwen3VLProcessor) -> Qwen3VLMoeForConditionalGeneration:
    """Make the untrained model, with normal weights of the recipe's standard deviations."""
    token_id = processor.tokenizer.convert_tokens_to_ids
    config = Qwen3VLMoeConfig(
        text_config={
            "vocab_size": recipe.vocab_size,
            "hidden_size": recipe.hidden_size,
            "intermediate_size": 4 * recipe.hidden_size,
            "num_hidden_layers": recipe.num_hidden_layers,
            "num_attention_heads": recipe.num_attention_heads,
            "num_key_value_heads": recipe.num_key_value_heads,
            "head_dim": recipe.head_dim,
            "num_experts": recipe.num_experts,
            "num_experts_per_tok": recipe.num_experts_per_tok,
            "moe_intermediate_size": recipe.moe_intermediate_size,
            "norm_topk_prob": True,
            "decoder_sparse_step": 1,
            "mlp_only_layers": [],
            "max_position_embeddings": 512,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "mrope_section": [6, 5, 5],
                "mrope_interleaved": True,
            },
            "tie_word_embeddings": True,
            "bos_token_id": None,
            "eos_token_id": token_id("<|im_end|>"),
            "pad_token_id": token_id("<|endoftext|>"),
        },
        vision_config={
            "depth": recipe.vision_depth,
            "hidden_size": recipe.vision_hidden_size,
            "intermediate_size": 2 * recipe.vision_hidden_size,
            "num_heads": recipe.vision_hidden_size // recipe.head_dim,
            "in_channels": 3,
            "patch_size": recipe.patch_size,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "out_hidden_size": recipe.hidden_size,
            "num_position_embeddings": (recipe.image_side // recipe.patch_size) ** 2,
            "deepstack_visual_indexes": [0],
        },
        image_token_id=token_id("<|image_pad|>"),
        video_token_id=token_id("<|video_pad|>"),
        vision_start_token_id=token_id("<|vision_start|>"),
        vision_end_token_id=token_id("<|vision_end|>"),
        tie_word_embeddings=True,
    )
    model = Qwen3VLMoeForConditionalGeneration(config)
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1:
            is_expert = ".experts." in name
            nn.init.normal_(parameter, std=recipe.expert_std if is_expert else recipe.weight_std)
    return model


def encode_split(recipe: Recipe, processor: Qwen3VLProcessor) -> Split:
    """Turn easy-VQA's training split into tensors, through the chat template and the processor."""
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
        pixel_values=_pixels(processor, images),
    )


def chat_prompt(processor: Qwen3VLProcessor, question: str, n_image_tokens: int) -> str:
    """Build the text that the model sees for one question about one image, up to the answer."""
    content = [{"type": "image"}, {"type": "text", "text": question + POST_PROMPT}]
    prompt = processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
    )
    return str(prompt).replace("<|image_pad|>", "<|image_pad|>" * n_image_tokens)


def _pad(
    questions: list[list[int]], answers: list[list[int]], pad_id: int
) -> tuple[Tensor, Tensor]:
    """Join questions and answers to rows of one width, and make the labels to predict."""
    width = max(len(q) + len(a) for q, a in zip(questions, answers, strict=True))
    ids = torch.full((len(questions), width), pad_id)
    labels = torch.full((len(questions), width), -100)
    for row, (question, answer) in enumerate(zip(questions, answers, strict=True)):
        ids[row, : len(question) + len(answer)] = torch.tensor(question + answer)
        labels[row, len(question) - 1 : len(question) + len(answer) - 1] = torch.tensor(answer)
    return ids, labels


def _pixels(processor: Qwen3VLProcessor, images: Sequence[Image.Image]) -> Tensor:
    """Preprocess images of one size; the shape is (images, patches, values of a patch)."""
    flat = processor.image_processor(images=list(images), return_tensors="pt")["pixel_values"]
    pixels: Tensor = flat.reshape(len(images), -1, flat.shape[-1])
    return pixels


def mirrored(pixels: Tensor) -> Tensor:
    """Mirror images left to right; the shape (images, patches, values of a patch) stays.

    Patches come in blocks of 2 x 2, row by row, and the values of a patch are those of 3 colours,
    2 equal frames, rows and columns.
    """
    blocks = math.isqrt(pixels.shape[1]) // 2
    side = math.isqrt(pixels.shape[2] // 6)
    grid = pixels.reshape(-1, blocks, blocks, 2, 2, 3, 2, side, side)
    return grid.flip(2, 4, 8).reshape(pixels.shape)


def answer_logits(
    model: Qwen3VLMoeForConditionalGeneration,
    split: Split,
    rows: Tensor,
    is_mirrored: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Run the questions of some rows, with those images mirrored that ``is_mirrored`` marks.

    Padding stands at the end and attention is causal, so no mask is needed, and the positions are
    the same in every row. Returns the logits at the asked places (asked, vocabulary), their labels
    (asked,), and the load-balancing loss over the tokens that are not padding.
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
    asked = labels != -100  # noqa: PLR2004  (PyTorch's mark for "no label")
    balance = load_balancing_loss_func(
        out.router_logits,
        text.num_experts,
        text.num_experts_per_tok,
        input_ids.ne(text.pad_token_id).long(),
    )
    hidden = out.last_hidden_state[:, len(split.prefix_ids) :]
    return model.lm_head(hidden[asked]), labels[asked], balance


@torch.no_grad()
def held_out_accuracy(
    model: Qwen3VLMoeForConditionalGeneration, split: Split, rows: Tensor
) -> float:
    """Share of questions answered right, each token of the answer the most likely one, in 0..1."""
    model.eval()
    n_right = 0
    for chunk in rows.split(128):
        logits, labels, _ = answer_logits(model, split, chunk)
        n_asked = (split.labels[chunk] != -100).sum(-1).tolist()  # noqa: PLR2004
        wrong = (logits.argmax(-1) != labels).split(n_asked)
        n_right += sum(not bool(tokens.any()) for tokens in wrong)
    model.train()
    return n_right / len(rows)


def learning_rate_share(recipe: Recipe, step: int) -> float:
    """Linear warm-up to 1, then half a cosine down to ``final_learning_rate_share``."""
    warmup = min(1.0, (step + 1) / recipe.warmup_steps)
    cosine = 0.5 * (1 + math.cos(math.pi * step / recipe.steps))
    floor = recipe.final_learning_rate_share
    return warmup * (floor + (1 - floor) * cosine)


def build_optimizers(
    recipe: Recipe, model: Qwen3VLMoeForConditionalGeneration
) -> list[torch.optim.Optimizer]:
    """Give the matrices to Muon; vectors, experts, embedding and routers to AdamW.

    Every group keeps its full learning rate as ``peak_lr``.
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
    """One training run: its model, optimiser, random state and curve, saved and loaded as one."""

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
        """Write the checkpoint beside the old one and swap them, so that none is ever half."""
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
        """Continue from the checkpoint; ``ValueError`` if it was made by another recipe."""
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
        """Train to the last step; a line of the curve and a checkpoint every so many steps."""
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

    transformers writes this family's expert weights the other way round than the published
    checkpoints have them. It reads both; vLLM reads the published layout only.
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


def tokenizer_texts(seed: int) -> list[str]:
    """Texts the tokenizer learns from: questions, answers and the fixed parts of the prompt."""
    from easy_vqa import get_train_questions

    questions, answers, _ = get_train_questions()
    sample = random.Random(seed).sample(range(len(questions)), 5000)
    fixed = ["user\nassistant\nsystem", POST_PROMPT]
    return [questions[i] for i in sample] + [answers[i] for i in sample] + fixed * 50


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
