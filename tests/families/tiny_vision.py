"""Tiny vision-language models around the text models of ``tiny_configs``, with a picture.

The picture is drawn once, as an array, and cut up as each model's image processor would cut it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from .tiny_configs import Case, Settings

if TYPE_CHECKING:
    from collections.abc import Callable

IMAGE, VIDEO, START, END, VIDEO_START, VIDEO_END, AUDIO = range(89, 96)
GRID = 8

TOKENS: Settings = {"image_token_id": IMAGE, "video_token_id": VIDEO}
START_END: Settings = {"vision_start_token_id": START, "vision_end_token_id": END}
GLM_TOKENS: Settings = {
    **TOKENS,
    "image_start_token_id": START,
    "image_end_token_id": END,
    "video_start_token_id": VIDEO_START,
    "video_end_token_id": VIDEO_END,
}
GEMMA_TOKENS: Settings = {"image_token_id": IMAGE, "boi_token_id": START, "eoi_token_id": END}

LAYERS: Settings = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
}
QWEN_VISION: Settings = {
    "depth": 1,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_heads": 2,
    "patch_size": 4,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
    "out_hidden_size": 32,
    "num_position_embeddings": 64,
}
DEEPSTACK_VISION: Settings = {**QWEN_VISION, "deepstack_visual_indexes": [0]}
GLM_VISION: Settings = {**QWEN_VISION, "image_size": 32, "projection_intermediate_size": 32}
INKLING2_VISION: Settings = {
    **LAYERS,
    "patch_size": 4,
    "posemb_grid_size": GRID,
    "projection_hidden_dim": 32,
    "text_hidden_size": 32,
}
SQUARE_VISION: Settings = {**LAYERS, "image_size": 32, "patch_size": 8}
GEMMA_VISION: Settings = {
    **LAYERS,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "pooling_kernel_size": 2,
    "patch_size": 4,
    "position_embedding_size": 64,
}
SAM: Settings = {
    "hidden_size": 32,
    "output_channels": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 64,
    "patch_size": 16,
    "global_attn_indexes": [0],
    "mlp_dim": 32,
    "downsample_channels": [16, 32],
}
QWEN_AUDIO: Settings = {
    "num_mel_bins": 16,
    "encoder_layers": 1,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "d_model": 32,
    "output_dim": 32,
    "n_window": 4,
    "downsample_hidden_size": 8,
    "n_window_infer": 8,
    "conv_chunksize": 10,
}


def picture(size: int) -> torch.Tensor:
    """Draw a disc on a shaded ground; (1, 3, size, size), values from -1 to 1."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    disc = np.hypot(x, y) < 0.5
    image = np.stack([x, np.where(disc, 1.0, y), np.where(disc, -1.0, x * y)])
    return torch.tensor(image[None], dtype=torch.float32)


def patches(patch: int) -> torch.Tensor:
    """Cut the picture into GRID x GRID patches; (patches, 3, patch, patch)."""
    whole = picture(GRID * patch)[0].reshape(3, GRID, patch, GRID, patch)
    return whole.permute(1, 3, 0, 2, 4).reshape(GRID * GRID, 3, patch, patch)


def grid_image(
    key: str = "image_grid_thw", temporal: int = 2, *, flat: bool = True
) -> Callable[[], dict[str, Any]]:
    """Return patches of 4 x 4 pixels in a flat row, with the number of rows and columns."""

    def make() -> dict[str, Any]:
        values = patches(4)
        if flat:
            values = values[:, :, None].expand(-1, -1, temporal, -1, -1).flatten(1)
        return {"pixel_values": values, key: torch.tensor([[1, GRID, GRID]])}

    return make


def square_image(size: int = 32, **others: Any) -> Callable[[], dict[str, Any]]:
    """Return one whole picture of some pixels."""
    return lambda: {"pixel_values": picture(size), **others}


def positions() -> torch.Tensor:
    """Return column and row of each patch of the grid, (1, patches, 2)."""
    y, x = np.mgrid[:GRID, :GRID]
    return torch.tensor(np.stack([x.ravel(), y.ravel()], -1)[None])


