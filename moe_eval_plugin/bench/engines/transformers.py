"""Bench engine for transformers: set k of a loaded model, observe it, and time ``generate``."""

from __future__ import annotations

import gc
from collections import defaultdict
from contextlib import ExitStack, contextmanager, nullcontext
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.bench.measurement import Observed, Repetition
from moe_eval_plugin.bench.plan import Workload
from moe_eval_plugin.engines.transformers.loading import refusing_own_code
from moe_eval_plugin.engines.transformers.stopping import OnTokenCallback
from moe_eval_plugin.errors import InsufficientMemoryError, MeasurementError, NotFiniteError
from moe_eval_plugin.experts.observation import distinct_by_layer, mean_load_entropy
from moe_eval_plugin.experts.schedules.schedule import constant_schedule
from moe_eval_plugin.experts.verification import verify
from moe_eval_plugin.hardware import memory
from moe_eval_plugin.hardware.energy import EnergyMeter
from moe_eval_plugin.hardware.memory import free_ram_bytes
from moe_eval_plugin.measure.phases import PhaseRecorder, marks_for
from moe_eval_plugin.measure.synchronize import synchronize
from moe_eval_plugin.measure.timing import LapTimer, read_clock
from moe_eval_plugin.models.architecture import image_tower
from moe_eval_plugin.models.families import describe
from moe_eval_plugin.models.moe_layers import find_moe_layers
from moe_eval_plugin.override import observe as observe_module
from moe_eval_plugin.override.apply import apply
from moe_eval_plugin.override.finite import watch_logits
from moe_eval_plugin.text import gib_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from torch import Tensor, nn

    from moe_eval_plugin.bench.workload.inputs import BenchInputs
    from moe_eval_plugin.experts.description import MoEDescription
    from moe_eval_plugin.experts.schedules.schedule import ResolvedSchedule
    from moe_eval_plugin.measure.phases import Marks
    from moe_eval_plugin.measure.timing import Clock
    from moe_eval_plugin.models.costs.cost_model import LanguageModelCost

# A pass with hooks needs enough steps for a steady mean, not all that are timed.
OBSERVED_NEW_TOKENS = 32
CPU_ALLOCATOR = "DefaultCPUAllocator"


