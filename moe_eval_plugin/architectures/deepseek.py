"""The language model of DeepSeekMoE-16B and FLAME-MoE, model type ``deepseek``.

transformers has these layers in the text stack of DeepSeek-OCR-2: attention with all its heads, a
softmax router in float32, the k largest weights as they are, and shared experts without a gate. It
has no language model on that stack, which is what this module adds.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, ClassVar

from torch import nn
from transformers import GenerationMixin
from transformers.modeling_outputs import MoeCausalLMOutputWithPast
from transformers.models.deepseek_ocr2.modeling_deepseek_ocr2 import (
    DeepseekOcr2TextModel,
    DeepseekOcr2TextPreTrainedModel,
)
from transformers.utils.generic import can_return_tuple

from moe_eval_plugin.architectures.deepseek_config import DeepseekConfig

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import Cache

# transformers 5.24 renamed it.
_STACK = inspect.signature(DeepseekOcr2TextModel.forward).parameters
CACHE_NAME = "cache" if "cache" in _STACK else "past_key_values"


class DeepseekMoEModel(DeepseekOcr2TextModel):  # type: ignore[misc]  # transformers has no types
    """The decoder without its head.

    The names of a checkpoint's experts are converted by the name of this class, and not by the
    model type, whose conversion transformers offers to code that comes with a checkpoint too.
    """

    config: DeepseekConfig
    config_class = DeepseekConfig
    # transformers looks for a decorator in this file, and the experts are in another.
    _can_set_experts_implementation_cached_value: ClassVar[bool] = True


class DeepseekForCausalLM(DeepseekOcr2TextPreTrainedModel, GenerationMixin):  # type: ignore[misc]
    """A language model of type ``deepseek``.

    The router computes in float32 whatever the data type of the weights, as in FLAME-MoE; the code
    that comes with DeepSeekMoE-16B computes it in that of the weights. Raises ``ValueError`` for
    a configuration that the layers cannot compute.
    """

    config: DeepseekConfig
    config_class = DeepseekConfig
    _tied_weights_keys: ClassVar[dict[str, str]] = {"lm_head.weight": "model.embed_tokens.weight"}
    _tp_plan: ClassVar[dict[str, str]] = {"lm_head": "colwise_gather_output"}
    _pp_plan: ClassVar[dict[str, Any]] = {"lm_head": (["hidden_states"], ["logits"])}
    _can_set_experts_implementation_cached_value: ClassVar[bool] = True

    def __init__(self, config: DeepseekConfig) -> None:
        _refuse_other_routers(config)
        super().__init__(config)
        self.model = DeepseekMoEModel(config)
        self.vocab_size = config.vocab_size
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    @can_return_tuple  # type: ignore[untyped-decorator]
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        cache: Cache | None = None,
        past_key_values: Cache | None = None,
        labels: Tensor | None = None,
        logits_to_keep: int | Tensor = 0,
        **kwargs: Any,  # noqa: ANN401  (of the layers and of the loss)
    ) -> MoeCausalLMOutputWithPast:
        """Return the logits (batch, tokens, vocabulary), and the loss if labels are given.

        ``labels`` (batch, tokens) are the ids of the input itself; -100 is not counted.
        ``logits_to_keep`` asks for the logits of the last tokens only, or of the given positions;
        0 is for all. The cache may have either name.
        """
        outputs = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            **{CACHE_NAME: past_key_values if cache is None else cache},
            **kwargs,
        )
        others = dict(outputs)
        states = others.pop("last_hidden_state")
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(states[:, kept])
        loss = None
        if labels is not None:
            loss = self.loss_function(logits, labels, vocab_size=self.vocab_size, **kwargs)
        return MoeCausalLMOutputWithPast(loss=loss, logits=logits, **others)


def _refuse_other_routers(config: DeepseekConfig) -> None:
    """Raise ``ValueError`` for settings that would change the result and are not computed here."""
    if not config.n_routed_experts or not config.n_shared_experts:
        found = f"{config.n_routed_experts} routed and {config.n_shared_experts} shared experts"
        message = f"the class deepseek needs both kinds of experts, and there are {found}"
        raise ValueError(message)
    for key, known in (("scoring_func", "softmax"), ("norm_topk_prob", False)):
        value = getattr(config, key)
        if value != known:
            message = f"{key}={value!r}: the routers of class deepseek compute {known!r} only"
            raise ValueError(message)
