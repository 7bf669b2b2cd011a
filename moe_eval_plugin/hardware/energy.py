"""Measure the energy of a device with the counters of its hardware.

NVIDIA GPUs from Volta on count the energy of the whole board (NVML). Intel and AMD processors count
that of each socket, on some servers also of the memory (RAPL, which Linux shows as files). Both
are counters that are read between batches: nothing runs while work is timed. Both count everything
that ran on the device, other processes and idle power too. Without a counter the energy is ``None``
and ``reasons`` say why; it is never estimated from a data sheet.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.hardware import nvml
from moe_eval_plugin.hardware.nvml import NotKnownError
from moe_eval_plugin.measure.hardware_use import NVML, RAPL
from moe_eval_plugin.measure.timing import Clock, read_clock

if TYPE_CHECKING:
    from collections.abc import Callable

POWERCAP = Path("/sys/class/powercap")
# More than any socket takes: decides whether a counter can have wrapped twice between two readings.
MOST_WATTS = 1000.0


@dataclass(frozen=True)
class Counter:
    """One energy counter."""

    name: str
    """What it counts, such as ``cuda:0`` or ``0 package-0``."""
    read: Callable[[], int]
    """Returns its number of steps."""
    joules_per_step: float
    """Energy of one step."""
    range_steps: int | None = None
    """Number of steps after which it wraps to 0; ``None`` if it never does."""

    def joules_between(self, before: int, now: int, elapsed_s: float) -> float:
        """Return the energy between two readings.

        Raises ``NotKnownError`` if the counter was reset, or can have wrapped more than once.
        """
        steps = now - before
        if self.range_steps is None:
            if steps < 0:
                message = f"the energy counter of {self.name} was reset while it was used"
                raise NotKnownError(message)
            return steps * self.joules_per_step
        steps %= self.range_steps
        once_more = (steps + self.range_steps) * self.joules_per_step
        if once_more <= MOST_WATTS * elapsed_s:
            message = (
                f"the energy counter of {self.name} was not read for {elapsed_s:.0f} s, in which "
                "it can have wrapped more than once; read it after each batch"
            )
            raise NotKnownError(message)
        return steps * self.joules_per_step


@dataclass(frozen=True)
class Instrument:
    """Counters that are read together and added up, with their resolution in words."""

    source: str
    resolution: str
    counters: tuple[Counter, ...]


class EnergyMeter:
    """Measures the energy of a device since it was made, or since ``start``; it never raises.

    ``device`` is a name of torch: ``cpu``, ``cuda:1`` for one GPU, ``cuda`` for all visible ones.
    """

    def __init__(
        self, device: str, *, powercap: Path = POWERCAP, clock: Clock = read_clock
    ) -> None:
        self._clock = clock
        self._instrument: Instrument | None = None
        self._reasons: list[str] = []
        try:
            self._instrument = _instrument(device, powercap)
        except NotKnownError as error:
            self._reasons.append(str(error))
        self.start()

    @property
    def source(self) -> str | None:
        """``NVML total energy`` or ``RAPL``; ``None`` without a counter."""
        return self._instrument.source if self._instrument else None

    @property
    def resolution(self) -> str | None:
        """Step and refresh rate of the counter, in words."""
        return self._instrument.resolution if self._instrument else None

    @property
    def resolution_joules(self) -> float | None:
        """Energy of one step of the coarsest counter."""
        if self._instrument is None:
            return None
        return max(counter.joules_per_step for counter in self._instrument.counters)

    @property
    def domains(self) -> tuple[str, ...]:
        """What is counted: GPUs, or sockets and their memory."""
        return tuple(c.name for c in self._instrument.counters) if self._instrument else ()

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why energy is not known, each reason once."""
        return tuple(dict.fromkeys(self._reasons))

    def start(self) -> None:
        """Restart at 0 joules."""
        self._total_joules = 0.0
        self._last: tuple[float, list[int]] | None = None
        try:
            self._last = self._read()
        except NotKnownError as error:
            self._reasons.append(str(error))

    def joules(self) -> float | None:
        """Return the joules since ``start``; ``None`` if they are not known.

        Call it after each batch: a RAPL counter wraps within minutes, and the energy is unknown if
        it was not read for too long. It is unknown too if the counter did not move: no device
        works without energy, so the time was too short for its resolution.
        """
        try:
            self._advance()
        except NotKnownError as error:
            self._last = None
            self._reasons.append(str(error))
        if self._last is None:
            return None
        if self._total_joules <= 0:
            self._reasons.append(f"the time was too short for this counter: {self.resolution}")
            return None
        return self._total_joules

    def to_dict(self) -> dict[str, Any]:
        """Return the counters as plain JSON data, without the joules."""
        return {
            "source": self.source,
            "resolution": self.resolution,
            "resolution_joules": self.resolution_joules,
            "domains": list(self.domains),
            "reasons": list(self.reasons),
        }

    def _read(self) -> tuple[float, list[int]] | None:
        if self._instrument is None:
            return None
        return self._clock(), [counter.read() for counter in self._instrument.counters]

    def _advance(self) -> None:
        before, now = self._last, self._read() if self._last else None
        if self._instrument is None or before is None or now is None:
            return
        self._last = now
        self._total_joules += sum(
            counter.joules_between(start, end, now[0] - before[0])
            for counter, start, end in zip(
                self._instrument.counters, before[1], now[1], strict=True
            )
        )


