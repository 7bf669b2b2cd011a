"""Notice logits that are not numbers, and find the module that computed the first ones."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor, nn

NEVER = 2**31 - 1


def rows_not_finite(logits: Tensor) -> Tensor:
    """Return for each row of logits (rows, vocabulary) whether it ranks no token.

    So it is with NaN and positive infinity. Some models exclude tokens by negative infinity; only a
    row of nothing else is refused.
    """
    return ~logits.amax(-1).isfinite()


class LogitsWatch:
    """Notes in which step each row of a batch first had logits that are not finite.

    It stays on the device: nothing waits for it before ``first_steps``.
    """

    def __init__(self) -> None:
        self._first: Tensor | None = None
        self._step = 0

    def see(self, _module: nn.Module, _args: Any, output: Any) -> None:  # noqa: ANN401
        """Check the output of one call of the model; a hook."""
        logits = getattr(output, "logits", None)
        if not isinstance(logits, torch.Tensor) or logits.dim() != 3:  # noqa: PLR2004
            return
        last = logits[:, -1]
        bad = rows_not_finite(last)
        if self._first is None or len(self._first) != len(bad):
            self._first = torch.full((len(bad),), NEVER, device=bad.device)
        self._first = torch.where(bad, self._first.clamp(max=self._step), self._first)
        # To draw a token from NaN ends the process on a GPU. There, writing all rows costs less
        # than waiting to learn whether one is bad; on a CPU that costs more than the whole check.
        if bad.device.type != "cpu" or bad.any():
            last.masked_fill_(bad[:, None], 0)
        self._step += 1

    def first_steps(self, n_rows: int) -> list[int]:
        """Return for each answer the first step (0 is prefill) that was not finite, or ``NEVER``.

        With beam search, an answer has several rows.
        """
        if self._first is None or len(self._first) % n_rows:
            return [NEVER] * n_rows
        steps: list[int] = self._first.reshape(n_rows, -1).amin(-1).tolist()
        return steps


@contextmanager
def watch_logits(model: nn.Module) -> Iterator[LogitsWatch]:
    """Watch the logits of a model while the block runs."""
    watch = LogitsWatch()
    hook = model.register_forward_hook(watch.see)
    try:
        yield watch
    finally:
        hook.remove()


def first_not_finite(model: nn.Module, run: Callable[[], object]) -> str | None:
    """Return the path of the first module whose output has NaN or infinity while ``run`` runs.

    ``None`` where no module's has. Each output is waited for, so this is for a model that is known
    to be at fault.
    """
    found: list[str] = []

    def look(path: str) -> Callable[..., None]:
        def see(_module: nn.Module, _args: Any, output: Any) -> None:  # noqa: ANN401
            if not found and not all(bool(one.isfinite().all()) for one in _tensors(output)):
                found.append(path)

        return see

    with ExitStack() as hooks:
        for path, module in model.named_modules():
            if path:
                hooks.callback(module.register_forward_hook(look(path)).remove)
        run()
    return found[0] if found else None


def _tensors(output: Any) -> Iterator[Tensor]:  # noqa: ANN401  (whatever a module returns)
    if isinstance(output, torch.Tensor):
        if output.is_floating_point():
            yield output
    elif isinstance(output, list | tuple):
        for one in output:
            yield from _tensors(one)
    elif isinstance(output, dict):
        yield from _tensors(list(output.values()))


def describe_fault(name: str, n_bad: int, path: str | None = None) -> str:
    """Return what is said of a model that computes NaN or infinity."""
    where = f" The first module whose output is not finite is {path}." if path else ""
    return (
        f"{name} computes NaN or infinity: after {n_bad} of the prompts that verify k, its logits "
        f"rank no token.{where} No answer of it would be the model's. float16 is too small for "
        "some models: pass dtype=bfloat16 or dtype=float32. Otherwise compare the weights with "
        "the published ones."
    )
