"""``moe_hf-multimodal`` of lm-eval: models that take images, at a verified k."""

from __future__ import annotations

import gc
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any

from lm_eval.models.hf_vlms import HFMultimodalLM
from lm_eval.models.utils import resize_image

from moe_eval_plugin.engines.request import VERIFICATION_NEW_TOKENS
from moe_eval_plugin.errors import UserError
from moe_eval_plugin.hosts.lm_eval.asked import SCORING
from moe_eval_plugin.model_adapters.lm_eval_hf import MoEHFLM

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lm_eval.api.instance import Instance
    from torch import Tensor

    from moe_eval_plugin.experts.verification import VerifiedOverride

# Requests with images have a third argument, which holds them.
WITH_IMAGES = 3


class MoEHFMultimodalLM(MoEHFLM, HFMultimodalLM):
    """``hf-multimodal`` of lm-eval at a verified k: tasks with images, and those without.

    The host collects garbage after each batch with images, and would look at every object of a
    loaded model each time; those are left out of it.
    """

    model_name = "moe_hf-multimodal"

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  (those of ``moe_hf``)
        super().__init__(*args, **kwargs)
        gc.collect()
        gc.freeze()
        weakref.finalize(self, gc.unfreeze)

    def _observe(self, requests: Sequence[Instance]) -> VerifiedOverride:
        first = requests[0]
        if first.request_type in SCORING and len(first.args) >= WITH_IMAGES:
            message = (
                f"{first.task_name} scores given answers to questions with images, which lm-eval's "
                "models do not support. Use a task that generates answers, or lmms-eval."
            )
            raise UserError(message)
        return super()._observe(requests)

    def tok_batch_multimodal_encode(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        """Encode a batch of prompts and images as the host does; part of their latency."""
        with self._encoding():
            return super().tok_batch_multimodal_encode(*args, **kwargs)

    def _model_multimodal_generate(
        self,
        inputs: Any,  # noqa: ANN401  (a mapping of the library)
        max_length: int,
        stop: list[str],
        **kwargs: Any,  # noqa: ANN401
    ) -> Tensor:
        generate = partial(super()._model_multimodal_generate, inputs, max_length, stop)
        context, mask = inputs["input_ids"], inputs["attention_mask"]
        return self._generate(generate, context, mask, max_length, stop, kwargs)

    def _generate_two(self, requests: Sequence[Instance]) -> None:
        if len(requests[0].args) < WITH_IMAGES:
            super()._generate_two(requests)
            return
        inputs = self.encode_with_images(requests, VERIFICATION_NEW_TOKENS)
        self._model_multimodal_generate(
            inputs,
            max_length=inputs["input_ids"].shape[1] + VERIFICATION_NEW_TOKENS,
            stop=[],
            min_new_tokens=VERIFICATION_NEW_TOKENS,
        )

    def encode_with_images(self, requests: Sequence[Instance], n_new: int) -> Any:  # noqa: ANN401  (a mapping of the library)
        """Return the inputs of the model for requests with images, with room for new tokens."""
        sizes = self.image_width, self.image_height, self.image_max_side
        images = [
            [resize_image(image, *sizes) for image in request.args[2]["visual"]]
            for request in requests
        ]
        return self.tok_batch_multimodal_encode(
            [request.args[0] for request in requests],
            images,
            left_truncate_len=self.max_length - n_new,
            truncation=self.truncation,
        )
