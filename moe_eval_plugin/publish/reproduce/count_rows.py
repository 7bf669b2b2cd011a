"""Compare counts of a run and of its repetition: the observed k, and tokens."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.experts.routing_rule import UNIFORM
from moe_eval_plugin.publish.reproduce.agreement import AGREES, DIFFERS, NOT_JUDGED, Row
from moe_eval_plugin.results.lmms_eval_files import read_samples
from moe_eval_plugin.results.samples import IMAGE_ID, KEYS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from moe_eval_plugin.publish.reproduce.agreement import Verdict
    from moe_eval_plugin.results.run import TaskRun

OBSERVED = "observed_num_experts_per_tok"
EXPERTS = {
    "baseline_num_experts_per_tok": "baseline",
    OBSERVED: "observed",
    f"{OBSERVED}_text": "observed_text",
    f"{OBSERVED}_image": "observed_image",
}
INPUT_TOKENS = "n_input_tokens"
OUTPUT_TOKENS = "n_output_tokens"


def expert_rows(point: str, one: TaskRun, two: TaskRun, *, limited: bool) -> Iterator[Row]:
    """Yield rows for the observed k, which must be equal; none for a model without observed k.

    With a policy that drops experts by their weights, k depends on the prompts; with a schedule of
    several k, the mean does. With only a part of the prompts these are not judged.
    """
    before, now = _part(one.record, "experts"), _part(two.record, "experts")
    varies = before.get("experts_policy", UNIFORM) != UNIFORM
    single = not varies and str(before.get("experts_k") or "0").isdigit()
    for number, field in EXPERTS.items():
        values = before.get(field), now.get(field)
        if values[0] is None:
            continue
        verdict: Verdict = DIFFERS
        if values[0] == values[1]:
            verdict, reason = AGREES, "equal"
        elif values[1] is not None and (varies or (limited and not single)):
            verdict, reason = NOT_JUDGED, "this k depends on the prompts and the router weights"
        else:
            reason = "k must be equal"
        yield Row(point, one.task, number, *values, verdict, reason)


def count_rows(point: str, one: TaskRun, two: TaskRun, *, limited: bool) -> Iterator[Row]:
    """Yield rows for the input and output tokens, over all questions."""
    before, now = _part(one.record, "speed"), _part(two.record, "speed")
    for number in (INPUT_TOKENS, OUTPUT_TOKENS):
        values = before.get(number), now.get(number)
        if values[0] is None:
            continue
        if values[0] == values[1]:
            yield Row(point, one.task, number, *values, AGREES, "equal")
        elif limited:
            reason = "only a part of the questions was asked again (--limit)"
            yield Row(point, one.task, number, *values, NOT_JUDGED, reason)
        elif number == INPUT_TOKENS:
            reason = "equal prompts have equal tokens: check chat template, images and tokenizer"
            yield Row(point, one.task, number, *values, DIFFERS, reason)
        else:
            yield _output_row(point, one, two, values)


def _output_row(
    point: str, one: TaskRun, two: TaskRun, totals: tuple[float | None, float | None]
) -> Row:
    """Compare the output tokens question by question, since answers may differ a little."""
    from moe_eval_plugin.stats.paired import paired_difference

    before, now = _tokens_by_question(one), _tokens_by_question(two)
    keys = [key for key in before if key in now]
    if not keys:
        reason = "the samples do not record the tokens of each answer"
        return Row(point, one.task, OUTPUT_TOKENS, *totals, NOT_JUDGED, reason)
    pairs = [(now[key][0], before[key][0]) for key in keys]
    images = [before[key][1] for key in keys]
    found = paired_difference(
        [pair[0] for pair in pairs],
        [pair[1] for pair in pairs],
        None if None in images else images,
        bounds=(min(map(min, pairs)), max(map(max, pairs))),
    )
    holds = found.interval.holds(0)
    reason = (
        f"{found.difference:+.3f} per answer, {found.interval.confidence:.0%} interval "
        f"{found.interval.low:+.3f} to {found.interval.high:+.3f} "
        f"{'contains' if holds else 'does not contain'} 0"
    )
    verdict = AGREES if holds else DIFFERS
    return Row(point, one.task, OUTPUT_TOKENS, *totals, verdict, reason, found.interval)


def _tokens_by_question(task: TaskRun) -> dict[str, tuple[float, str | None]]:
    """Return the output tokens and the image of each question."""
    found: dict[str, tuple[float, str | None]] = {}
    for sample in read_samples(task.samples) if task.samples else ():
        key = next((str(sample[name]) for name in KEYS if name in sample), None)
        counts = sample.get("token_counts")
        each = [_output(one) for one in counts] if isinstance(counts, list) else []
        if key is not None and each and not any(map(math.isnan, each)):
            image = sample.get(IMAGE_ID)
            found[key] = sum(each), None if image is None else str(image)
    return found


def _output(counts: object) -> float:
    value = counts.get("output_tokens") if isinstance(counts, dict) else None
    return float(value) if isinstance(value, int) else math.nan


def _part(record: Mapping[str, Any] | None, key: str) -> Mapping[str, Any]:
    part = (record or {}).get(key)
    return part if isinstance(part, dict) else {}
