"""The columns of the tables: what they are called, what they mean, and how they are read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moe_eval_plugin.report.analysis.speed_scope import speed_of
from moe_eval_plugin.report.tables.column import Column
from moe_eval_plugin.text import GIB, HUNDRED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from moe_eval_plugin.report.analysis.statistics import PointStatistics, SeriesStatistics
    from moe_eval_plugin.report.tables.column import Reader, Value


def _beside(name: str, factor: float = 1.0) -> Reader:
    def read(_: SeriesStatistics, one: PointStatistics) -> Value:
        value = one.beside.get(name)
        return None if value is None else value * factor

    return read


def _score(pick: Callable[[PointStatistics], float | None]) -> Reader:
    """Read a score or a difference of scores in the unit that it is shown in."""

    def read(numbers: SeriesStatistics, one: PointStatistics) -> Value:
        value = pick(one)
        return None if value is None else value * numbers.scale

    return read


def _difference(pick: Callable[..., Value]) -> Reader:
    return lambda _, one: pick(one.difference) if one.difference else None


def _mark(numbers: SeriesStatistics, one: PointStatistics) -> Value:
    words = list(_marks(numbers, one))
    return ", ".join(words) or None


def _marks(numbers: SeriesStatistics, one: PointStatistics) -> Iterator[str]:
    if one.point.is_baseline:
        yield "baseline"
    if one.on_front:
        yield "Pareto front"
    if one.is_knee:
        yield "knee"
    if one.point.label == numbers.fastest:
        yield "fastest within the margin"


def _of_type(kind: str) -> Column:
    def read(numbers: SeriesStatistics, one: PointStatistics) -> Value:
        found = one.by_type.get(kind)
        return found.accuracy * numbers.scale if found else None

    meaning = f"Score of the questions of the answer type {kind}"
    return Column(f"score_{kind.replace('/', '_')}", f"Score, {kind}", meaning, read, 2)


COLUMNS: tuple[Column, ...] = (
    Column("model", "Model", "Model, and what tells its runs apart", lambda s, _: s.series.name),
    Column("task", "Task", "Task of lmms-eval", lambda s, _: s.series.task),
    Column("setting", "Setting", "What was asked of the routers", lambda _, p: p.point.label),
    Column(
        "observed_num_experts_per_tok",
        "Observed k",
        "Routed experts per token that tokens really used",
        _beside("observed_num_experts_per_tok"),
        2,
    ),
    Column("remarks", "Remarks", "What decision aids say of the point", _mark),
    Column("metric", "Metric", "Score that is shown", lambda s, _: s.series.metric),
    Column(
        "score", "Score", "Mean score; of 100 if scores are shares", _score(lambda p: p.accuracy), 2
    ),
    Column(
        "score_low",
        "from",
        "Lower end of the 95% interval of the score, clustered by image",
        _score(lambda p: p.interval[0] if p.interval else None),
        2,
    ),
    Column(
        "score_high",
        "to",
        "Upper end of the 95% interval of the score",
        _score(lambda p: p.interval[1] if p.interval else None),
        2,
    ),
    Column("n_questions", "Questions", "Questions that were scored", lambda _, p: p.n_questions),
    Column("n_images", "Images", "Images that the questions are about", lambda _, p: p.n_images),
    Column("n_runs", "Runs", "Runs of this setting (seeds)", lambda _, p: len(p.point.runs)),
    Column(
        "difference",
        "Difference",
        "Score minus that of the baseline, on the same questions, in points",
        _score(lambda p: p.difference.difference if p.difference else None),
        2,
    ),
    Column(
        "difference_low",
        "from",
        "Lower end of the 95% interval of the difference",
        _score(lambda p: p.difference.interval.low if p.difference else None),
        2,
    ),
    Column(
        "difference_high",
        "to",
        "Upper end of the 95% interval of the difference",
        _score(lambda p: p.difference.interval.high if p.difference else None),
        2,
    ),
    Column("p_value", "p", "p-value of the difference", _difference(lambda d: d.p_value), 3),
    Column(
        "p_value_holm",
        "p (Holm)",
        "p-value, adjusted for the number of settings by Holm's method",
        _difference(lambda d: d.adjusted_p_value),
        3,
    ),
    Column("test", "Test", "Test that the p-value is of", _difference(lambda d: d.test)),
    Column(
        "retention",
        "Retention %",
        "Score by that of the baseline, in percent",
        _difference(lambda d: None if d.retention is None else d.retention * HUNDRED),
        1,
    ),
    Column(
        "equivalent",
        "Within the margin",
        "Whether the score is within the margin of the baseline's, by two one-sided tests at 5%",
        lambda _, p: p.equivalence.verdict if p.equivalence else None,
    ),
    Column(
        "n_questions_needed",
        "Questions needed",
        "Questions that show equivalence with 80% probability if there is no difference",
        lambda _, p: p.equivalence.n_questions_needed if p.equivalence else None,
    ),
    Column(
        "n_worse",
        "Worse",
        "Questions with a lower score than the baseline's",
        _difference(lambda d: d.n_lower),
    ),
    Column(
        "n_better", "Better", "Questions with a higher score", _difference(lambda d: d.n_higher)
    ),
    _of_type("yes/no"),
    _of_type("number"),
    _of_type("other"),
    Column(
        "samples_per_s",
        "Samples/s",
        "Questions per second of wall time, median of the runs",
        lambda _, p: p.speed.median if p.speed else None,
    ),
    Column(
        "speed_of",
        "Speed of",
        "What rates and wall times are of: the model alone, if inputs were prepared beforehand",
        lambda _, p: speed_of(p.point.first),
    ),
    Column(
        "samples_per_s_smallest",
        "slowest",
        "Smallest rate of several runs",
        lambda _, p: p.speed.smallest if p.speed and p.speed.n > 1 else None,
    ),
    Column(
        "samples_per_s_largest",
        "fastest",
        "Largest rate of several runs",
        lambda _, p: p.speed.largest if p.speed and p.speed.n > 1 else None,
    ),
    Column("speed_up", "Speed-up", "Rate by that of the baseline", lambda _, p: p.speed_ratio, 2),
    Column(
        "seconds_per_correct_answer",
        "s per correct answer",
        "Wall time by the sum of the scores",
        lambda _, p: p.seconds_per_correct,
    ),
    Column(
        "joules_per_correct_answer",
        "J per correct answer",
        "Energy by the sum of the scores",
        lambda _, p: p.joules_per_correct,
    ),
    Column(
        "joules_per_sample", "J per question", "Energy by questions", _beside("joules_per_sample")
    ),
    Column("wall_s", "Wall time s", "Seconds of the slowest process", _beside("wall_s")),
    Column(
        "output_tokens_per_s",
        "Output tokens/s",
        "Tokens of all answers by wall time",
        _beside("output_tokens_per_s"),
    ),
    Column(
        "prefill_tokens_per_s",
        "Prefill tokens/s",
        "Tokens of all prompts by the time of prefill",
        _beside("prefill_tokens_per_s"),
    ),
    Column(
        "decode_tokens_per_s",
        "Decode tokens/s",
        "Tokens behind the first by the time of decode",
        _beside("decode_tokens_per_s"),
    ),
    Column(
        "steady_decode_tokens_per_s",
        "Steady decode tokens/s",
        "Of a separate run with a fixed number of tokens",
        _beside("steady_decode_tokens_per_s"),
    ),
    Column("ttft_s", "First token s", "Time to the first token, median", _beside("ttft_s")),
    Column(
        "ttft_s_p95",
        "First token s, 95%",
        "Time to the first token, 95th percentile",
        _beside("ttft_s_p95"),
    ),
    Column(
        "e2e_latency_s", "Latency s", "Time of a whole request, median", _beside("e2e_latency_s")
    ),
    Column(
        "e2e_latency_s_p95",
        "Latency s, 95%",
        "Time of a whole request, 95th percentile",
        _beside("e2e_latency_s_p95"),
    ),
    Column(
        "output_tokens_per_sample",
        "Tokens per answer",
        "Mean tokens of an answer",
        _beside("output_tokens_per_sample"),
        2,
    ),
    Column("vision_s", "Vision s", "Seconds in the image tower", _beside("vision_s")),
    Column("prefill_s", "Prefill s", "Seconds in prefill", _beside("prefill_s")),
    Column("decode_s", "Decode s", "Seconds in decode", _beside("decode_s")),
    Column(
        "host_gap_s",
        "Host gap s",
        "Seconds in which the device waited for the host",
        _beside("host_gap_s"),
    ),
    Column(
        "peak_memory_gib",
        "Peak memory GiB",
        "On the GPUs; without one, of the process",
        _beside("peak_memory_bytes", 1 / GIB),
        2,
    ),
)
