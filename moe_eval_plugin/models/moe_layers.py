"""Where the choice of experts can be seen in a model's modules: one table, by class name.

Nearly every family hands its choice to a module of experts as a tensor of indices, one row per
token: ``experts(hidden, top_k_index, top_k_weights)``. Whatever an attribute or a configuration
says, that tensor is what the model computes with, so it is read there, at the uniform door, for
families that nobody has heard of too. The table lists the families that pass their choice on in
another way, each with its reason.

What cannot be seen at any door:

- Experts in an ``nn.ModuleList``, as in the own code of many checkpoints (but MoE++): the
  layer calls each expert with the rows routed to it. Rows per expert would give the mean k, but
  not which token used how many. Such a layer is found and has no door.
- The mxfp4 kernels of gpt_oss: the layer hands the router's *weights* to a kernel that chooses and
  computes, and calls neither the router nor the door of its experts.
- Any kernel or compiled graph that takes the place of a layer and calls no module inside.

Such layers end up without a single observed token, which verification takes for a failure. To
make one observable, give ``probe.observe`` a ``Door`` for it.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.experts.module_path import layer_modality

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor, nn

    from moe_eval_plugin.experts.tokens import ObservedModality


MATRIX, STACK = 2, 3


@dataclass(frozen=True)
class Call:
    """One call of a watched module. ``output`` is ``None`` for a door that is read before."""

    module: nn.Module
    arguments: tuple[Any, ...]
    output: Any = None


@dataclass(frozen=True)
class ChoiceReader:
    """How the choice of experts is read in one kind of MoE layer.

    ``class_name`` is a regular expression for the whole name of a module's class. All paths are
    relative to that module, "" being the module itself: ``at`` is the module whose calls are
    read, ``holders`` are those that hold the weights of the routed experts, and ``layer`` is the
    one whose path names the layer. ``read`` gets each call and returns the chosen experts as an
    integer tensor (tokens, width), where an index below 0 stands for "no expert", or ``None`` if
    the call shows none. It must not make the host wait for the device: no ``item()``,
    ``tolist()``, ``nonzero()`` or indexing by a mask. With ``is_after`` it runs after the call
    and sees its output, else before. ``num_zero_experts`` is the number of experts, the last ones
    of a layer's ``num_experts``, that compute nothing.
    """

    class_name: str
    reason: str
    read: Callable[[Call], Tensor | None]
    at: str = ""
    is_after: bool = False
    layer: str = ""
    holders: tuple[str, ...] = ("",)
    num_zero_experts: int = 0

    def fits(self, module: nn.Module) -> bool:
        """Tell whether a module has the class and the parts that this door is about."""
        if not re.fullmatch(self.class_name, type(module).__name__):
            return False
        inside = dict(module.named_modules())
        return {self.at, self.layer, *self.holders} <= inside.keys()


def read_indices(call: Call) -> Tensor | None:
    """Find the matrix of expert indices (tokens, k) among the arguments of a call."""
    import torch

    for value in call.arguments:
        if isinstance(value, torch.Tensor) and value.dim() == MATRIX:
            is_index = not value.is_floating_point() and value.dtype != torch.bool
            if is_index:
                return value
    return None


def _where(is_used: Tensor) -> Tensor:
    """Turn a mask (tokens, experts) into indices of the same shape, -1 where it is false."""
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
    """Undo the sorting of (token, choice) pairs by expert.

    The output of the gating has their order first and the number of pairs of each expert, a list,
    fourth.
    """
    import torch

    order, _tokens, _weights, n_pairs, _logits = call.output
    experts = torch.empty_like(order)
    starts = [sum(n_pairs[:expert]) for expert in range(len(n_pairs) + 1)]
    for expert, (start, end) in enumerate(itertools.pairwise(starts)):
        experts.scatter_(0, order[start:end], expert)
    return experts.reshape(call.arguments[0].shape[0], -1)


def _from_rows_of_experts(call: Call) -> Tensor:
    """Read expert -> (its rows, their weights), which stands beside the logits in the output."""
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
    "The experts are called one by one, with rows instead of tokens: there is nothing to read.",
    lambda _call: None,
)
DOORS = (
    ChoiceReader(
        "Llama4TextMoe",
        "All experts run on all tokens, on inputs times a score, which is 0 where not chosen.",
        _from_scores,
        at="router",
        is_after=True,
        layer="experts",
        holders=("experts",),
    ),
    ChoiceReader(
        "JetMoeMoE|JetMoeMoA",
        "The gating sorts tokens by expert, in the MLP and in the attention; no indices go on.",
        _from_jetmoe_order,
        at="router",
        is_after=True,
        holders=("input_linear", "output_linear"),
    ),
    ChoiceReader(
        "DogeCDMoE",
        "Experts are rows of two embeddings, looked up by index.",
        read_indices,
        at="down_embed",
        holders=("down_embed", "up_embed"),
    ),
    ChoiceReader(
        "SwitchTransformersExperts",
        "The choice is a one-hot mask (tokens, 1, experts), 0 for a token beyond the capacity.",
        _from_switch_mask,
    ),
    ChoiceReader(
        "NllbMoeExperts",
        "The mask it is given has the first expert only; the weights have both.",
        _from_nllb_weights,
    ),
    ChoiceReader(
        "MOE",
        "MoE++: its router gives the rows of each expert; the last four compute next to nothing.",
        _from_rows_of_experts,
        at="moe.gate",
        is_after=True,
        layer="moe",
        holders=("moe.experts",),
        num_zero_experts=4,
    ),
    STANDARD_CALL,
)


@dataclass(frozen=True)
class MoELayer:
    """One MoE layer of a model and where its choice of experts is read.

    ``holders`` maps the path of each module with weights of its routed experts to the module.
    ``num_experts`` and ``num_zero_experts`` are ``None`` where the layer does not tell; then it
    cannot be watched. ``modality`` is set where it serves tokens of that modality alone.
    """

    path: str
    door: ChoiceReader
    at: nn.Module
    holders: dict[str, nn.Module]
    num_experts: int | None
    num_zero_experts: int | None
    modality: ObservedModality | None = None


def find_moe_layers(model: nn.Module, doors: Sequence[ChoiceReader] = DOORS) -> Iterator[MoELayer]:
    """Find each MoE layer of a model, in the order of the model, once.

    The first door whose class name fits is taken. A list of two modules or more under the name
    ``experts`` is a layer too, though nothing can be read there.
    """
    inside: str | None = None
    for path, module in model.named_modules():
        if inside is not None and path.startswith(inside):
            continue
        door = _door_of(path, module, doors)
        if door is not None:
            inside = f"{path}." if path else ""
            yield _watched(inside, module, door)


def _door_of(path: str, module: nn.Module, doors: Sequence[ChoiceReader]) -> ChoiceReader | None:
    name = type(module).__name__
    door = next((door for door in doors if door.fits(module)), None)
    is_list = path.rpartition(".")[2] == "experts" and re.fullmatch(LISTED.class_name, name)
    return door or (LISTED if is_list and len(list(module.children())) > 1 else None)


def _watched(prefix: str, module: nn.Module, door: ChoiceReader) -> MoELayer:
    at = module.get_submodule(door.at)
    path = (prefix + door.layer).removesuffix(".")
    num_experts, num_zero_experts = _expert_counts((module.get_submodule(door.layer), at, module))
    if num_experts is not None and door.num_zero_experts:
        num_experts, num_zero_experts = num_experts - door.num_zero_experts, door.num_zero_experts
    return MoELayer(
        path=path,
        door=door,
        at=at,
        holders={
            (prefix + holder).removesuffix("."): module.get_submodule(holder)
            for holder in door.holders
        },
        num_experts=num_experts,
        num_zero_experts=num_zero_experts,
        modality=layer_modality(path),
    )


def _expert_counts(modules: tuple[nn.Module, ...]) -> tuple[int | None, int | None]:
    """Ask modules, first come first served, for their experts: those that compute, and the rest.

    longcat_flash counts both in one index: ``num_routed_experts`` compute, and the
    ``zero_expert_num`` behind them pass a token through as it is.
    """
    for module in modules:
        for name in ("num_experts", "num_routed_experts"):
            count = getattr(module, name, None)
            if isinstance(count, int) and count > 0:
                return count, int(getattr(module, "zero_expert_num", None) or 0)
    stacks = (p.shape[0] for p in modules[0].parameters(recurse=False) if p.dim() == STACK)
    count = next(stacks, None)
    return (count, 0) if count else (None, None)


def find_experts(model: nn.Module) -> dict[str, nn.Module]:
    """Find the modules that hold the weights of routed experts: path -> module, in model order.

    Shared experts are not among them. An MoE layer may have several such modules.
    """
    return {
        path: module for layer in find_moe_layers(model) for path, module in layer.holders.items()
    }
