"""What the tokens of the present forward pass are: text, image or padding; prefill or decode."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import OverrideError
from moe_eval_plugin.experts.tokens import IMAGE, PADDING, Phase
from moe_eval_plugin.models.transformers_names import (
    TOKENS,
    cache_among,
    image_token_ids,
    require_known_names,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from torch import Tensor, nn

ROWS_BY_TOKENS = 2


@dataclass
class ForwardPass:
    """The forward pass that is going on.

    ``kinds`` (tokens,) has an index of ``OBSERVED_MODALITIES`` per token, row by row; it is
    ``None`` outside of a pass. ``on_begin`` is called when a pass has begun. ``depth`` counts the
    models that run inside each other, a language model in a vision-language model for instance:
    only the outermost one is given all tokens as they are.
    """

    on_begin: Callable[[ForwardPass], None]
    depth: int = 0
    phase: Phase = "prefill"
    kinds: Tensor | None = None

    def begin(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], image_ids: Sequence[int]
    ) -> None:
        """Note what each token of the coming forward pass is, unless it is inside another."""
        self.depth += 1
        tokens = _tokens_of(args, kwargs)
        if self.depth > 1 or tokens is None:
            return
        self.phase = phase_of(args, kwargs)
        self.kinds = _kinds(tokens, kwargs.get("attention_mask"), image_ids)
        self.on_begin(self)

    def end(self) -> None:
        """Forget the forward pass that ends."""
        self.depth -= 1
        if self.depth == 0:
            self.phase, self.kinds = "prefill", None

    def is_image(self, like: Tensor) -> Tensor:
        """Tell which rows of ``like`` (tokens, ...) are image tokens: booleans (tokens,).

        Raises ``OverrideError`` where the rows are not the tokens that the model was given.
        """
        if self.kinds is None or self.kinds.numel() != len(like):
            message = (
                "Image and text tokens cannot be told apart in this forward pass, because the "
                "experts get other rows than the model was given. Use an experts_k that is the "
                "same for text and image."
            )
            raise OverrideError(message)
        return (self.kinds == IMAGE).to(like.device)


@contextmanager
def track_forward_passes(
    model: nn.Module, layers: Iterable[str], on_begin: Callable[[ForwardPass], None]
) -> Iterator[ForwardPass]:
    """Follow the forward passes of a model while the block runs, then take all hooks off again.

    A pass may start at the model or at a model inside it that holds one of ``layers``, the paths
    of MoE layers. It must be called as a module (``model(...)`` or ``generate``). Raises
    ``MeasurementError`` where the names that tell phases and modalities apart are not known.
    """
    paths = list(layers)
    if paths:
        require_known_names(model)
    forward_pass = ForwardPass(on_begin)
    with ExitStack() as hooks:
        for module in _entrances(model, paths):
            _watch_entrance(module, forward_pass, hooks)
        yield forward_pass


def phase_of(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Phase:
    """Tell the phase of a forward pass from the arguments that the model is called with.

    It is decode when a non-empty KV cache lies behind it and each row brings one new token; else
    it is prefill, which takes in a later part of a long prompt and the check of drafted tokens.
    """
    tokens = _tokens_of(args, kwargs)
    if tokens is None or tokens.shape[1] != 1:
        return "prefill"
    cache = cache_among(args, kwargs)
    return "decode" if cache is not None and _is_filled(cache) else "prefill"


def _entrances(model: nn.Module, layers: Sequence[str]) -> list[nn.Module]:
    """List where a forward pass may start: the model, and the models inside it with MoE layers."""
    from transformers import PreTrainedModel

    inner = (
        module
        for path, module in model.named_modules()
        if path and isinstance(module, PreTrainedModel)
        if any(layer.startswith(f"{path}.") for layer in layers)
    )
    return [model, *inner]


def _watch_entrance(module: nn.Module, forward_pass: ForwardPass, hooks: ExitStack) -> None:
    image_ids = image_token_ids(getattr(module, "config", None))

    def before(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        forward_pass.begin(args, kwargs, image_ids)

    def after(_module: nn.Module, _args: tuple[Any, ...], _output: Any) -> None:  # noqa: ANN401  (any output)
        forward_pass.end()

    hooks.callback(module.register_forward_pre_hook(before, with_kwargs=True).remove)
    # Also called when the forward pass fails, so that the next one is not taken for an inner one.
    hooks.callback(module.register_forward_hook(after, always_call=True).remove)


def _tokens_of(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor | None:
    """Find the new tokens among a model's arguments: ids (rows, tokens), or their embeddings."""
    import torch

    named = (kwargs.get(key) for key in TOKENS)
    found = [value for value in named if isinstance(value, torch.Tensor)]
    found += [a for a in args[:1] if isinstance(a, torch.Tensor) and not a.is_floating_point()]
    return next((tokens for tokens in found if tokens.dim() >= ROWS_BY_TOKENS), None)


def _kinds(tokens: Tensor, mask: object, image_ids: Sequence[int]) -> Tensor:
    import torch

    kinds = torch.zeros(tokens.shape[:2], dtype=torch.long, device=tokens.device)
    if not tokens.is_floating_point():
        for token_id in image_ids:
            kinds.masked_fill_(tokens == token_id, IMAGE)
    if isinstance(mask, torch.Tensor) and mask.dim() == ROWS_BY_TOKENS:
        present = mask[:, -kinds.shape[1] :].to(kinds.device)
        if present.shape == kinds.shape:
            kinds.masked_fill_(present == 0, PADDING)
    return kinds.flatten()


def _is_filled(cache: Any) -> bool:  # noqa: ANN401  (the caches of transformers share no base)
    """Tell whether a cache holds the states of earlier tokens, without waiting for the device."""
    import torch

    if not hasattr(cache, "get_seq_length"):
        return bool(cache) and cache[0] is not None
    try:
        length = cache.get_seq_length()
    except ValueError:  # a cache of linear attention alone has a state and no length
        return bool(cache.has_previous_state())
    # A static cache keeps its length on the device, and says 0 as long as it was never used.
    return isinstance(length, torch.Tensor) or length > 0