class TransformersEngine:
    """Runs ``generate`` greedily, for exactly the requested number of tokens.

    ``inputs`` makes the prompts; equal workloads get equal ones. ``description`` is that of the
    model as published; ``None`` for one that is never set to another k. ``cost`` holds the size of
    the cache, so that a batch which cannot fit into RAM is refused before Linux kills the process.
    Tests replace ``clock`` and ``marks``.
    """

    changes_k_live = True

    def __init__(
        self,
        model: Any,  # noqa: ANN401  (one of many model classes)
        inputs: BenchInputs,
        description: MoEDescription | None = None,
        cost: LanguageModelCost | None = None,
        clock: Clock = read_clock,
        marks: Marks | None = None,
    ) -> None:
        self._model = model
        self._inputs = inputs
        self._description = description
        self._cost = cost
        self._device = str(model.device)
        devices = {str(parameter.device) for parameter in model.parameters()}
        self._marks = marks or marks_for(devices)
        self._timer = LapTimer(lambda: _wait(devices), clock)
        self._meter = EnergyMeter(self._meter_device(devices), clock=clock)
        self._resolved: ResolvedSchedule | None = None
        self._was_full = False

    def energy(self) -> dict[str, Any]:
        """Describe the instrument that measures joules, as plain data."""
        return self._meter.to_dict()

    @contextmanager
    def at_k(self, experts_k: int | None) -> Iterator[None]:
        """Set k for the duration of the block; ``None`` leaves the model as it is."""
        change: AbstractContextManager[object] = nullcontext()
        if experts_k is not None:
            description = self._description or describe(self._model.config)
            self._resolved = constant_schedule(experts_k).resolve(description)
            change = apply(self._model, self._resolved, description=description)
        try:
            with change:
                yield
        finally:
            self._resolved = None

    def observe(self, workload: Workload) -> Observed:
        """Count the experts of tokens in one pass, and time the MoE layers in another."""
        short = Workload(
            workload.batch_size,
            workload.prompt_tokens,
            min(workload.new_tokens, OBSERVED_NEW_TOKENS),
        )
        with self._memory(short):
            inputs = self._inputs.make(short)
            with observe_module.observe(self._model) as pending, watch_logits(self._model) as watch:
                self._generate(inputs, short.new_tokens)
            seen = pending.result()
            _raise_if_not_finite(watch.first_steps(short.batch_size), short.new_tokens)
            with _time_layers(self._model, self._marks) as spans:
                self._generate(inputs, short.new_tokens)
                _wait({self._device})
        baseline = self._description.num_experts_per_tok if self._description else None
        return Observed(
            verified=verify(self._resolved, baseline, seen),
            decode_distinct_experts=distinct_by_layer(seen, "decode"),
            prefill_distinct_experts=distinct_by_layer(seen, "prefill"),
            load_entropy=mean_load_entropy(seen),
            expert_layer_s=spans.seconds_per_decode_step(),
        )

    def run(self, workload: Workload) -> Repetition:
        """Generate and time; only calls of the whole model are marked."""
        with self._memory(workload):
            inputs = self._inputs.make(workload)
            tower = image_tower(self._model) if self._inputs.has_images else None
            recorder = PhaseRecorder(self._model, tower, self._marks)
            memory.reset_peak_memory(self._device)
            with recorder:
                self._meter.start()
                self._timer.restart()
                recorder.start()
                self._generate(inputs, workload.new_tokens, recorder.token)
                e2e_s = self._timer.lap()
            joules = self._meter.joules()
            phases = recorder.finish()
        if phases.first_token_s is None:
            message = "No token was generated, so there is nothing to time. Report it."
            raise MeasurementError(message)
        return Repetition(
            batch_size=workload.batch_size,
            n_input_tokens=inputs["input_ids"].numel(),
            new_tokens=workload.new_tokens,
            ttft_s=phases.first_token_s,
            e2e_latency_s=e2e_s,
            phases=phases,
            joules=joules,
            peak_memory=memory.peak_memory(self._device),
        )

    def _generate(
        self,
        inputs: dict[str, Tensor],
        new_tokens: int,
        on_token: Callable[[], None] = lambda: None,
    ) -> None:
        """Generate exactly ``new_tokens``. Raises ``MeasurementError`` for any other number."""
        import torch

        with refusing_own_code(self._model), torch.inference_mode():
            sequences = self._model.generate(
                **inputs,
                min_new_tokens=new_tokens,
                max_new_tokens=new_tokens,
                do_sample=False,
                temperature=None,
                top_p=None,
                top_k=None,
                pad_token_id=self._inputs.pad_token_id,
                stopping_criteria=[OnTokenCallback(on_token)],
            )
        n_new = sequences.shape[1] - inputs["input_ids"].shape[1]
        if n_new != new_tokens:
            message = f"{new_tokens} tokens were requested, but {n_new} generated. Report it."
            raise MeasurementError(message)

    @contextmanager
    def _memory(self, workload: Workload) -> Iterator[None]:
        """Raise ``InsufficientMemoryError`` for the errors of full memory."""
        if self._was_full:
            # Only now: the error itself kept the tensors of its frames alive.
            _free_cached()
            self._was_full = False
        self._require_cache(workload)
        try:
            yield
        except (MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            self._was_full = True
            raise InsufficientMemoryError(_short(error)) from error

    def _require_cache(self, workload: Workload) -> None:
        if self._cost is None or not self._device.startswith("cpu"):
            return
        length = workload.prompt_tokens + workload.new_tokens
        width = next(self._model.parameters()).element_size()
        needed = workload.batch_size * self._cost.cached_numbers(length) * width
        free = free_ram_bytes()
        if needed > free:
            message = (
                f"its cache of keys and values takes {gib_text(needed)}, "
                f"and {gib_text(free)} are free"
            )
            raise InsufficientMemoryError(message)

    def _meter_device(self, devices: set[str]) -> str:
        return self._device if len(devices) == 1 else self._device.partition(":")[0]


class _LayerSpans:
    """Start and end marks of each call of a module with routed experts, in order."""

    def __init__(self, marks: Marks) -> None:
        self._marks = marks
        self._calls: dict[str, list[tuple[Any, Any]]] = defaultdict(list)
        self._begins: dict[str, Any] = {}

    def begin(self, path: str) -> None:
        self._begins[path] = self._marks.mark()

    def end(self, path: str) -> None:
        self._calls[path].append((self._begins.pop(path), self._marks.mark()))

    def seconds_per_decode_step(self) -> float | None:
        """Return the median over decode steps, averaged over layers; the first call is prefill."""
        medians = [
            median(self._marks.seconds(begin, end) for begin, end in calls[1:])
            for calls in self._calls.values()
            if len(calls) > 1
        ]
        return fmean(medians) if medians else None


@contextmanager
def _time_layers(model: nn.Module, marks: Marks) -> Iterator[_LayerSpans]:
    """Mark each call of the modules with routed experts of text tokens."""
    spans = _LayerSpans(marks)
    with ExitStack() as hooks:
        for layer in find_moe_layers(model):
            if layer.modality == "image":
                continue
            module, path = model.get_submodule(layer.path), layer.path
            before = module.register_forward_pre_hook(lambda *_, p=path: spans.begin(p))
            after = module.register_forward_hook(lambda *_, p=path: spans.end(p))
            hooks.callback(before.remove)
            hooks.callback(after.remove)
        yield spans


def _raise_if_not_finite(steps: Sequence[int], new_tokens: int) -> None:
    """Refuse to time NaN: it chooses other experts than numbers do."""
    n_bad = sum(step < new_tokens for step in steps)
    if n_bad:
        message = (
            f"{n_bad} of {len(steps)} sequences have logits that are NaN or infinite, so their "
            "tokens do not choose experts as a model's do. Use dtype=bfloat16 or float32, or "
            "another checkpoint."
        )
        raise NotFiniteError(message)


def _wait(devices: set[str]) -> None:
    for name in devices:
        synchronize(name)


def _is_out_of_memory(error: Exception) -> bool:
    """Whether memory is full: torch's CPU allocator raises a bare ``RuntimeError``."""
    import torch

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return CPU_ALLOCATOR in str(error)


def _short(error: Exception) -> str:
    """Return an allocator's message, without its code location and advice."""
    message = str(error).partition("\n")[0]
    message = message[max(0, message.find(CPU_ALLOCATOR)) :]
    return message.partition(" GPU ")[0].rstrip(". ") or type(error).__name__


def _free_cached() -> None:
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
