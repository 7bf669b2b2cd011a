"""Table of MoE layer classes: which module call exposes the selected expert indices.

Most families call ``experts(hidden, top_k_index, top_k_weights)``, the standard call. The indices
are read from that call, because the model computes with them whatever an attribute or a
configuration states; this covers families that are not in any table too. Classes that pass the
choice on differently have an entry in ``CHOICE_READERS``, each with its reason. Experts in an
``nn.ModuleList``, as in the own code of many checkpoints, are called one by one with the rows
routed to them; no such call has the choice, and ``override.listed_experts`` observes it.

No call exposes the choice where a kernel replaces a layer and calls no module inside it, as the
mxfp4 kernels of gpt_oss do: no token is observed, and verification fails.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sized
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.experts.ffn_use import CONSTANT, COPY, ZERO
from moe_eval_plugin.experts.module_path import path_modality

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor, nn

    from moe_eval_plugin.experts.tokens import ObservedModality

MATRIX, STACK = 2, 3


@dataclass(frozen=True)
class Call:
    """One call of an observed module; ``output`` is ``None`` for one that is read before it."""

    module: nn.Module
    arguments: tuple[Any, ...]
    output: Any = None


@dataclass(frozen=True)
class ChoiceReader:
    """How the selected experts are read in one class of MoE layers.

    All paths are relative to the module of that class; "" is the module itself.
    """

    class_name: str
    """Regular expression that matches the whole name of the module's class."""
    reason: str
    """Why the choice is read in this way."""
    read: Callable[[Call], Tensor | None]
    """Return the chosen experts of a call, integers (tokens, width), or ``None`` if it shows none.

    An index below 0 means "no expert". It must not make the host wait for the device: no
    ``item()``, ``tolist()``, ``nonzero()`` or indexing by a mask.
    """
    observed_module: str = ""
    """Path of the module whose calls are read."""
    reads_output: bool = False
    """Whether ``read`` runs after the call, with its output; else it runs before."""
    layer: str = ""
    """Path of the module whose own path names the layer in observations."""
    expert_modules: tuple[str, ...] = ("",)
    """Paths of the modules that hold the weights of the routed experts."""
    zero_expert_kinds: tuple[str, ...] = ()
    """The kinds of those of the layer's ``num_experts``, the last ones, that compute nothing."""

    def fits(self, module: nn.Module) -> bool:
        """Whether a module has the class and the submodules that this reader expects."""
        if not re.fullmatch(self.class_name, type(module).__name__):
            return False
        inside = dict(module.named_modules())
        return {self.observed_module, self.layer, *self.expert_modules} <= inside.keys()


def read_indices(call: Call) -> Tensor | None:
    """Return the matrix of expert indices (tokens, k) among a call's arguments, or ``None``."""
    import torch

    for value in call.arguments:
        if not isinstance(value, torch.Tensor) or value.dim() != MATRIX:
            continue
        if not value.is_floating_point() and value.dtype != torch.bool:
            return value
    return None


def _where(is_used: Tensor) -> Tensor:
    """Return a mask (tokens, experts) as indices of the same shape, -1 where it is false."""
    import torch

    indices = torch.arange(is_used.shape[-1], device=is_used.device)
    return torch.where(is_used, indices, -1)


def _from_scores(call: Call) -> Tensor:
    scores, _logits = call.output
    return _where(scores > 0)


def _from_switch_mask(call: Call) -> Tensor:
    _hidden, one_hot, *_ = call.arguments
    return _where(one_hot.flatten(end_dim=-2) > 0)


def _from_nllb_weights(call: Call) -> Tensor:
    _hidden, _mask, weights, *_ = call.arguments
    return _where(weights > 0)


def _from_jetmoe_order(call: Call) -> Tensor:
    """Return the indices, by undoing the sorting of (token, choice) pairs by expert."""
    import torch

    order, _tokens, _weights, n_pairs, _logits = call.output
    experts = torch.empty_like(order)
    starts = [sum(n_pairs[:expert]) for expert in range(len(n_pairs) + 1)]
    for expert, (start, end) in enumerate(itertools.pairwise(starts)):
        experts.scatter_(0, order[start:end], expert)
    return experts.reshape(call.arguments[0].shape[0], -1)


def _from_rows_of_experts(call: Call) -> Tensor:
    """Return the indices from the output: (expert -> (its rows, their weights), logits)."""
    import torch

    rows_of, logits = call.output
    chosen = torch.full_like(logits, -1, dtype=torch.long)
    for expert, (rows, _weights) in rows_of.items():
        chosen[rows, expert] = expert
    return chosen


