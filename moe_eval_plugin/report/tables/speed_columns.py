"""The columns of speed, latency, memory and energy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moe_eval_plugin.report.analysis.speed_scope import speed_of
from moe_eval_plugin.report.tables.column import Column
from moe_eval_plugin.report.tables.ratio_columns import MEANING, ratio_columns
from moe_eval_plugin.text import GIB

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from moe_eval_plugin.measure.speed import Distribution, PhaseTotals, TaskSpeed
    from moe_eval_plugin.report.analysis.series_statistics import PointStatistics, SeriesStatistics
    from moe_eval_plugin.report.tables.column import Reader
    from moe_eval_plugin.results.record import RunRecord
    from moe_eval_plugin.stats import Spread

# What a latency counts from: the ending of its name, and the words for it.
LATENCY_STARTS = {
    "preprocessing": ("", "the start of preprocessing"),
    "queue": ("_from_queue", "the entry into vLLM's queue, after images were read"),
    "call": ("_from_call", "the call of the engine"),
}
LATENCIES = {
    "ttft": ("First token", "Time to first token"),
    "e2e_latency": ("Latency", "Time of a whole request"),
}


def _record(read: Callable[[RunRecord], float | None]) -> Reader:
    """Read the median over the runs of a setting."""
    return lambda _, one: one.point.median(read)


def _speed(read: Callable[[TaskSpeed], float | None]) -> Reader:
    """Read the timed pass, or the median over the runs."""
    return lambda _, one: one.measured(read)


def _phase(read: Callable[[PhaseTotals], float | None]) -> Reader:
    return _speed(lambda speed: read(speed.phases) if speed.phases else None)


def _joules(_: SeriesStatistics, one: PointStatistics) -> float | None:
    """Read the joules of a question."""
    if one.batch_size is None:
        return one.point.median(lambda record: record.joules_per_sample)
    timed = one.timed_speed
    joules = timed.hardware.joules if timed else None
    return joules / timed.speed.n_samples if timed and joules and timed.speed.n_samples else None


def _memory(_: SeriesStatistics, one: PointStatistics) -> float | None:
    if one.batch_size is None:
        return one.point.median(lambda record: record.peak_memory_gib)
    peak = one.timed_speed.hardware.peak_memory if one.timed_speed else None
    return peak.used_bytes / GIB if peak else None


def _throughput(_: SeriesStatistics, one: PointStatistics) -> float | None:
    """Read the rate of the answering pass, where it is no speed of requests."""
    is_task = one.batch_size is not None or one.point.first.is_shared
    return one.throughput.median if one.throughput and is_task else None


def _request_rate(_: SeriesStatistics, one: PointStatistics) -> float | None:
    is_task = one.batch_size is None and one.point.first.is_shared
    return None if is_task else one.samples_per_s


def _of_runs(pick: Callable[[Spread], float]) -> Reader:
    """Read the rates of several runs of a series that has no timed pass."""

    def read(_: SeriesStatistics, one: PointStatistics) -> float | None:
        rates = one.throughput if one.batch_size is None else None
        return pick(rates) if rates and rates.n > 1 else None

    return read


def _latencies() -> Iterator[Column]:
    """Yield a column for each latency and each start: different starts never share a column."""
    for start, (key, words) in LATENCY_STARTS.items():
        for name, (heading, what) in LATENCIES.items():
            for column, ending, percentile, pick in (
                (f"{name}{key}_s", "", "median", lambda found: found.median),
                (f"{name}{key}_s_p95", ", 95%", "95th percentile", lambda found: found.p95),
            ):
                meaning = f"{what}, {percentile}; counted from {words}"
                title = f"{heading}{'' if start == 'preprocessing' else f' from {start}'} s{ending}"
                yield Column(column, title, meaning, _latency(f"{name}{key}_s", pick))


def _latency(name: str, pick: Callable[[Distribution], float]) -> Reader:
    def read(speed: TaskSpeed) -> float | None:
        found = speed.latencies.get(name)
        return pick(found) if found else None

    return _speed(read)


SPEED_COLUMNS: tuple[Column, ...] = (
    Column(
        "samples_per_s",
        "Questions/s",
        "Questions per second: of requests in the timed pass, or else of the runs (median)",
        _request_rate,
    ),
    Column(
        "task_samples_per_s",
        "Task throughput, questions/s",
        "Questions per second of the answering pass, which may share images and prompts",
        _throughput,
    ),
    Column(
        "speed_of",
        "Speed of",
        "What rates and wall times cover: timed requests with their inputs, the model alone with "
        "inputs prepared beforehand, inputs and model, or a task whose questions shared images or "
        "contexts",
        lambda _, p: speed_of(p),
    ),
    Column(
        "timed_batch_size",
        "Timed batch size",
        "Batch size of the timed pass",
        lambda _, p: p.batch_size,
    ),
    Column(
        "n_timed_blocks",
        "Timed blocks",
        "Blocks of the timed pass, each with one ratio to the published k",
        lambda _, p: p.timed_speed.n_blocks if p.timed_speed else None,
    ),
    Column(
        "samples_per_s_smallest",
        "slowest",
        "Smallest rate of several runs",
        _of_runs(lambda rates: rates.smallest),
    ),
    Column(
        "samples_per_s_largest",
        "fastest",
        "Largest rate of several runs",
        _of_runs(lambda rates: rates.largest),
    ),
    *ratio_columns(
        "speed_up",
        "Speed-up",
        MEANING,
        lambda p: p.speed_up,
    ),
    Column(
        "speed_up_of_totals",
        "Speed-up, totals",
        "Seconds of the published k over all blocks, divided by those of the setting",
        lambda _, p: p.speed_up.ratio_of_totals if p.speed_up else None,
        2,
    ),
    *ratio_columns(
        "model_speed_up",
        "Speed-up, model alone",
        "Speed-up of the calls of the model, without the preparation of inputs",
        lambda p: p.timed_speed.model_speed_up if p.timed_speed else None,
    ),
    Column(
        "seconds_per_correct_answer",
        "s per correct answer",
        "Wall time divided by the sum of the scores",
        lambda _, p: p.seconds_per_correct,
    ),
    Column(
        "joules_per_correct_answer",
        "J per correct answer",
        "Energy divided by the sum of the scores",
        lambda _, p: p.joules_per_correct,
    ),
    Column(
        "joules_per_sample",
        "J per question",
        "Energy divided by the number of questions",
        _joules,
    ),
    Column(
        "wall_s",
        "Wall time s",
        "Seconds of the slowest process; of the timed pass, all of its blocks",
        _speed(lambda speed: speed.wall_s),
    ),
    Column(
        "output_tokens_per_s",
        "Output tokens/s",
        "Tokens of all answers divided by wall time",
        _speed(lambda speed: speed.output_tokens_per_s),
    ),
    Column(
        "prefill_tokens_per_s",
        "Prefill tokens/s",
        "Tokens of all prompts divided by the time of prefill",
        _speed(lambda speed: speed.prefill_tokens_per_s),
    ),
    Column(
        "decode_tokens_per_s",
        "Decode tokens/s",
        "Tokens after the first of each answer divided by the time of decode",
        _speed(lambda speed: speed.decode_tokens_per_s),
    ),
    Column(
        "steady_decode_tokens_per_s",
        "Steady decode tokens/s",
        "Decode in a separate run with a fixed number of tokens",
        _record(lambda record: record.steady_decode_tokens_per_s),
    ),
    *_latencies(),
    Column(
        "output_tokens_per_sample",
        "Tokens per answer",
        "Mean number of tokens of an answer",
        _speed(lambda speed: speed.mean_output_tokens),
        2,
    ),
    Column("vision_s", "Vision s", "Seconds in the image tower", _phase(lambda p: p.vision_s)),
    Column("prefill_s", "Prefill s", "Seconds in prefill", _phase(lambda p: p.prefill_s)),
    Column("decode_s", "Decode s", "Seconds in decode", _phase(lambda p: p.decode_s)),
    Column(
        "host_gap_s",
        "Host gap s",
        "Seconds in which the device sat idle while the CPU prepared its work",
        _phase(lambda phases: phases.host_gap_s),
    ),
    Column(
        "peak_memory_gib",
        "Peak memory GiB",
        "Memory on the GPUs; without a GPU, of the process",
        _memory,
        2,
    ),
)
