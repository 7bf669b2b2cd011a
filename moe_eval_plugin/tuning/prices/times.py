"""Prices in measured time: that of the experts' blocks of each layer at each k.

All k are timed on the same calibration prompts, block by block in a drawn order, as in the timed
pass of a sweep. What a smaller k saves in a layer is the median of the ratios within blocks. The
rest of a pass, image tower and head included, is the same at every k. A pass reads the prompt and
its answer at once, so the times are those of prefill.
"""

from __future__ import annotations

import re
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.experts.module_path import LAYER_NUMBER, layer_number
from moe_eval_plugin.hardware.watch import MachineWatch
from moe_eval_plugin.measure.synchronize import synchronize
from moe_eval_plugin.measure.timing import Clock, read_clock
from moe_eval_plugin.models.moe_layers import find_experts
from moe_eval_plugin.results.timing.speed_checks import load_warnings
from moe_eval_plugin.stats.interleaved import block_order, is_precise
from moe_eval_plugin.stats.speed import Spread, paired_ratio
from moe_eval_plugin.tuning.cells import Cell
from moe_eval_plugin.tuning.prices.prices import Prices

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from torch import nn

    from moe_eval_plugin.measure.machine_load import MachineLoad
    from moe_eval_plugin.stats.speed import SpeedRatio
    from moe_eval_plugin.tuning.calibration import CalibrationModel, PromptBatch

# Steps of a price: so many make up a pass of the published model.
STEPS = 10_000
# Width of the interval of a speed-up of all layers together at which timing ends, as a share.
PRECISION = 0.03
NOISY = 0.1
BUDGET_S = 60.0
MOST_BATCHES = 4