def gemma_image() -> dict[str, Any]:
    """Return flat patches in (0, 1) and their positions, as Gemma needs them."""
    return {
        "pixel_values": (patches(4).flatten(1)[None] + 1) / 2,
        "image_position_ids": positions(),
    }


def siglip2_image() -> dict[str, Any]:
    """Return 4 x 4 flat patches of 8 x 8 pixels with their mask."""
    whole = picture(32)[0].reshape(3, 4, 8, 4, 8).permute(1, 3, 2, 4, 0).reshape(1, 16, 192)
    return {
        "pixel_values": whole,
        "spatial_shapes": torch.tensor([[4, 4]]),
        "pixel_attention_mask": torch.ones(1, 16, dtype=torch.long),
    }


def radio_image() -> dict[str, Any]:
    """Return flat patches with the grid's height and width."""
    return {"pixel_values": patches(4).flatten(1), "image_grid_hw": torch.tensor([[GRID, GRID]])}


def inkling2_image() -> dict[str, Any]:
    """Return tiles of 2 x 2 patches, channels last, one for each token."""
    tiles = picture(32)[0].reshape(3, 4, 8, 4, 8).permute(1, 3, 2, 4, 0).reshape(16, 8, 8, 3)
    return {"pixel_values": tiles, "image_grid_thw": torch.tensor([[1, 4, 4]])}


def inkling_image() -> dict[str, Any]:
    """Return patches with a time axis, channels last, one for each token."""
    values = patches(4)[:4].permute(0, 2, 3, 1)[:, None].expand(-1, 2, -1, -1, -1)
    return {"pixel_values": values}


