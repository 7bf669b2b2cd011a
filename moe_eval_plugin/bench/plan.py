"""What a bench measures, in which order, and what one generation gave: plain data, no engine."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import InvalidArgumentError, MeasurementError
from moe_eval_plugin.measure.timing import TOLERANCE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from moe_eval_plugin.experts.verification import VerifiedOverride
    from moe_eval_plugin.measure.hardware_use import PeakMemory
    from moe_eval_plugin.measure.timing import PhaseTimes

LEAST_REPEATS = 3
LEAST_NEW_TOKENS = 2
LEAST_IMAGE_SIDE = 16


@dataclass(frozen=True)
class ImagePlan:
    """The images before the text of each prompt: random ones of a size, or files.

    ``size`` is (width, height) in pixels. With ``files`` these are shown, each once per prompt.
    """

    n_images: int = 0
    size: tuple[int, int] = (448, 448)
    files: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.n_images < 0 or min(self.size) < LEAST_IMAGE_SIDE:
            message = (
                f"{self.n_images} images of {self.size[0]}x{self.size[1]} pixels cannot be made. "
                f"Use 0 or more, with sides of {LEAST_IMAGE_SIDE} pixels or more."
            )
            raise InvalidArgumentError(message)
        if self.files and self.n_images not in {0, len(self.files)}:
            message = (
                f"{len(self.files)} image files were given, and {self.n_images} images asked for. "
                "Leave the number out: each file is shown once per prompt."
            )
            raise InvalidArgumentError(message)

    @property
    def count(self) -> int:
        """Images in each prompt."""
        return len(self.files) or self.n_images


@dataclass(frozen=True)
class Workload:
    """One generation: so many sequences at once, text tokens in each prompt, new tokens."""

    batch_size: int
    prompt_tokens: int
    new_tokens: int


@dataclass(frozen=True)
class BenchPlan:
    """What is measured: each k at each batch size, several times over.

    ``experts_k`` holds the k to compare, in this order; ``None`` leaves the model as it is. Prompts
    have ``prompt_tokens`` text tokens, and the image tokens of ``images`` on top. Raises
    ``InvalidArgumentError`` for what cannot be measured.
    """

    experts_k: tuple[int | None, ...] = (None,)
    batch_sizes: tuple[int, ...] = (1, 4, 16)
    prompt_tokens: int = 128
    new_tokens: int = 128
    repeats: int = LEAST_REPEATS
    images: ImagePlan = field(default_factory=ImagePlan)
    seed: int = 0

    def __post_init__(self) -> None:
        _check_list("experts_k", self.experts_k)
        _check_list("batch_sizes", self.batch_sizes)
        _check_least("prompt_tokens", self.prompt_tokens, 1)
        # The first token belongs to the prompt's time: only those behind it are decoded.
        _check_least("new_tokens", self.new_tokens, LEAST_NEW_TOKENS)
        _check_least("repeats", self.repeats, LEAST_REPEATS)
        # A series ends at the first batch that does not fit, so it has to grow.
        object.__setattr__(self, "batch_sizes", tuple(sorted(self.batch_sizes)))

    def workload(self, batch_size: int) -> Workload:
        """Make the workload of a batch size."""
        return Workload(batch_size, self.prompt_tokens, self.new_tokens)

    @property
    def n_steps(self) -> int:
        """Generations in all: an observation, a warm-up and the repeats of each point."""
        return len(self.experts_k) * len(self.batch_sizes) * (2 + self.repeats)

    def points(self) -> Iterator[BenchSetting]:
        """Give each point, in the order of observation."""
        for k in self.experts_k:
            for batch_size in self.batch_sizes:
                yield BenchSetting(k, batch_size)

    def to_dict(self) -> dict[str, Any]:
        """Give the plan as plain data, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True, order=True)
class BenchSetting:
    """One combination that is measured; ``experts_k`` is ``None`` for a model as it is."""

    experts_k: int | None
    batch_size: int

    def __str__(self) -> str:
        k = "" if self.experts_k is None else f"k={self.experts_k}, "
        return f"{k}batch {self.batch_size}"


