"""Make the prompts of a bench: images, random or from files, then random text tokens."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.bench.plan import ImagePlan, Workload
from moe_eval_plugin.errors import (
    DataError,
    InvalidArgumentError,
    UnreadableImageError,
    UserError,
)
from moe_eval_plugin.models.releases.names import (
    IMAGE_GRID,
    PER_TOKEN,
    PIXELS,
    TOKEN_TYPE_IDS,
    per_token_among,
)
from moe_eval_plugin.vqa.images import read_image

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image
    from torch import Tensor, dtype

RGB = 3
PATCH_SIZES = ("patch_size", "spatial_merge_size", "temporal_patch_size")


@dataclass(frozen=True)
class BenchInputs:
    """Makes the inputs of a model for a workload; equal workloads get equal inputs.

    Text tokens are drawn from the vocabulary without special tokens, anew for each sequence.
    """

    config: Any
    """Configuration of the model."""
    device: str
    """Torch device of the tensors."""
    dtype: dtype
    """Torch data type of images."""
    images: ImagePlan = field(default_factory=ImagePlan)
    """Images before the text of each prompt."""
    processor: Any = None
    """Encodes the images; without one they are drawn as patches, which suits Qwen-VL models."""
    seed: int = 0
    """Seed of tokens and images."""

    @classmethod
    def for_model(
        cls,
        model: Any,  # noqa: ANN401  (one of many model classes)
        images: ImagePlan | None = None,
        processor: Any = None,  # noqa: ANN401  (one of many processor classes)
        seed: int = 0,
    ) -> BenchInputs:
        """Return inputs for a loaded model, on its device and in its data type."""
        device, dtype = str(model.device), model.dtype
        return cls(model.config, device, dtype, images or ImagePlan(), processor, seed)

    @property
    def has_images(self) -> bool:
        """Whether there are images in the prompts."""
        return self.images.count > 0

    @property
    def pad_token_id(self) -> int:
        """A token for padding; none is needed, as all sequences have one length."""
        found = getattr(self.config.get_text_config(), "pad_token_id", None)
        return found if isinstance(found, int) else 0

    def make(self, workload: Workload) -> dict[str, Tensor]:
        """Return the tensors of a batch, on the device of the model.

        Raises ``InvalidArgumentError`` where prompt and new tokens exceed the model's positions.
        """
        import torch

        random = torch.Generator().manual_seed(self.seed)
        text = self._text(workload, random)
        head = self._image_head(random)
        inputs = {"input_ids": text, "attention_mask": torch.ones_like(text)}
        for name, tensor in head.items():
            if name in PER_TOKEN:
                rows = tensor.expand(workload.batch_size, -1)
                tail = inputs.get(name, torch.zeros_like(text))
                inputs[name] = torch.cat([rows.to(tail.dtype), tail], dim=1)
            else:
                inputs[name] = torch.cat([tensor] * workload.batch_size)
        self._check_length(inputs["input_ids"].shape[1], workload)
        return {name: self._placed(tensor) for name, tensor in inputs.items()}

    def _text(self, workload: Workload, random: Any) -> Tensor:  # noqa: ANN401  (torch.Generator)
        import torch

        text = self.config.get_text_config()
        is_free = torch.ones(text.vocab_size, dtype=torch.bool)
        special = [token for token in _named_tokens(self.config) if token < text.vocab_size]
        is_free[special] = False
        free = is_free.nonzero().flatten()
        shape = (workload.batch_size, workload.prompt_tokens)
        return free[torch.randint(len(free), shape, generator=random)]

    def _image_head(self, random: Any) -> dict[str, Tensor]:  # noqa: ANN401
        if not self.has_images:
            return {}
        if self.processor is None:
            return _patches(self.config, self.images, random)
        return _encoded(self.processor, self._pictures(random))

    def _pictures(self, random: Any) -> list[Image]:  # noqa: ANN401
        if self.images.files:
            return [_open(path) for path in self.images.files]
        return [_noise(self.images.size, random) for _ in range(self.images.n_images)]

    def _check_length(self, n_prompt: int, workload: Workload) -> None:
        limit = getattr(self.config.get_text_config(), "max_position_embeddings", None)
        total = n_prompt + workload.new_tokens
        if isinstance(limit, int) and total > limit:
            message = (
                f"A prompt of {n_prompt} tokens and {workload.new_tokens} new ones are {total}, "
                f"and {self.config.model_type} takes {limit}. Use fewer prompt_tokens, new_tokens "
                "or images."
            )
            raise InvalidArgumentError(message)

    def _placed(self, tensor: Tensor) -> Tensor:
        if tensor.is_floating_point():
            return tensor.to(self.device, self.dtype)
        return tensor.to(self.device)


def _named_tokens(config: Any) -> set[int]:  # noqa: ANN401
    """Collect the tokens that a configuration names for some purpose (``*_token_id``)."""
    found = set()
    for part in (config, config.get_text_config()):
        for key, value in vars(part).items():
            if key.endswith(("_token_id", "_token_index")):
                values = value if isinstance(value, list) else [value]
                found |= {token for token in values if isinstance(token, int) and token >= 0}
    return found


def _encoded(processor: Any, pictures: Sequence[Image]) -> dict[str, Tensor]:  # noqa: ANN401
    parts = [{"type": "image", "image": picture} for picture in pictures]
    encoded = processor.apply_chat_template(
        [{"role": "user", "content": parts}],
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )
    per_token_among(encoded)
    return dict(encoded)


def _patches(config: Any, images: ImagePlan, random: Any) -> dict[str, Tensor]:  # noqa: ANN401
    """Draw images as patches, image after image, with the grid of each.

    An image gets the nearest size of whole tokens, each a square of merged patches.
    """
    import torch

    vision: Any = getattr(config, "vision_config", None)
    sizes = (getattr(vision, name, None) for name in PATCH_SIZES)
    token = getattr(config, "image_token_id", None)
    numbers = [n for n in (*sizes, token) if isinstance(n, int)]
    if len(numbers) <= len(PATCH_SIZES) or images.files:
        raise UserError(_no_images(config, images))
    patch, merge, depth, token = numbers
    width, height = (max(1, round(side / (patch * merge))) * merge for side in images.size)
    n = images.n_images
    # Another token separates two images, so that they are not taken for one.
    between = getattr(config, "vision_start_token_id", 0)
    ids = ([between] + [token] * (width * height // merge**2)) * n
    channels = getattr(vision, "in_channels", getattr(vision, "in_chans", RGB))
    input_ids = torch.tensor([ids])
    return {
        "input_ids": input_ids,
        "attention_mask": torch.ones_like(input_ids),
        TOKEN_TYPE_IDS[0]: input_ids.eq(token).long(),
        PIXELS: torch.randn(n * width * height, channels * depth * patch**2, generator=random),
        IMAGE_GRID: torch.tensor([[1, height, width]] * n),
    }


def _no_images(config: Any, images: ImagePlan) -> str:  # noqa: ANN401
    if images.files:
        return (
            "With random weights, the content of an image makes no difference. Pass a number and a "
            "size (--images, --image-size) instead of files."
        )
    return (
        f"The configuration of {config.model_type} does not state how images are encoded. Leave "
        "the images out, or bench a checkpoint that comes with a processor."
    )


def _noise(size: tuple[int, int], random: Any) -> Image:  # noqa: ANN401
    import torch
    from PIL import Image

    width, height = size
    pixels = torch.randint(256, (height, width, RGB), dtype=torch.uint8, generator=random)
    return Image.fromarray(pixels.numpy())


def _open(path: str) -> Image:
    try:
        return read_image(path)
    except UnreadableImageError as error:
        message = f"The image {path} cannot be read: {error}. Pass a file that Pillow can open."
        raise DataError(message) from error
