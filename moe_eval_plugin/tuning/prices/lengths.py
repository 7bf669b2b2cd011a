"""Count the tokens of calibration prompts by kind, which weigh what a cell costs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from moe_eval_plugin.models.releases.names import image_token_ids

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from moe_eval_plugin.tuning.calibration import CalibrationPrompts, PromptBatch
    from moe_eval_plugin.tuning.cells import Cell

    Counts = NDArray[np.int64]


@dataclass(frozen=True)
class PromptLengths:
    """Tokens of each prompt that are put to the model, by kind."""

    text: Counts
    """Text tokens of the prompt, (prompts,)."""
    image: Counts
    """Image tokens of the prompt, (prompts,)."""
    decoded: Counts
    """Tokens of the answer without the last one, which is never put to the model, (prompts,)."""

    def in_one_pass(self) -> PromptLengths:
        """Return the same with all tokens in prompts, for texts that nothing is generated after."""
        return replace(self, text=self.text + self.decoded, decoded=0 * self.decoded)

    def of_cell(self, cell: Cell) -> int:
        """Return the number of tokens that a cell's k applies to."""
        text, image, decoded = (int(one.sum()) for one in (self.text, self.image, self.decoded))
        if cell.modality is not None:
            return image if cell.modality == "image" else text + decoded
        if cell.phase is not None:
            return decoded if cell.phase == "decode" else text + image
        return text + image + decoded


def prompt_lengths(prompts: CalibrationPrompts, config: Any) -> PromptLengths:  # noqa: ANN401  (one of many classes)
    """Return the tokens of prompts by kind; ``config`` is that of the model, with its image token.

    Padding does not count.
    """
    image_ids = image_token_ids(config)
    counted = [_of_batch(batch, image_ids) for batch in prompts.batches]
    text, image, decoded = (np.concatenate(one) for one in zip(*counted, strict=True))
    return PromptLengths(text, image, decoded)


def _of_batch(batch: PromptBatch, image_ids: tuple[int, ...]) -> tuple[Counts, Counts, Counts]:
    ids = np.asarray(batch.inputs["input_ids"])[:, : batch.n_prompt]
    mask = batch.inputs.get("attention_mask")
    is_token = np.ones(ids.shape, bool) if mask is None else np.asarray(mask)[:, : ids.shape[1]] > 0
    is_image = np.isin(ids, image_ids) & is_token
    n_image = is_image.sum(axis=1)
    n_answer = (np.asarray(batch.answer_ids) >= 0).sum(axis=1)
    return is_token.sum(axis=1) - n_image, n_image, np.maximum(n_answer - 1, 0)