@dataclass(frozen=True)
class Observed:
    """What the pass with hooks saw at one point, before anything was timed.

    ``decode_distinct_experts`` and ``prefill_distinct_experts`` tell for each routed layer of the
    decoder how many experts a forward pass touched, on average; empty where they were not seen.
    ``load_entropy`` is the evenness of the experts' load, 1 if all get the same; averaged over
    layers. ``expert_layer_s`` is the time that the routed experts of one layer take in one decode
    step, from a pass of its own.
    """

    verified: VerifiedOverride
    decode_distinct_experts: tuple[float, ...] = ()
    prefill_distinct_experts: tuple[float, ...] = ()
    load_entropy: float | None = None
    expert_layer_s: float | None = None


@dataclass(frozen=True)
class Repetition:
    """One generation of a whole batch, timed.

    ``ttft_s`` reaches from the call to the first token of every sequence, ``e2e_latency_s`` to
    the last one. ``n_input_tokens`` counts the prompts of all sequences, image tokens included.
    ``joules`` are those of the whole generation. ``request_times`` describes the seconds of single
    requests, part by part, where an engine takes them (``median``, ``p95`` and ``n`` of each). What
    an engine cannot tell is ``None``. Raises ``MeasurementError`` if the device was busy for longer
    than the clock ran.
    """

    batch_size: int
    n_input_tokens: int
    new_tokens: int
    ttft_s: float
    e2e_latency_s: float
    phases: PhaseTimes | None = None
    joules: float | None = None
    peak_memory: PeakMemory | None = None
    request_times: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        busy_s = self.phases.busy_s if self.phases else self.ttft_s
        if max(busy_s, self.ttft_s) > self.e2e_latency_s * (1 + TOLERANCE):
            message = (
                f"A batch of {self.batch_size} kept the device busy for {busy_s:.6f} s, with its "
                f"first token after {self.ttft_s:.6f} s, within {self.e2e_latency_s:.6f} s of wall "
                "time: the clock was read before it had finished, so this run has no times. "
                "Report it, with the device and the versions."
            )
            raise MeasurementError(message)

    @property
    def tpot_s(self) -> float:
        """Seconds for each output token after the first, the work of the host included."""
        return (self.e2e_latency_s - self.ttft_s) / (self.new_tokens - 1)

    @property
    def prefill_s(self) -> float:
        """Seconds of the forward pass over the prompts, without encoding images where known."""
        return self.phases.prefill_s if self.phases else self.ttft_s

    @property
    def prefill_tokens_per_s(self) -> float | None:
        """Tokens of all prompts by the time of prefill."""
        return _rate(self.n_input_tokens, self.prefill_s)

    @property
    def decode_tokens_per_s(self) -> float | None:
        """Tokens of all sequences behind the first, by the time that they took."""
        return _rate(self.batch_size, self.tpot_s)

    @property
    def output_tokens_per_s(self) -> float | None:
        """All new tokens by the time of the whole generation."""
        return _rate(self.batch_size * self.new_tokens, self.e2e_latency_s)

    @property
    def joules_per_output_token(self) -> float | None:
        """Energy of the whole generation, prefill included, for each new token."""
        return None if self.joules is None else self.joules / (self.batch_size * self.new_tokens)

    @property
    def peak_memory_bytes(self) -> int | None:
        """The most that was allocated on the GPUs, or held in RAM by the process without one."""
        return None if self.peak_memory is None else self.peak_memory.used_bytes

    def to_dict(self) -> dict[str, Any]:
        """Give what was measured as plain data, ready for JSON."""
        return asdict(self)


def _rate(count: int, seconds: float) -> float | None:
    return count / seconds if seconds > 0 else None


def _check_list(name: str, values: tuple[int | None, ...]) -> None:
    given = " ".join(map(str, values)) or "nothing"
    wrong = any(value is not None and value < 1 for value in values)
    if not values or wrong or len(set(values)) < len(values):
        message = f"{name}={given} is not possible. Give one or more different numbers from 1."
        raise InvalidArgumentError(message)


def _check_least(name: str, value: int, least: int) -> None:
    if value < least:
        message = f"{name}={value} is not possible. Use {least} or more."
        raise InvalidArgumentError(message)
