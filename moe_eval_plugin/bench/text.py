"""Write a bench as text for a terminal, as wide as the terminal."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.text import HUNDRED, fit, gib_text, wrap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from moe_eval_plugin.bench.efficiency import LatencyFit
    from moe_eval_plugin.bench.plan import BenchPlan
    from moe_eval_plugin.bench.report import BenchPoint, BenchReport
    from moe_eval_plugin.stats.speed import Spread

NOT_KNOWN = "-"
# Poorer fits over distinct experts are not shown.
LEAST_R_SQUARED = 0.9
GAIN_NOTE = (
    "Speed-up: against k={k} at the same batch, median of the rounds. Ceiling: Amdahl's bound, "
    "with the experts that the batch touches at k={k}. Of ceiling: the measured speed-up as a "
    "share of the ceiling. Experts: distinct experts of a layer that one decode step touches."
)
SPREAD_NOTE = "Rates: the median of {n} rounds, then the smallest and the largest of them."


def render(report: BenchReport) -> str:
    """Return a bench as text: what was run, decode, prefill, requests and notes."""
    blocks = [
        list(_facts(report)),
        ["Decode", *_table(DECODE, report.points)],
        ["Prefill, memory and energy", *_table(PREFILL, report.points)],
        list(_requests(report.points)),
        list(_notes(report)),
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block)


def result_text(report: BenchReport) -> str | None:
    """Return the speed-up of decode at each k, at the largest batch size; ``None`` without one."""
    size = max((point.batch_size for point in report.points), default=0)
    found = [
        f"k={point.num_experts_per_tok} {point.decode_speedup.median:.2f}×"
        f" ({point.decode_speedup.smallest:.2f} to {point.decode_speedup.largest:.2f})"
        for point in report.points
        if point.batch_size == size
        and point.decode_speedup is not None
        and point.num_experts_per_tok != report.reference_num_experts_per_tok
    ]
    if not found:
        return None
    k = report.reference_num_experts_per_tok
    return f"Speed-up of decode at batch size {size}, against k={k}: {', '.join(found)}."


def number_text(value: float | None) -> str:
    """Return a number with three digits or more: 0.123, 12.3, 1,234."""
    if value is None:
        return NOT_KNOWN
    digits = next((n for limit, n in ((1, 3), (10, 2), (HUNDRED, 1)) if abs(value) < limit), 0)
    return f"{value:,.{digits}f}"


def _facts(report: BenchReport) -> Iterator[str]:
    model, device, plan = report.model, report.device, report.plan
    what = f"{model.get('model_type')}, {_weights(model)}, {model.get('dtype')}"
    yield from wrap(f"{model.get('name')} ({what}): {_experts(model)}")
    n = device.get("threads")
    threads = f", {n} {'thread' if n == 1 else 'threads'}" if n else ""
    yield from wrap(
        f"on {device.get('name') or device.get('kind')}{threads}{_engine(model.get('engine'))}"
    )
    yield from wrap(
        f"prompts of {plan.prompt_tokens} text tokens{_images(plan)}, {plan.new_tokens} new tokens "
        f"each, {plan.repeats} rounds after a warm-up"
    )


def _weights(model: Mapping[str, Any]) -> str:
    if model.get("routing"):
        return f"random weights, {model['routing']} routing"
    return "random weights" if model.get("weights") == "random" else "trained"


def _engine(engine: Mapping[str, Any] | None) -> str:
    """Describe vLLM; nothing for transformers."""
    if engine is None:
        return ""
    how = "eager" if engine["enforce_eager"] else "compiled"
    kernels = ", ".join(engine["kernels"]) or "no MoE kernels"
    return (
        f", by vLLM {engine['version']} ({how}, {kernels}, max_num_seqs {engine['max_num_seqs']})"
    )


def _experts(model: Mapping[str, Any]) -> str:
    baseline = model.get("baseline_num_experts_per_tok")
    if baseline is None:
        return "a dense model"
    shared = model.get("num_shared_experts")
    and_shared = f", and {shared} shared that k does not count" if shared else ""
    return f"{model.get('num_experts')} routed experts per MoE layer, k={baseline}{and_shared}"


def _images(plan: BenchPlan) -> str:
    if plan.images.files:
        return f" and {plan.images.count} image files"
    width, height = plan.images.size
    return f" and {plan.images.n_images} images of {width}x{height}" if plan.images.count else ""


# Left out where the terminal is narrow; --json has everything.
SPARE = ("predicted", "of ceiling", "min-max", "J/token", "S-MBU", "S-MFU")
Column = tuple[str, "Callable[[BenchPoint], str]"]


def _table(columns: Sequence[Column], points: Sequence[BenchPoint]) -> list[str]:
    """Return the lines of a table, points sorted by batch size."""
    ordered = sorted(points, key=lambda p: p.batch_size)
    rows = [[name for name, _ in columns]]
    rows += [[text(point) for _, text in columns] for point in ordered]
    return fit(rows, "r", SPARE)


def _k(point: BenchPoint) -> str:
    k = point.num_experts_per_tok
    return number_text(point.observed_num_experts_per_tok) if k is None else str(k)


def _median(spread: Spread | None) -> str:
    return number_text(spread.median if spread else None)


def _range(spread: Spread | None) -> str:
    if spread is None:
        return NOT_KNOWN
    return f"{number_text(spread.smallest)}-{number_text(spread.largest)}"


def _milliseconds(spread: Spread | None) -> str:
    return number_text(spread.median * 1000 if spread else None)


def _times(value: float | None) -> str:
    return NOT_KNOWN if value is None else f"{value:.2f}×"


def _percent(value: float | None) -> str:
    return NOT_KNOWN if value is None else f"{value:.1%}"


DECODE: tuple[Column, ...] = (
    ("k", _k),
    ("batch", lambda p: str(p.batch_size)),
    ("tokens/s", lambda p: _median(p.speed.decode_tokens_per_s)),
    ("min-max", lambda p: _range(p.speed.decode_tokens_per_s)),
    ("TPOT ms", lambda p: _milliseconds(p.speed.tpot_s)),
    ("speed-up", lambda p: _times(p.decode_speedup.median if p.decode_speedup else None)),
    ("ceiling", lambda p: _times(p.decode.speedup_ceiling if p.decode else None)),
    ("of ceiling", lambda p: _percent(p.decode.gain_efficiency if p.decode else None)),
    ("predicted", lambda p: _times(p.decode.predicted_speedup if p.decode else None)),
    ("experts", lambda p: number_text(p.distinct_experts_per_decode_step)),
    ("S-MBU", lambda p: _percent(p.decode.s_mbu if p.decode else None)),
)
PREFILL: tuple[Column, ...] = (
    ("k", _k),
    ("batch", lambda p: str(p.batch_size)),
    ("tokens/s", lambda p: _median(p.speed.prefill_tokens_per_s)),
    ("min-max", lambda p: _range(p.speed.prefill_tokens_per_s)),
    ("TTFT ms", lambda p: _milliseconds(p.speed.ttft_s)),
    ("speed-up", lambda p: _times(p.prefill_speedup.median if p.prefill_speedup else None)),
    ("ceiling", lambda p: _times(p.prefill.speedup_ceiling if p.prefill else None)),
    ("of ceiling", lambda p: _percent(p.prefill.gain_efficiency if p.prefill else None)),
    ("S-MFU", lambda p: _percent(p.prefill.s_mfu if p.prefill else None)),
    ("memory", lambda p: _memory(p.speed.peak_memory_bytes)),
    ("J/token", lambda p: _median(p.speed.joules_per_output_token)),
)


REQUESTS: tuple[Column, ...] = (
    ("k", _k),
    ("batch", lambda p: str(p.batch_size)),
    ("queue ms", lambda p: _request_ms(p, "queue_s")),
    ("prefill ms", lambda p: _request_ms(p, "prefill_s")),
    ("decode ms", lambda p: _request_ms(p, "decode_s")),
    ("TPOT ms", lambda p: _request_ms(p, "tpot_s")),
)


def _requests(points: Sequence[BenchPoint]) -> Iterator[str]:
    """Yield the parts of a request's time, where an engine reports them."""
    if any(r.request_times for point in points for r in point.repetitions):
        yield "Single requests, by the engine's own clock"
        yield from _table(REQUESTS, points)


