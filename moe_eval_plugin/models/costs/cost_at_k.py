"""Cost of a model at several k, for one scenario: context length, batch sizes, data type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.models.weights.dtypes import DTYPE_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moe_eval_plugin.models.costs.cost_model import LanguageModelCost
    from moe_eval_plugin.models.parameters import ParameterCounts


@dataclass(frozen=True)
class Scenario:
    """The conditions of a cost: tokens in a sequence, sequences at once, a data type.

    ``dtype`` is that of weights and cache in memory; ``None`` means that of the configuration.
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
            sizes = " ".join(map(str, self.batch_sizes)) or "nothing"
            message = f"batch_sizes={sizes} is not possible. Use one or more numbers from 1."
            raise InvalidArgumentError(message)
        if self.dtype is not None and self.dtype not in DTYPE_BYTES:
            message = f"dtype={self.dtype} is not known. Use one of {', '.join(DTYPE_BYTES)}."
            raise InvalidArgumentError(message)


@dataclass(frozen=True)
class DecodeStep:
    """One decode step of a batch, at some k.

    It reads between ``least_bytes`` (all tokens choose the same experts) and ``most_bytes`` (they
    share none), ``None`` where the data type is unknown. ``speedup_ceiling`` is the largest
    possible speed-up against the baseline by bytes; ``None`` above the baseline.
    """

    batch_size: int
    least_bytes: int | None
    most_bytes: int | None
    speedup_ceiling: float | None


@dataclass(frozen=True)
class CostAtK:
    """Cost of one token at k routed experts per MoE layer; ``None`` where it is unknown."""

    num_experts_per_tok: int
    """The k of the other fields."""
    active_parameters: int
    """Parameters that serve a token."""
    prefill_flops_per_token: int | None
    """FLOPs of the language model per token of a prompt, on average."""
    decode_flops_per_token: int | None
    """FLOPs of the language model for one new token after the prompt."""
    prefill_speedup_ceiling: float | None
    """Largest possible speed-up of prefill against the baseline; ``None`` above the baseline."""
    decode_steps: tuple[DecodeStep, ...]
    """A decode step at each batch size of the scenario."""


def k_values(baseline: int, num_experts: int) -> list[int]:
    """List the k of a cost table: 1 to the baseline, the powers of two, and all experts."""
    powers = {2**i for i in range(num_experts.bit_length())}
    return sorted({*range(1, baseline + 1), *powers, num_experts})


def costs_at_k(
    counts: ParameterCounts,
    cost: LanguageModelCost | None,
    ks: Sequence[int],
    baseline: int,
    scenario: Scenario,
    bytes_per_number: int | None,
) -> tuple[CostAtK, ...]:
    """Return the cost of a token at each k, with the ceilings of the speed-up over the baseline.

    ``cost`` and ``bytes_per_number`` may be unknown (``None``); what depends on them is ``None``
    then.
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
                _decode_step(cost, k, baseline, batch_size, scenario, bytes_per_number)
                for batch_size in scenario.batch_sizes
            ),
        )
        for k in ks
    )


def _decode_step(
    cost: LanguageModelCost,
    k: int,
    baseline: int,
    batch_size: int,
    scenario: Scenario,
    bytes_per_number: int | None,
) -> DecodeStep:
    n = scenario.context_length
    least, most = cost.decode_range(k, batch_size, n)
    return DecodeStep(
        batch_size=batch_size,
        least_bytes=round(least * bytes_per_number) if bytes_per_number else None,
        most_bytes=round(most * bytes_per_number) if bytes_per_number else None,
        speedup_ceiling=(
            cost.decode_ceiling(k, baseline, batch_size, n) if k <= baseline else None
        ),
    )
