"""The cost of a model at several k, for one scenario: context length, batch sizes, data type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.models.dtypes import DTYPE_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moe_eval_plugin.models.cost_model import LanguageModelCost
    from moe_eval_plugin.models.parameters import ParameterCounts


@dataclass(frozen=True)
class Scenario:
    """What the cost is worked out for: tokens in a sequence, sequences at once, a data type.

    ``dtype`` is that of weights and cache in memory; ``None`` takes the one of the configuration.
    Raises ``InvalidArgumentError`` for a length or a batch size below 1, or an unknown ``dtype``.
    """

    context_length: int = 1024
    batch_sizes: tuple[int, ...] = (1, 8, 64)
    dtype: str | None = None

    def __post_init__(self) -> None:
        if self.context_length < 1:
            message = f"context={self.context_length} is not possible. Use 1 or more tokens."
            raise InvalidArgumentError(message)
        if min(self.batch_sizes, default=0) < 1:
            given = " ".join(map(str, self.batch_sizes)) or "nothing"
            message = f"batch_sizes={given} is not possible. Use one or more numbers from 1."
            raise InvalidArgumentError(message)
        if self.dtype is not None and self.dtype not in DTYPE_BYTES:
            message = f"dtype={self.dtype} is not known. Use one of {', '.join(DTYPE_BYTES)}."
            raise InvalidArgumentError(message)


@dataclass(frozen=True)
class DecodeStep:
    """One step of decoding a batch, at some k.

    It reads between ``least_bytes`` (all tokens choose the same experts) and ``most_bytes`` (they
    share none), ``None`` where the data type is not known. ``speedup_ceiling`` bounds the gain
    against the baseline by bytes; ``None`` above the baseline.
    """

    batch_size: int
    least_bytes: int | None
    most_bytes: int | None
    speedup_ceiling: float | None


@dataclass(frozen=True)
class CostAtK:
    """What a token costs at k routed experts per MoE layer; ``None`` where it is not known.

    FLOPs are those of the language model for one token: on average over a prompt, and for one new
    token after it.
    """

    num_experts_per_tok: int
    active_parameters: int
    prefill_flops_per_token: int | None
    decode_flops_per_token: int | None
    prefill_speedup_ceiling: float | None
    decode_steps: tuple[DecodeStep, ...]


def costs_at_k(
    counts: ParameterCounts,
    cost: LanguageModelCost | None,
    ks: Sequence[int],
    baseline: int,
    scenario: Scenario,
    bytes_per_number: int | None,
) -> tuple[CostAtK, ...]:
    """Work out what a token costs at each of some k, and the ceilings against the baseline.

    ``cost`` and ``bytes_per_number`` may be unknown; what follows from them is ``None`` then.
    """
    if cost is None:
        return tuple(CostAtK(k, counts.active(k), None, None, None, ()) for k in ks)
    n = scenario.context_length
    return tuple(
        CostAtK(
            num_experts_per_tok=k,
            active_parameters=counts.active(k),
            prefill_flops_per_token=round(cost.prefill_flops(k, n).total),
            decode_flops_per_token=round(cost.decode_flops(k, n).total),
            prefill_speedup_ceiling=cost.prefill_ceiling(k, baseline, n) if k <= baseline else None,
            decode_steps=tuple(
                _decode_step(cost, (k, baseline), batch_size, n, bytes_per_number)
                for batch_size in scenario.batch_sizes
            ),
        )
        for k in ks
    )


def _decode_step(
    cost: LanguageModelCost,
    k_and_baseline: tuple[int, int],
    batch_size: int,
    context_length: int,
    bytes_per_number: int | None,
) -> DecodeStep:
    k, baseline = k_and_baseline
    least, most = cost.decode_range(k, batch_size, context_length)
    return DecodeStep(
        batch_size=batch_size,
        least_bytes=round(least * bytes_per_number) if bytes_per_number else None,
        most_bytes=round(most * bytes_per_number) if bytes_per_number else None,
        speedup_ceiling=(
            cost.decode_ceiling(k, baseline, batch_size, context_length) if k <= baseline else None
        ),
    )
