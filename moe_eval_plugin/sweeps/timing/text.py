"""The result of a timed pass as text for a terminal and as plain data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moe_eval_plugin.results.timing.speed_checks import implausible_speeds, load_warnings
from moe_eval_plugin.sweeps.timing.interleaved import widest_interval
from moe_eval_plugin.text import align, counted, setting_label, wrap

if TYPE_CHECKING:
    from collections.abc import Mapping

    from moe_eval_plugin.results.timing.timed_pass import TimedPass

HEADER = ("setting", "speed-up (95%)", "questions/s", "tokens/answer")
UNKNOWN = "-"


def progress_text(found: TimedPass) -> str:
    """Return how far a pass is: its task, batch size, block and widest interval."""
    if found.method == "rounds":
        return f"timing {found.task}, batch {found.batch_size}, round {len(found.counted)}"
    widest = widest_interval(found)
    width = "unknown" if widest is None else f"{widest:.1%}"
    return (
        f"timing {found.task}, batch {found.batch_size}, block {len(found.counted)}: widest "
        f"interval {width}, goal {found.precision:.1%}"
    )


def end_text(found: TimedPass) -> str:
    """Return why a pass ended, as a sentence."""
    n = len(found.counted)
    blocks = counted(n, "block")
    widest = widest_interval(found)
    if found.ended_by == "precision":
        return f"Timed in {blocks}: every interval is narrower than {found.precision:.1%}."
    if found.ended_by == "rounds":
        how = "once" if n == 1 else f"in {n} rounds"
        return f"Timed {how}, with an engine for each setting. More --timing-rounds continue."
    if found.ended_by is None:
        return f"Timed in {blocks}, and interrupted. Run the same command to continue."
    spent = f"Timed in {blocks}, {found.budget_s:,.0f} s: budget spent"
    if widest is None:
        return f"{spent} before there was an interval. A larger --speed-budget continues."
    return f"{spent}, widest interval {widest:.1%}. A larger --speed-budget continues."


def render_pass(found: TimedPass, experts_per_token: Mapping[str, float]) -> str:
    """Return the speeds of a pass as a table with its end and what makes them unreliable.

    ``experts_per_token`` maps settings to their observed k.
    """
    rows = [HEADER, *(_cells(found, setting) for setting in found.settings)]
    n = counted(found.n_questions, "question")
    lines = [
        "",
        *wrap(f"Speed of requests, {found.task}, {n}, batch size {found.batch_size}:"),
        *align(rows, "lr"),
        *wrap(end_text(found)),
    ]
    for warning in warnings_of(found, experts_per_token):
        lines += wrap(f"Warning: {warning}")
    return "\n".join(lines)


def warnings_of(found: TimedPass, experts_per_token: Mapping[str, float]) -> list[str]:
    """Return what makes the speeds of a pass unreliable, a sentence each."""
    implausible = implausible_speeds(found, experts_per_token)
    return [
        *load_warnings(block.load for block in found.counted),
        *(one.sentence(setting_label) for one in implausible),
    ]


def summary(found: TimedPass, experts_per_token: Mapping[str, float]) -> dict[str, Any]:
    """Return a pass without its blocks as plain JSON data: rates, and ratios with intervals."""
    return {
        "task": found.task,
        "batch_size": found.batch_size,
        "method": found.method,
        "n_questions": found.n_questions,
        "n_blocks": len(found.counted),
        "precision": found.precision,
        "budget_s": found.budget_s,
        "ended_by": found.ended_by,
        "widest_interval": widest_interval(found),
        "settings": {setting: _setting(found, setting) for setting in found.settings},
        "warnings": warnings_of(found, experts_per_token),
    }


def _setting(found: TimedPass, setting: str) -> dict[str, Any]:
    ratio, of_model = found.speed_up(setting), found.model_speed_up(setting)
    speed = found.speed(setting)
    interval = ratio.interval if ratio else None
    return {
        "samples_per_s": speed.samples_per_s if speed else None,
        "output_tokens_per_sample": speed.mean_output_tokens if speed else None,
        "ratio": ratio.ratio if ratio else None,
        "interval": [interval.low, interval.high] if interval else None,
        "ratio_of_totals": ratio.ratio_of_totals if ratio else None,
        "model_ratio": of_model.ratio if of_model else None,
    }


def _cells(found: TimedPass, setting: str) -> tuple[str, ...]:
    ratio, speed = found.speed_up(setting), found.speed(setting)
    shown = ratio.text if ratio else UNKNOWN
    if setting == found.baseline:
        shown = "1"
    rate, tokens = (speed.samples_per_s, speed.mean_output_tokens) if speed else (None, None)
    return setting_label(setting), shown, _number(rate), _number(tokens)


def _number(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.2f}"
