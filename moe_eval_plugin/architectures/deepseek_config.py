"""The configuration of DeepSeekMoE-16B, model type ``deepseek``, which transformers does not have.

The keys and their defaults are those of the configuration that comes with the published checkpoint,
so its ``config.json`` is read without its code. FLAME-MoE has the same architecture.
"""

from typing import ClassVar

from huggingface_hub.dataclasses import strict
from transformers.models.deepseek_ocr2.configuration_deepseek_ocr2 import DeepseekOcr2TextConfig


@strict
class DeepseekConfig(DeepseekOcr2TextConfig):  # type: ignore[misc]  # transformers has no types
    """The configuration of a decoder with routed and shared experts, as DeepSeek wrote it first.

    What the model class cannot compute is refused by that class and not here, because vLLM has a
    model class of its own for this configuration.
    """

    model_type = "deepseek"
    # The parent's is a part of a model with images.
    base_config_key: ClassVar[str] = ""

    first_k_dense_replace: int = 0
    """The layers at the start that have no experts."""
    moe_layer_freq: int = 1
    """Of the other layers, each with a number that this divides has experts."""
    n_routed_experts: int | None = 64
    """The routed experts of a layer."""
    n_shared_experts: int | None = 2
    """The experts of a layer that every token uses."""
    num_experts_per_tok: int | None = 6
    """The routed experts that a token uses."""
    norm_topk_prob: bool = False
    """Whether the weights of a token's experts are scaled to the sum 1."""
    scoring_func: str = "softmax"
    """How the router turns logits into weights."""
    n_group: int | None = 1
    """The groups of experts; vLLM divides by this number."""
    topk_group: int | None = 1
    """The groups that a token chooses from."""

    @property
    def mlp_layer_types(self) -> list[str]:
        """The kind of each layer, in the words of transformers: ``dense`` or ``sparse``.

        It follows from the two keys that DeepSeek's code and vLLM read, and is not written down.
        """
        return [
            "sparse" if self._has_experts(layer) else "dense"
            for layer in range(self.num_hidden_layers)
        ]

    @mlp_layer_types.setter
    def mlp_layer_types(self, _stated: list[str] | None) -> None:
        """Accept what the parent class assigns, without effect."""

    def _has_experts(self, layer: int) -> bool:
        return layer >= self.first_k_dense_replace and layer % self.moe_layer_freq == 0
