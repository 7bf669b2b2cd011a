"""Phase (prefill, decode) and token kinds (text, image, padding) of a forward pass."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import OverrideError
from moe_eval_plugin.experts.tokens import IMAGE, PADDING, Phase
from moe_eval_plugin.models.releases.names import (
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
    """State of the current forward pass: phase and kind of each token.

    Models run inside each other, a language model in a vision-language model for instance. Only
    the outermost one is called with all tokens as they are, so its arguments decide.
    """

    on_begin: Callable[[ForwardPass], None]
    """Called with this object when the outermost pass begins."""
    depth: int = 0
    """How many models are running inside each other; 0 outside of a pass."""
    phase: Phase = "prefill"
    """Phase of the pass; ``prefill`` outside of one."""
    tokens: Tensor | None = None
    """New tokens: ids (rows, tokens), or embeddings (rows, tokens, hidden); ``None`` outside."""
    mask: object = None
    """Attention mask among the arguments; most have (rows, tokens), earlier ones included."""
    token_kinds: Tensor | None = None
    """Index of ``OBSERVED_MODALITIES`` of each token, row by row (tokens,); ``None`` outside."""
    is_counted: bool = True
    """Whether an observer counts this pass."""

    def begin(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], image_ids: Sequence[int]
    ) -> None:
        """Set phase and token kinds for the pass that begins, unless it is inside another."""
        self.depth += 1
        tokens = _tokens_of(args, kwargs)
        if self.depth > 1 or tokens is None:
            return
        self.phase = phase_of(args, kwargs)
        self.tokens, self.mask = tokens, kwargs.get("attention_mask")
        self.token_kinds = _token_kinds(tokens, self.mask, image_ids)
        self.on_begin(self)

    def end(self) -> None:
        """Reset the state when the outermost pass ends."""
        self.depth -= 1
        if self.depth == 0:
            self.phase, self.token_kinds = "prefill", None
            self.tokens, self.mask = None, None

    def is_image(self, like: Tensor) -> Tensor:
        """Return which rows of ``like`` (tokens, ...) are image tokens: booleans (tokens,).

        Raises ``OverrideError`` where the rows are not the tokens of the model's input.
        """
        if self.token_kinds is None or self.token_kinds.numel() != len(like):
            message = (
                "Image and text tokens cannot be distinguished in this forward pass, because the "
                "experts are called with other rows than the model's input tokens. Use an "
                "experts_k that is the same for text and image."
            )
            raise OverrideError(message)
        return (self.token_kinds == IMAGE).to(like.device)


@contextmanager
def track_forward_passes(
    model: nn.Module, layers: Iterable[str], on_begin: Callable[[ForwardPass], None]
) -> Iterator[ForwardPass]:
    """Track the forward passes of a model while the block runs, then remove all hooks.

    A pass may start at the model or at a model inside it that holds one of ``layers``, the paths
    of MoE layers. It must be called as a module (``model(...)`` or ``generate``). Raises
    ``MeasurementError`` where the arguments that decide phase and modality have unknown names.
    """
    paths = list(layers)
    if paths:
        require_known_names(model)
    forward_pass = ForwardPass(on_begin)
    with ExitStack() as hooks:
        for module in _entry_models(model, paths):
            _track_entry(module, forward_pass, hooks)
        yield forward_pass


def phase_of(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Phase:
    """Return the phase of a forward pass, from the arguments of the model's call.

    It is decode if a non-empty KV cache is passed and each row has one new token; else it is
    prefill, which includes later parts of a long prompt and the check of drafted tokens.
    """
    tokens = _tokens_of(args, kwargs)
    if tokens is None or tokens.shape[1] != 1:
        return "prefill"
    cache = cache_among(args, kwargs)
    return "decode" if cache is not None and _is_filled(cache) else "prefill"


def _entry_models(model: nn.Module, layers: Sequence[str]) -> list[nn.Module]:
    """List where a forward pass may start: the model, and the models inside it with MoE layers."""
    from transformers import PreTrainedModel

    inner = (
        module
        for path, module in model.named_modules()
        if path and isinstance(module, PreTrainedModel)
        if any(layer.startswith(f"{path}.") for layer in layers)
    )
    return [model, *inner]


def _track_entry(module: nn.Module, forward_pass: ForwardPass, hooks: ExitStack) -> None:
    image_ids = image_token_ids(getattr(module, "config", None))

    def before(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        forward_pass.begin(args, kwargs, image_ids)

    def after(_module: nn.Module, _args: tuple[Any, ...], _output: Any) -> None:  # noqa: ANN401  (any output)
        forward_pass.end()

    hooks.callback(module.register_forward_pre_hook(before, with_kwargs=True).remove)
    # Also called when the forward pass fails, so that the next one does not count as an inner one.
    hooks.callback(module.register_forward_hook(after, always_call=True).remove)


def _tokens_of(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor | None:
    """Return the new tokens among a model's arguments: ids (rows, tokens), or embeddings."""
    import torch

    named = (kwargs.get(key) for key in TOKENS)
    found = [value for value in named if isinstance(value, torch.Tensor)]
    found += [a for a in args[:1] if isinstance(a, torch.Tensor) and not a.is_floating_point()]
    return next((tokens for tokens in found if tokens.dim() >= ROWS_BY_TOKENS), None)


def _token_kinds(tokens: Tensor, mask: object, image_ids: Sequence[int]) -> Tensor:
    import torch

    token_kinds = torch.zeros(tokens.shape[:2], dtype=torch.long, device=tokens.device)
    if not tokens.is_floating_point():
        for token_id in image_ids:
            token_kinds.masked_fill_(tokens == token_id, IMAGE)
    if isinstance(mask, torch.Tensor) and mask.dim() == ROWS_BY_TOKENS:
        present = mask[:, -token_kinds.shape[1] :].to(token_kinds.device)
        if present.shape == token_kinds.shape:
            token_kinds.masked_fill_(present == 0, PADDING)
    return token_kinds.flatten()


def _is_filled(cache: Any) -> bool:  # noqa: ANN401  (the caches of transformers share no base)
    """Whether a cache holds the states of earlier tokens, without waiting for the device."""
    import torch

    if not hasattr(cache, "get_seq_length"):
        return bool(cache) and cache[0] is not None
    try:
        length = cache.get_seq_length()
    except ValueError:  # a cache of linear attention alone has a state and no length
        return bool(cache.has_previous_state())
    # A static cache keeps its length on the device, and returns the integer 0 until it is used.
    return isinstance(length, torch.Tensor) or length > 0
