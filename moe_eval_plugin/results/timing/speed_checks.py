"""What makes the speeds of a timed pass unreliable, in sentences for the terminal and the page."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from statistics import fmean
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from moe_eval_plugin.measure.machine_load import MachineLoad
    from moe_eval_plugin.results.timing.timed_pass import TimedPass

# Share of the cores that others may use: a timed program that is one thread waits for it rarely.
OTHER_CPU_SHARE = 0.1
# Load average by cores; asked only where the use of others is not known, as it counts this run too.
LOAD_BY_CORES = 1.5
STEAL_SHARE = 0.02
# A GPU at work runs at, or a little below, its largest clock unless power or heat limit it.
GPU_CLOCK_SHARE = 0.7
GPU_CLOCK_SPREAD = 0.1
# A smaller k may well be no faster, so that a difference in the last digit says nothing.
LEAST_SCATTER = 0.02
REPEAT = "Speed intervals are wider for it; repeat on a quiet machine for narrower ones."


@dataclass(frozen=True)
class Implausible:
    """A setting that does less work than another, and came out slower."""

    setting: str
    """Name of the setting that does less work."""
    slower_than: str
    """Name of the setting that does more."""
    scatter: float
    """By how much it was slower, as a share of the other's time: speeds scatter at least so far."""

    def sentence(self, label: Callable[[str], str] = str) -> str:
        """Return it in words; ``label`` maps the name of a setting to the one that people read."""
        return (
            f"{label(self.setting)} came out slower than {label(self.slower_than)} although it "
            f"does less work: speeds here scatter by at least {self.scatter:.0%}."
        )


def load_warnings(loads: Iterable[MachineLoad | None]) -> list[str]:
    """Return what kept the machine busy while the counted blocks were timed, a sentence each."""
    known = [one for one in loads if one is not None]
    found = (_busy(known), _stolen(known), _gpu_clocks(known), _gpu_processes(known))
    return [sentence for sentence in found if sentence]


def implausible_speeds(
    timed: TimedPass, experts_per_token: Mapping[str, float]
) -> list[Implausible]:
    """List the settings that use fewer experts, write no more tokens, and came out slower.

    ``experts_per_token`` maps the name of a setting to its k, the mean of all layers. A setting is
    listed with the one that it contradicts most, and only where the interval of their ratio
    excludes 1, by at least ``LEAST_SCATTER``.
    """
    found: dict[str, Implausible] = {}
    for more, less in permutations(timed.settings, 2):
        if not _does_less(timed, experts_per_token, less, more):
            continue
        ratio = timed.ratio(less, more)
        if ratio is None or ratio.interval is None or ratio.interval.high >= 1:
            continue
        one = Implausible(less, more, 1 / ratio.ratio - 1)
        if one.scatter >= LEAST_SCATTER and (
            less not in found or found[less].scatter < one.scatter
        ):
            found[less] = one
    return list(found.values())


def _does_less(
    timed: TimedPass, experts_per_token: Mapping[str, float], less: str, more: str
) -> bool:
    fewer, most = experts_per_token.get(less), experts_per_token.get(more)
    if fewer is None or most is None or fewer >= most:
        return False
    own, others = _lengths(timed, less), _lengths(timed, more)
    return all(one <= other for one, other in zip(own, others, strict=True))


def _lengths(timed: TimedPass, setting: str) -> tuple[int, int]:
    """Return the output tokens of all answers, and those of the longest answer of each batch.

    A batch takes as many steps as its longest answer.
    """
    batches = [one for block in timed.counted for one in block.batches[setting]]
    longest = sum(max(one.output_tokens, default=0) for one in batches)
    return sum(one.n_output_tokens for one in batches), longest


def _busy(loads: Sequence[MachineLoad]) -> str | None:
    if not loads:
        return None
    n_cores = loads[0].n_cores
    others = _mean(one.other_cpu_cores for one in loads)
    if others is not None:
        if others < OTHER_CPU_SHARE * n_cores:
            return None
        busy = f"other programs kept {others:.1f} of {_cores(n_cores)} busy on average"
        return f"The machine was busy while speeds were measured: {busy}. {REPEAT}"
    load = _mean(one.load_average for one in loads)
    if load is None or load < LOAD_BY_CORES * n_cores:
        return None
    return (
        f"The machine was busy while speeds were measured: load {load:.1f} on {_cores(n_cores)}. "
        f"{REPEAT}"
    )


def _stolen(loads: Sequence[MachineLoad]) -> str | None:
    share = _mean(one.steal_share for one in loads)
    if share is None or share < STEAL_SHARE:
        return None
    return (
        "The hypervisor gave this machine's cores to other machines while speeds were measured: "
        f"{share:.0%} of their time. {REPEAT}"
    )


def _gpu_clocks(loads: Sequence[MachineLoad]) -> str | None:
    shares = [one.gpu_clock_share for one in loads if one.gpu_clock_share is not None]
    if not shares:
        return None
    low, high = min(shares), max(shares)
    if high - low >= GPU_CLOCK_SPREAD:
        return (
            f"The GPU changed its clock while speeds were measured: {low:.0%} to {high:.0%} of its "
            f"largest. {REPEAT}"
        )
    if high < GPU_CLOCK_SHARE:
        return (
            f"The GPU ran at {high:.0%} of its largest clock while speeds were measured: power or "
            "heat limit it, and its full speed is higher. Speed-ups are those of this clock."
        )
    return None


def _gpu_processes(loads: Sequence[MachineLoad]) -> str | None:
    n = max((one.n_other_gpu_processes or 0 for one in loads), default=0)
    if not n:
        return None
    programs = "1 other program" if n == 1 else f"{n} other programs"
    return f"{programs} used the GPU while speeds were measured. {REPEAT}"


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _cores(n: int) -> str:
    return "1 core" if n == 1 else f"{n} cores"