STANDARD_CALL = ChoiceReader(
    # The talker of qwen3_omni speaks the answer and has no part in it. Shared experts serve every
    # token, but those of GraniteMoeShared are routed: there the word belongs to the family's name.
    r"(?!.*Talker).*(?<!(?<!GraniteMoe)Shared)Experts",
    "The indices are an argument of the experts, as transformers has it since version 5.",
    read_indices,
)
LISTED = ChoiceReader(
    r"ModuleList|ModuleDict",
    "Each expert is called with the rows routed to it: the block around them is observed instead.",
    lambda _call: None,
)
LIST_NAME = re.compile(r"(?!.*shared)(\w+_)?experts")
CHOICE_READERS = (
    ChoiceReader(
        "Llama4TextMoe",
        "All experts run on all tokens, on inputs times a score, which is 0 where not chosen.",
        _from_scores,
        observed_module="router",
        reads_output=True,
        layer="experts",
        expert_modules=("experts",),
    ),
    ChoiceReader(
        "JetMoeMoE|JetMoeMoA",
        "The gating sorts tokens by expert, in MLP and attention; no indices are passed on.",
        _from_jetmoe_order,
        observed_module="router",
        reads_output=True,
        expert_modules=("input_linear", "output_linear"),
    ),
    ChoiceReader(
        "DogeCDMoE",
        "Experts are rows of two embeddings, looked up by index.",
        read_indices,
        observed_module="down_embed",
        expert_modules=("down_embed", "up_embed"),
    ),
    ChoiceReader(
        "SwitchTransformersExperts",
        "The choice is a one-hot mask (tokens, 1, experts), 0 for a token beyond the capacity.",
        _from_switch_mask,
    ),
    ChoiceReader(
        "NllbMoeExperts",
        "The mask among its arguments has the first expert only; the weights have both.",
        _from_nllb_weights,
    ),
    ChoiceReader(
        "MOE",
        "MoE++: its router returns the rows of each expert; the last four compute next to nothing.",
        _from_rows_of_experts,
        observed_module="moe.gate",
        reads_output=True,
        layer="moe",
        expert_modules=("moe.experts",),
        zero_expert_kinds=(CONSTANT, CONSTANT, COPY, ZERO),
    ),
    STANDARD_CALL,
)


@dataclass(frozen=True)
class MoELayer:
    """One MoE layer of a loaded model, and where its choice of experts is read."""

    path: str
    """Path of the layer in the model, as observations name it."""
    choice_reader: ChoiceReader
    """How the choice is read from the calls of ``observed_module``."""
    observed_module: nn.Module
    """The module whose calls are read."""
    expert_modules: dict[str, nn.Module]
    """The modules that hold weights of its routed experts, by path; one, the list, if listed."""
    num_experts: int | None
    """Routed experts that compute; ``None`` if unknown, and then the layer is not observed."""
    num_zero_experts: int | None
    """Routed experts that compute nothing; ``None`` if unknown."""
    modality: ObservedModality | None = None
    """The modality whose tokens alone the layer serves; ``None`` for all tokens."""
    zero_expert_kinds: tuple[str, ...] = ()
    """The kind of each expert that computes nothing, from ``experts.ffn_use``."""

    @property
    def is_listed(self) -> bool:
        """Whether its experts are a list; ``observed_module`` is the block that calls them."""
        return self.choice_reader is LISTED


def find_moe_layers(
    model: nn.Module, choice_readers: Sequence[ChoiceReader] = CHOICE_READERS
) -> Iterator[MoELayer]:
    """Yield each MoE layer of a model once, in the order of the model.

    The first reader that fits is used. A list of two modules or more under the name ``experts``,
    ``routed_experts`` or the like is a layer too.
    """
    inside: str | None = None
    for path, module in model.named_modules():
        if inside is not None and path.startswith(inside):
            continue
        reader = _reader_of(path, module, choice_readers)
        if reader is not None:
            inside = f"{path}." if path else ""
            layer = _moe_layer(inside, module, reader)
            if layer.is_listed:
                layer = replace(layer, observed_module=model.get_submodule(path.rpartition(".")[0]))
            yield layer


def _reader_of(
    path: str, module: nn.Module, choice_readers: Sequence[ChoiceReader]
) -> ChoiceReader | None:
    reader = next((reader for reader in choice_readers if reader.fits(module)), None)
    is_list = LISTED.fits(module) and LIST_NAME.fullmatch(path.rpartition(".")[2])
    return reader or (LISTED if is_list and len(list(module.children())) > 1 else None)


def _moe_layer(prefix: str, module: nn.Module, reader: ChoiceReader) -> MoELayer:
    observed = module.get_submodule(reader.observed_module)
    path = (prefix + reader.layer).removesuffix(".")
    counting = (module.get_submodule(reader.layer), observed, module)
    num_experts, kinds = _expert_counts(counting)
    if num_experts is not None and reader.zero_expert_kinds:
        kinds = reader.zero_expert_kinds
        num_experts -= len(kinds)
    return MoELayer(
        path=path,
        choice_reader=reader,
        observed_module=observed,
        expert_modules={
            (prefix + name).removesuffix("."): module.get_submodule(name)
            for name in reader.expert_modules
        },
        num_experts=num_experts,
        num_zero_experts=None if num_experts is None else len(kinds),
        modality=path_modality(path),
        zero_expert_kinds=kinds,
    )


def _expert_counts(modules: tuple[nn.Module, ...]) -> tuple[int | None, tuple[str, ...]]:
    """Return how many experts compute and the kinds of others, from the first module with both.

    longcat_flash has both in one index: the ``zero_expert_num`` last ones return a token unchanged.
    """
    for module in modules:
        for name in ("num_experts", "num_routed_experts"):
            count = getattr(module, name, None)
            if isinstance(count, int) and count > 0:
                return count, (COPY,) * (getattr(module, "zero_expert_num", None) or 0)
    stacks = (p.shape[0] for p in modules[0].parameters(recurse=False) if p.dim() == STACK)
    count = next(stacks, len(modules[0]) if isinstance(modules[0], Sized) else 0)
    return count or None, ()


def find_experts(model: nn.Module) -> dict[str, nn.Module]:
    """Return the modules that hold the weights of routed experts, by path, in model order.

    Shared experts are not among them. An MoE layer may have several such modules.
    """
    layers = find_moe_layers(model)
    return {path: module for layer in layers for path, module in layer.expert_modules.items()}