def _request_ms(point: BenchPoint, part: str) -> str:
    """Return the median over rounds of the median request."""
    found = [(r.request_times or {}).get(part) for r in point.repetitions]
    known = [one["median"] * 1000 for one in found if one]
    return number_text(median(known) if known else None)


def _memory(n_bytes: int | None) -> str:
    return NOT_KNOWN if n_bytes is None else gib_text(n_bytes)


def _notes(report: BenchReport) -> Iterator[str]:
    yield from wrap(SPREAD_NOTE.format(n=report.plan.repeats))
    if report.reference_num_experts_per_tok is not None:
        yield from wrap(GAIN_NOTE.format(k=report.reference_num_experts_per_tok))
    layer = "In a decode step, the routed experts of one layer cost"
    yield from _fit_text(layer, report.expert_layer_fit)
    yield from _fit_text("One decode step costs", report.decode_step_fit)
    reasons = (*report.reasons, *report.device.get("reasons", ()), *report.energy["reasons"])
    for note in (*report.notes, *dict.fromkeys(reasons)):
        yield from wrap(f"Note: {note}")


def _fit_text(what: str, fit: LatencyFit | None) -> Iterator[str]:
    """Yield a line for a fit that describes the times: a poor one explains nothing."""
    if fit is None:
        return
    # Rounded, because a line through zero may come out a hair below it.
    intercept_ms = round(fit.intercept_s * 1000, 6)
    if fit.r_squared > LEAST_R_SQUARED and intercept_ms >= 0:
        yield from wrap(
            f"{what} {number_text(abs(intercept_ms))} ms plus "
            f"{number_text(fit.slope_s_per_expert * 1000)} ms per distinct expert (fit over "
            f"{fit.n_points} points, R\u00b2 {fit.r_squared:.3f})."
        )
