"""Phase (prefill, decode) and token kinds (text, image, padding) of a forward pass.

A pass over prompts with their answers, a teacher-forced one, has tokens of both phases: inside
``answers_from``, the tokens of the answers count as decoded.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from moe_eval_plugin.errors import OverrideError
from moe_eval_plugin.experts.tokens import IMAGE, PADDING, ObservedModality, Phase
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
# Set on a model while its inputs end with answers: the column in which all answers begin.
ANSWERS_FROM = "_moe_eval_answers_from"


class KByKind(NamedTuple):
    """The k of each kind of token in one pass of a layer; its router holds the largest."""

    text: int
    image: int
    answer: int


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
    is_answer: Tensor | None = None
    """Which tokens count as decoded, row by row (tokens,); ``None``: all are of ``phase``."""

    def begin(
        self,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        image_ids: Sequence[int],
        answers_from: int | None = None,
    ) -> None:
        """Set phase and token kinds for the pass that begins, unless it is inside another.

        ``answers_from`` is the column in which answers begin, if the tokens end with answers.
        """
        self.depth += 1
        tokens = _tokens_of(args, kwargs)
        if self.depth > 1 or tokens is None:
            return
        self.phase = phase_of(args, kwargs)
        self.tokens, self.mask = tokens, kwargs.get("attention_mask")
        self.token_kinds = _token_kinds(tokens, self.mask, image_ids)
        if answers_from is not None and self.phase == "prefill":
            self.is_answer = _is_answer(tokens, answers_from)
        self.on_begin(self)

    def end(self) -> None:
        """Reset the state when the outermost pass ends."""
        self.depth -= 1
        if self.depth == 0:
            self.phase, self.token_kinds, self.is_answer = "prefill", None, None
            self.tokens, self.mask = None, None

    def tokens_of_rows(
        self, like: Tensor, modality: ObservedModality | None = None
    ) -> Tensor | None:
        """Return the token of each row of ``like``, (rows,), as far as rows and tokens match.

        The rows of a layer that serves one ``modality`` alone are the tokens of this modality in
        their order; padding counts as text. ``None`` outside of a pass, and for other rows.
        """
        import torch

        kinds, n_rows = self.token_kinds, len(like)
        if kinds is None:
            return None
        if kinds.numel() == n_rows:
            return torch.arange(n_rows, device=like.device)
        if kinds.numel() < n_rows or modality is None:
            return None
        # Picking rows by a mask would wait for their number, which the layer's input has anyway.
        is_other = (kinds == IMAGE) != (modality == "image")
        return is_other.long().argsort(stable=True)[:n_rows].to(like.device)

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

    def is_of_answer(self, like: Tensor, modality: ObservedModality | None = None) -> Tensor:
        """Return which rows of ``like`` (rows, ...) are tokens of answers: booleans (rows,).

        The rows are as in ``tokens_of_rows``. Raises ``OverrideError`` where they are not tokens
        of a pass with answers.
        """
        tokens = self.tokens_of_rows(like, modality)
        if self.is_answer is None or tokens is None:
            message = (
                "Prompts and answers cannot be distinguished in this forward pass, because the "
                "experts are called with other rows than the model's input tokens. Use an "
                "experts_k that is the same in prefill and decode."
            )
            raise OverrideError(message)
        return self.is_answer.to(like.device)[tokens]


@contextmanager
def answers_from(model: nn.Module, column: int) -> Iterator[None]:
    """Count the tokens from a column on as decoded, in the passes of the block.

    A pass computes for each of them what a decode step would: it sees the tokens before it.
    """
    setattr(model, ANSWERS_FROM, column)
    try:
        yield
    finally:
        delattr(model, ANSWERS_FROM)


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
        forward_pass.begin(args, kwargs, image_ids, getattr(module, ANSWERS_FROM, None))

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


def _is_answer(tokens: Tensor, answers_from: int) -> Tensor:
    import torch

    columns = torch.arange(tokens.shape[1], device=tokens.device)
    return (columns >= answers_from).expand(tokens.shape[:2]).flatten()


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
