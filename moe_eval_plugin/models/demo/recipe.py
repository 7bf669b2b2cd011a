"""Recipe of the demo model: its sizes, its processor and the untrained model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2VLImageProcessor,
    Qwen3VLMoeConfig,
    Qwen3VLMoeForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
)

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
    """Everything that the result depends on, besides the data and the versions of the libraries.

    The sizes are such that vLLM's CPU build supports them too: a hidden size that is a multiple of
    32, heads of 32, and expert widths for which a transposed weight cannot pass for a right one.
    The image tower is narrow and the experts are many, so that much of the seeing is done in the
    MoE layers. Experts begin with large weights and change slowly, so they stay different from each
    other: the output of a token depends on all experts that it chose, and a smaller k matters.
    """

    seed: int = 0
    """Seed of weights, batches and mirroring."""
    steps: int = 2600
    """Optimiser steps."""
    open_question_steps: int = 600
    """First steps, with questions for shape or colour only, which train the image tower fastest."""
    batch_size: int = 32
    """Questions per step; the image of each is mirrored half of the time."""
    learning_rate: float = 1.5e-3
    """Peak learning rate of AdamW, for vectors, embedding and routers."""
    muon_learning_rate: float = 2e-3
    """Peak learning rate of Muon, for matrices."""
    expert_learning_rate: float = 5e-4
    """Peak learning rate of AdamW for the experts."""
    warmup_steps: int = 200
    """Steps of the linear warm-up."""
    final_learning_rate_share: float = 0.02
    """Learning rate at the end, as a share of its peak."""
    weight_decay: float = 0.1
    """Weight decay of both optimisers."""
    load_balancing_weight: float = 0.05
    """Weight of the load-balancing loss."""
    held_out_images: int = 100
    """Training images that are only used to follow the progress."""
    weight_std: float = 0.04
    """Standard deviation of the initial weights."""
    expert_std: float = 0.3
    """Standard deviation of the initial weights of experts."""
    vocab_size: int = 512
    """Tokens of the vocabulary."""
    hidden_size: int = 96
    """Width of the language model."""
    head_dim: int = 32
    """Width of an attention head, in the language model and in the image tower."""
    num_attention_heads: int = 4
    """Query heads."""
    num_key_value_heads: int = 2
    """Key and value heads."""
    num_hidden_layers: int = 4
    """Decoder layers, each with routed experts."""
    num_experts: int = 32
    """Routed experts per layer."""
    num_experts_per_tok: int = 8
    """Active routed experts per token: the baseline k."""
    moe_intermediate_size: int = 40
    """Width of an expert."""
    vision_hidden_size: int = 64
    """Width of the image tower."""
    vision_depth: int = 2
    """Layers of the image tower."""
    patch_size: int = 8
    """Side of a patch, in pixels."""
    image_side: int = 64
    """Side of an image, in pixels."""


def build_processor(recipe: Recipe, texts: Sequence[str]) -> Qwen3VLProcessor:
    """Build the processor: a byte-level BPE trained on ``texts``, and the stock image processor."""
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
    """Build the untrained model, with normal weights of the recipe's standard deviations."""
    token_id = processor.tokenizer.convert_tokens_to_ids
    config = Qwen3VLMoeConfig(
        text_config={
            **_text_config(recipe),
            "eos_token_id": token_id("<|im_end|>"),
            "pad_token_id": token_id("<|endoftext|>"),
        },
        vision_config=_vision_config(recipe),
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


def _text_config(recipe: Recipe) -> dict[str, Any]:
    return {
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
    }


def _vision_config(recipe: Recipe) -> dict[str, Any]:
    return {
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
    }