@dataclass
class LayerTimes:
    """Seconds of each pass over a block of prompts, by k: of each layer's experts, and in total."""

    by_layer: dict[tuple[int, int], list[float]] = field(default_factory=dict)
    """Seconds by (layer, k), one for each block."""
    total: dict[int, list[float]] = field(default_factory=dict)
    """Seconds of whole passes by k, one for each block."""
    loads: list[MachineLoad] = field(default_factory=list)
    """What else the machine did in each block."""

    def add(self, k: int, of_layers: Mapping[int, float], total: float) -> None:
        """Add the seconds of a block at one k."""
        for layer, seconds in of_layers.items():
            self.by_layer.setdefault((layer, k), []).append(seconds)
        self.total.setdefault(k, []).append(total)

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers that were timed."""
        return tuple(dict.fromkeys(layer for layer, _ in self.by_layer))

    def speed_up(self, k: int, baseline: int) -> SpeedRatio:
        """Return the speed-up of the experts of all layers together."""
        at_k, at_baseline = (self._of_all_layers(one) for one in (k, baseline))
        return paired_ratio(at_k, at_baseline, repeated_looks=True)

    def _of_all_layers(self, k: int) -> list[float]:
        by_block = zip(*(self.by_layer[layer, k] for layer in self.layers), strict=True)
        return [sum(of_layers) for of_layers in by_block]


def measure_times(
    model: CalibrationModel,
    batches: Sequence[PromptBatch],
    run: Callable[[PromptBatch], object],
    ks: Sequence[int],
    *,
    seed: int = 0,
    after_block: Callable[[], object] = lambda: None,
    clock: Clock = read_clock,
) -> LayerTimes:
    """Time the experts of each layer at each k and at the published one, on a few batches.

    ``run`` puts a batch to the model. The k that tokens use is verified first, and the first block
    is a warm-up. It ends when the speed-up of all layers is precise at every k, or after a minute.
    ``clock`` returns seconds. Raises ``DataError`` where no experts are found in numbered layers,
    and ``OverrideNotEffectiveError``.
    """
    baseline = model.config.description.num_experts_per_tok
    chosen = list(batches[:MOST_BATCHES])
    device = str(next(model.module.parameters()).device)
    requests = {str(k): model.config.request(k) for k in (*ks, baseline)}
    for request in requests.values():
        model.at_k.set(request)
        model.at_k.verify(lambda: run(chosen[0]), chosen[0].n_rows)
    times, watch, began, number = LayerTimes(), MachineWatch(device), clock(), 0
    with _timed(model.module, device, clock) as timer:
        while not _is_done(times, ks, baseline, clock() - began):
            watch.start()
            for name in block_order(list(requests), number, seed):
                model.at_k.set(requests[name])
                timer.clear()
                for batch in chosen:
                    run(batch)
                if number:  # The first one is a warm-up.
                    times.add(int(name), timer.of_layers, timer.total)
            if number:
                times.loads.append(watch.load())
            number += 1
            after_block()
    return times


def time_prices(times: LayerTimes, ks: Sequence[int], baseline: int) -> Prices:
    """Return the prices that these times make: medians of blocks, in 1/10,000 of a pass."""
    seconds: dict[tuple[Cell, int], float] = {}
    spreads = {}
    for layer in times.layers:
        at_baseline = times.by_layer[layer, baseline]
        for k in (*ks, baseline):
            at_k = times.by_layer[layer, k]
            ratio = median(a / b for a, b in zip(at_k, at_baseline, strict=True))
            seconds[Cell(layer), k] = ratio * median(at_baseline)
            spreads[Cell(layer), k] = Spread.of(at_k)
    of_layers = sum(seconds[Cell(layer), baseline] for layer in times.layers)
    rest = max(median(times.total[baseline]) - of_layers, 0.0)
    step = (of_layers + rest) / STEPS
    return Prices(
        unit="time",
        baseline=baseline,
        by_cell={key: round(one / step) for key, one in seconds.items()},
        fixed=rest / step,
        step=step,
        spreads={key: spread for key, spread in spreads.items() if spread},
        notes=tuple(_notes(times, ks, baseline)),
    )


def _is_done(times: LayerTimes, ks: Sequence[int], baseline: int, seconds: float) -> bool:
    if not times.total:
        return False
    return seconds >= BUDGET_S or is_precise((times.speed_up(k, baseline) for k in ks), PRECISION)


def _notes(times: LayerTimes, ks: Sequence[int], baseline: int) -> Iterator[str]:
    """Yield how far the times are to be trusted, a sentence each."""
    n = len(times.total[baseline])
    least = times.speed_up(min(ks), baseline)
    yield f"The experts of all layers are {least.text} as fast at k={min(ks)}, timed {n} times."
    noisy = [k for k in ks if (times.speed_up(k, baseline).width or 1.0) > NOISY]
    if noisy:
        which = ", ".join(map(str, noisy))
        yield (
            f"The machine is too noisy to price k={which}: its speed-up is not known to within "
            f"{NOISY:.0%}. Schedules priced by these times may be slower than they say; repeat on "
            "a quiet machine, or use --unit flops."
        )
    yield from load_warnings(times.loads)


class _Timer:
    """Seconds since ``clear`` of the timed modules, by layer, and of whole passes."""

    def __init__(self, clock: Clock, device: str) -> None:
        self._clock, self._device = clock, device
        self._began: dict[nn.Module, float] = {}
        self.clear()

    def clear(self) -> None:
        self.of_layers: dict[int, float] = {}
        self.total = 0.0

    def begin(self, module: nn.Module) -> None:
        synchronize(self._device)
        self._began[module] = self._clock()

    def end(self, module: nn.Module, layer: int | None) -> None:
        synchronize(self._device)
        seconds = self._clock() - self._began.pop(module)
        if layer is None:
            self.total += seconds
        else:
            self.of_layers[layer] = self.of_layers.get(layer, 0.0) + seconds


@contextmanager
def _timed(model: nn.Module, device: str, clock: Clock) -> Iterator[_Timer]:
    """Time the model and the blocks of its layers that hold experts, while the block runs."""
    timer = _Timer(clock, device)
    timed: list[tuple[nn.Module, int | None]] = [(model, None), *_blocks(model)]
    with ExitStack() as hooks:
        for module, layer in timed:

            def before(module: nn.Module, _args: object) -> None:
                timer.begin(module)

            def after(module: nn.Module, _args: object, _output: object, layer=layer) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
                timer.end(module, layer)

            hooks.callback(module.register_forward_pre_hook(before).remove)
            hooks.callback(module.register_forward_hook(after).remove)
        yield timer


def _blocks(model: nn.Module) -> list[tuple[nn.Module, int]]:
    """Return the parts of decoder layers that hold experts, each with the number of its layer.

    A part is what the layer itself calls: the block of router and experts in most families.
    """
    found: dict[str, int] = {}
    for path in find_experts(model):
        match = LAYER_NUMBER.search(path)
        if match is not None and (layer := layer_number(path)) is not None:
            inside = re.match(r"\.[^.]+", path[match.end() :])
            found[path[: match.end()] + (inside[0] if inside else "")] = layer
    if not found:
        message = (
            "No experts were found in numbered layers, so their time cannot be measured by layer. "
            "Use --unit experts."
        )
        raise DataError(message)
    return [(model.get_submodule(path), layer) for path, layer in found.items()]
