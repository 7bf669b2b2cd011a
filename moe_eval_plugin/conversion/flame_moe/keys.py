"""The keys of a GPT model in a checkpoint of Megatron-core."""

from __future__ import annotations

import re

EMBEDDING = "embedding.word_embeddings.weight"
HEAD = "output_layer.weight"
FINAL_NORM = "decoder.final_layernorm.weight"
LAYERS = "decoder.layers."
NUMBERED = re.compile(re.escape(LAYERS) + r"(\d{1,6})\.(.+)")
QKV = "self_attention.linear_qkv.weight"
PROJECTION = "self_attention.linear_proj.weight"
FC1, FC2 = "mlp.linear_fc1.weight", "mlp.linear_fc2.weight"
ROUTER = "mlp.router.weight"
EXPERTS_FC1 = "mlp.experts.experts.linear_fc1.weight"
EXPERTS_FC2 = "mlp.experts.experts.linear_fc2.weight"
SHARED_FC1 = "mlp.shared_experts.linear_fc1.weight"
SHARED_FC2 = "mlp.shared_experts.linear_fc2.weight"
# TransformerEngine joins a norm with the matrix that follows it, if there is one; the local layers
# of Megatron are stored under the same names by most releases, and under their own by some.
INPUT_NORMS = ("self_attention.linear_qkv.layer_norm_weight", "input_layernorm.weight")
MLP_NORMS = ("pre_mlp_layernorm.weight", "mlp.linear_fc1.layer_norm_weight")
# What a checkpoint holds besides the model; no key of the model begins like this. A state of the
# optimizer ends in the key of its weight, so the end of a key says nothing.
OPTIMIZER = re.compile(r"(chained_\d+\.)?optimizer\.")