VISION_CASES = (
    Case(
        "qwen3_vl_moe",
        "qwen3_vl_moe_text",
        "qwen3_vl_moe",
        {**TOKENS, **START_END, "vision_config": DEEPSTACK_VISION},
        grid_image(),
        16,
    ),
    Case(
        "qwen3_5_moe",
        "qwen3_5_moe_text",
        "qwen3_5_moe",
        {**TOKENS, **START_END, "vision_config": QWEN_VISION},
        grid_image(),
        16,
    ),
    Case(
        "qwen4_exp",
        "qwen4_exp_text",
        "qwen4_exp",
        {**TOKENS, **START_END, "vision_config": QWEN_VISION},
        grid_image(),
        16,
    ),
    Case(
        "qwen3_omni_moe_thinker",
        "qwen3_omni_moe_text",
        "qwen3_omni_moe_thinker",
        {
            **TOKENS,
            "vision_start_token_id": START,
            "audio_token_id": AUDIO,
            "vision_config": DEEPSTACK_VISION,
            "audio_config": QWEN_AUDIO,
        },
        grid_image(),
        16,
    ),
    Case(
        "glm4v_moe",
        "glm4v_moe_text",
        "glm4v_moe",
        {**GLM_TOKENS, "vision_config": GLM_VISION},
        grid_image(),
        16,
    ),
    Case(
        "glm5_next",
        "glm5_next_text",
        "glm5_next",
        {**GLM_TOKENS, "vision_config": GLM_VISION},
        grid_image(),
        16,
    ),
    Case(
        "ernie4_5_vl_moe",
        "ernie4_5_vl_moe_text",
        "ernie4_5_vl_moe",
        {**GLM_TOKENS, "vision_config": {**QWEN_VISION, "temporal_merge_size": 2}},
        grid_image(temporal=1),
        16,
    ),
    Case(
        "aria",
        "aria_text",
        "aria",
        {
            "image_token_index": IMAGE,
            "projector_patch_to_query_dict": {16: 4},
            "vision_config": {**SQUARE_VISION, "model_type": "idefics3_vision"},
        },
        square_image(),
        4,
    ),
    Case(
        "llama4",
        "llama4_text",
        "llama4",
        {
            "image_token_index": IMAGE,
            "boi_token_index": START,
            "eoi_token_index": END,
            "vision_config": {
                **SQUARE_VISION,
                "intermediate_size": 128,
                "vision_output_dim": 32,
                "pixel_shuffle_ratio": 0.5,
                "projector_input_dim": 32,
                "projector_output_dim": 32,
            },
        },
        square_image(),
        4,
    ),
    Case(
        "kimi_k25",
        "deepseek_v3",
        "kimi_k25",
        {
            **TOKENS,
            **START_END,
            "projection_hidden_size": 32,
            "vision_config": {
                **LAYERS,
                "patch_size": 4,
                "pos_emb_height": GRID,
                "pos_emb_width": GRID,
            },
        },
        grid_image(flat=False),
        16,
    ),
    Case(
        "gemma4",
        "gemma4_text",
        "gemma4",
        {
            **GEMMA_TOKENS,
            "video_token_id": VIDEO,
            "audio_token_id": AUDIO,
            "audio_config": None,
            "vision_config": GEMMA_VISION,
        },
        gemma_image,
        16,
    ),
    Case(
        "diffusion_gemma",
        "diffusion_gemma_text",
        "diffusion_gemma",
        {
            **GEMMA_TOKENS,
            "canvas_length": 16,
            "vision_config": {**GEMMA_VISION, "model_type": "gemma4_vision"},
        },
        gemma_image,
        16,
    ),
    Case(
        "minimax_m3_vl",
        "minimax_m3_vl_text",
        "minimax_m3_vl",
        {
            "image_token_index": IMAGE,
            "video_token_index": VIDEO,
            "projector_hidden_size": 32,
            "vision_config": {
                **LAYERS,
                "num_attention_heads": 2,
                "image_size": 32,
                "patch_size": 4,
            },
        },
        grid_image(),
        16,
    ),
    Case(
        "step3p7",
        "step3p5",
        "step3p7",
        {"image_token_id": IMAGE, "vision_config": {**LAYERS, "image_size": 32, "patch_size": 4}},
        square_image(),
        4,
    ),
    Case(
        "deepseek_ocr2",
        "deepseek_ocr2_text",
        "deepseek_ocr2",
        {
            "image_token_id": IMAGE,
            "vision_config": {
                "sam_config": SAM,
                "encoder_config": {
                    **LAYERS,
                    "vocab_size": 96,
                    "num_key_value_heads": 2,
                },
            },
        },
        square_image(64),
        145,
    ),
    Case(
        "unlimited_ocr",
        "unlimited_ocr_text",
        "unlimited_ocr",
        {
            "image_token_id": IMAGE,
            "vision_config": {
                "sam_config": SAM,
                "encoder_config": {**LAYERS, "image_size": 64, "patch_size": 16},
            },
        },
        square_image(64),
        3,
    ),
    Case(
        "inkling_mm_model",
        "inkling_text",
        "inkling_mm_model",
        {
            "image_token_id": IMAGE,
            "audio_token_id": AUDIO,
            "image_bos_token_id": START,
            "audio_bos_token_id": END,
            "vision_config": {
                "text_hidden_size": 32,
                "patch_size": 4,
                "hidden_size": 32,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
            },
            "audio_config": {"text_hidden_size": 32},
        },
        inkling_image,
        4,
    ),
    Case(
        "inkling2",
        "inkling2_text",
        "inkling2",
        {"image_token_id": IMAGE, "vision_config": INKLING2_VISION},
        inkling2_image,
        16,
    ),
    Case(
        "inkling2_loop",
        "inkling2_loop_text",
        "inkling2_loop",
        {"image_token_id": IMAGE, "vision_config": INKLING2_VISION},
        inkling2_image,
        16,
    ),
    Case(
        "hy_v4_vl",
        "hy_v4_vl_text",
        "hy_v4_vl",
        {
            **TOKENS,
            "vision_config": {
                **LAYERS,
                "patch_size": 4,
                "max_image_size": 32,
                "out_hidden_size": 32,
            },
        },
        grid_image(temporal=1),
        20,
    ),
    Case(
        "nemotron_h_omni",
        "nemotron_h",
        "nemotron_h_omni",
        {
            **TOKENS,
            "audio_token_id": AUDIO,
            "vision_hidden_size": 32,
            "projector_hidden_size": 32,
            "video_temporal_patch_size": 2,
            "vision_config": {
                **LAYERS,
                "model_type": "radio",
                "patch_size": 4,
                "image_size": 32,
                "max_img_size": 32,
                "mlp_ratio": 1.0,
                "video_temporal_patch_size": 2,
            },
        },
        radio_image,
        16,
    ),
    Case(
        "dots3_note",
        "dots3_note_text",
        "dots3_note",
        {
            **TOKENS,
            "audio_token_id": AUDIO,
            "vision_config": {
                **LAYERS,
                "num_hidden_layers": 2,
                "patch_size": 4,
                "moe_intermediate_size": 16,
                "pyramid_num_routed": [-1, 8],
                "num_experts_per_tok": 4,
                "adapter_in_dim": 32,
                "adapter_out_dim": 32,
            },
            "audio_config": {
                "hidden_size": 32,
                "intermediate_size": 32,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
                "feature_size": 16,
                "downsample_hidden_size": 8,
                "adapter_input_size": 32,
                "adapter_out_dim": 32,
            },
        },
        grid_image(flat=False),
        16,
    ),
    Case(
        "muse_spark",
        "muse_spark_text",
        "muse_spark",
        {
            **TOKENS,
            "audio_token_id": AUDIO,
            "out_hidden_size": 128,
            "projector_hidden_size": 32,
            "vision_config": {
                **LAYERS,
                "patch_size": 4,
                "pos_emb_height": GRID,
                "pos_emb_width": GRID,
                "max_position_embeddings": GRID * GRID,
            },
            "audio_config": {
                "patch_sizes": [4, 4],
                "hidden_sizes": [8, 16],
                "depths": [1, 1],
                "num_hidden_layers": 2,
                "out_hidden_size": 32,
            },
        },
        grid_image(),
        16,
    ),
    Case(
        "mistral_large4",
        "mistral_large4_text",
        "mistral_large4",
        {
            "image_token_index": IMAGE,
            "vision_config": {**SQUARE_VISION, "model_type": "pixtral"},
        },
        square_image(image_sizes=torch.tensor([[32, 32]])),
        4,
    ),
    Case(
        "mistral3+mistral4",
        "mistral4",
        "mistral3",
        {
            "image_token_index": IMAGE,
            "vision_config": {**SQUARE_VISION, "model_type": "pixtral"},
        },
        square_image(image_sizes=torch.tensor([[32, 32]])),
        4,
    ),
    Case(
        "internvl+qwen3_moe",
        "qwen3_moe",
        "internvl",
        {
            "image_token_id": IMAGE,
            "image_seq_length": 4,
            "vision_config": {**LAYERS, "image_size": [32, 32], "patch_size": [8, 8]},
        },
        square_image(),
        4,
    ),
    Case(
        "internvl+gpt_oss",
        "gpt_oss",
        "internvl",
        {
            "image_token_id": IMAGE,
            "image_seq_length": 4,
            "vision_config": {**LAYERS, "image_size": [32, 32], "patch_size": [8, 8]},
        },
        square_image(),
        4,
    ),
    Case(
        "lfm2_vl+lfm2_moe",
        "lfm2_moe",
        "lfm2_vl",
        {
            "image_token_id": IMAGE,
            "projector_hidden_size": 32,
            "vision_config": {
                **LAYERS,
                "model_type": "siglip2_vision_model",
                "num_patches": 16,
                "patch_size": 8,
            },
        },
        siglip2_image,
        4,
    ),
    Case(
        "cohere2_vision+cohere2_moe",
        "cohere2_moe",
        "cohere2_vision",
        {
            "image_token_id": IMAGE,
            "alignment_intermediate_size": 64,
            "vision_config": {**SQUARE_VISION, "model_type": "siglip_vision_model"},
        },
        square_image(),
        4,
    ),
    Case(
        "llava+mixtral",
        "mixtral",
        "llava",
        {
            "image_token_index": IMAGE,
            "image_seq_length": 16,
            "vision_config": {**SQUARE_VISION, "model_type": "clip_vision_model"},
        },
        square_image(),
        16,
    ),
)