def _instrument(device: str, powercap: Path) -> Instrument:
    device_type = device.partition(":")[0]
    if device_type == "cuda":
        return _nvml(device)
    if device_type == "cpu":
        return _rapl(powercap)
    message = f"the energy of {device_type} devices is not measured"
    raise NotKnownError(message)


def _nvml(device: str) -> Instrument:
    counters = tuple(
        Counter(f"cuda:{index}", nvml.Gpu(index).energy_millijoules, joules_per_step=1e-3)
        for index in nvml.visible(device)
    )
    for counter in counters:
        counter.read()
    resolution = "counts millijoules; the driver refreshes it some ten times a second"
    return Instrument(NVML, resolution, counters)


def _rapl(powercap: Path) -> Instrument:
    """Return the counters of the sockets and their memory; cores are parts of a socket."""
    if not powercap.is_dir():
        message = f"this kernel has no energy counters of the processor: {powercap} does not exist"
        raise NotKnownError(message)
    zones = {zone: _text(zone / "name") for zone in sorted(powercap.glob("intel-rapl:*"))}
    counters = tuple(
        _zone_counter(zone, f"{zone.name.removeprefix('intel-rapl:')} {name}")
        for zone, name in zones.items()
        if name.startswith("package") or name == "dram"
    )
    if not counters:
        message = f"{powercap} has no energy counter of a processor (RAPL)"
        raise NotKnownError(message)
    resolution = (
        "counts microjoules; most processors refresh it every millisecond by some 60 of them"
    )
    return Instrument(RAPL, resolution, counters)


def _zone_counter(zone: Path, name: str) -> Counter:
    range_steps = _number(zone / "max_energy_range_uj")
    if range_steps == 0:
        message = f"{zone} does not say after how many steps its counter wraps"
        raise NotKnownError(message)
    counter = Counter(name, lambda: _number(zone / "energy_uj"), 1e-6, range_steps)
    counter.read()
    return counter


def _number(path: Path) -> int:
    text = _text(path)
    if not text.isdecimal():
        message = f"{path} holds {text!r}, which is not a number"
        raise NotKnownError(message)
    return int(text)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except PermissionError as error:
        message = (
            f"{path} is readable by root only. An administrator can allow it for all users: "
            "`sudo chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj`"
        )
        raise NotKnownError(message) from error
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}"
        raise NotKnownError(message) from error
