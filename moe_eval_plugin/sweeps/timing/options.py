"""Options of the timed pass; none of them changes an answer."""

from __future__ import annotations

from dataclasses import dataclass

from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.option_values import read_float, read_int, refusal

PRECISION = 0.03
PERCENT = "%"
HUNDRED = 100


@dataclass(frozen=True)
class TimingOptions:
    """When the timed pass ends, and what it times."""

    precision: float = PRECISION
    """Width of each interval, as a share of the speed-up, at which it ends."""
    budget_s: float | None = None
    """Seconds after which it ends; ``None`` is the time of 1,000 questions at each setting."""
    batch_sizes: tuple[int, ...] = ()
    """Batch sizes to time; empty for that of the answering pass."""
    rounds: int | None = None
    """Rounds over engines that hold one k each; ``None`` leaves the number to the engine."""
    seed: int = 0
    """Seed that chooses the questions."""

    @property
    def is_off(self) -> bool:
        """Whether nothing is to be timed."""
        return self.budget_s == 0


def read_precision(name: str, value: object) -> float:
    """Return a width as a share of a speed-up: ``0.03`` and ``3%`` are the same.

    Raises ``InvalidArgumentError`` for what is not above 0 and below 1.
    """
    text = str(value).strip()
    number = text.removesuffix(PERCENT)
    try:
        read = read_float(name, number, above=0)
    except InvalidArgumentError as error:
        raise refusal(name, value, "Use a share such as 0.03, or 3%") from error
    share = read / HUNDRED if text.endswith(PERCENT) else read
    if share >= 1:
        raise refusal(name, value, "Use a share below 1, such as 0.03, or 3%")
    return share


def read_budget(name: str, value: object) -> float | None:
    """Return a number of seconds from 0, or ``None`` for ``auto``."""
    return None if value == "auto" else read_float(name, value, at_least=0)


def read_batch_sizes(name: str, values: tuple[object, ...]) -> tuple[int, ...]:
    """Return whole numbers from 1, each once, the smallest first."""
    return tuple(sorted({read_int(name, value, at_least=1) for value in values}))
