"""Compare counts of a run and of its repetition: the observed k, and tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moe_eval_plugin.experts.schedules.routing_rule import UNIFORM
from moe_eval_plugin.publish.reproduce.agreement import AGREES, DIFFERS, NOT_JUDGED, Row
from moe_eval_plugin.results.samples import images_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from moe_eval_plugin.publish.reproduce.agreement import Verdict
    from moe_eval_plugin.results.run import TaskRun
    from moe_eval_plugin.results.samples import Question

    Pair = tuple[Question, Question]
    Counts = tuple[float | None, float | None]

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
    before = one.record.experts if one.record else None
    now = two.record.experts if two.record else None
    if before is None:
        return
    limited = limited or bool(one.record and one.record.n_answers_from_cache)
    varies = before.experts_policy != UNIFORM
    single = not varies and (before.experts_k or "0").isdigit()
    for number, field in EXPERTS.items():
        values = getattr(before, field), getattr(now, field, None)
        if values[0] is None:
            continue
        verdict: Verdict = DIFFERS
        if values[0] == values[1]:
            verdict, reason = AGREES, "equal"
        elif values[1] is not None and (varies or (limited and not single)):
            verdict, reason = NOT_JUDGED, "this k depends on the prompts and the router weights"
        else:
            reason = "k must be equal"
        yield Row(point, one.task, number, *values, verdict, reason, kind="experts")


def count_rows(
    point: str, one: TaskRun, two: TaskRun, pairs: Sequence[Pair], *, limited: bool
) -> Iterator[Row]:
    """Yield rows for the input and output tokens, over all questions.

    ``pairs`` has the questions of both runs; output tokens are compared by question.
    """
    before = one.record.speed if one.record else None
    now = two.record.speed if two.record else None
    for number in (INPUT_TOKENS, OUTPUT_TOKENS):
        values = getattr(before, number, None), getattr(now, number, None)
        if values[0] is None:
            continue
        if one.record and one.record.n_answers_from_cache:
            reason = "a cache answered some questions, whose tokens are not known"
            yield Row(point, one.task, number, *values, NOT_JUDGED, reason)
        elif values[0] == values[1]:
            yield Row(point, one.task, number, *values, AGREES, "equal")
        elif limited and number == OUTPUT_TOKENS:
            yield _output_row(point, one.task, pairs)
        elif limited:
            reason = "only a part of the questions was asked again (--limit)"
            yield Row(point, one.task, number, *values, NOT_JUDGED, reason)
        elif number == INPUT_TOKENS:
            reason = "equal prompts have equal tokens: check chat template, images and tokenizer"
            yield Row(point, one.task, number, *values, DIFFERS, reason)
        else:
            yield _output_row(point, one.task, pairs, values)


def _output_row(point: str, task: str, pairs: Sequence[Pair], counts: Counts | None = None) -> Row:
    """Compare the output tokens question by question, since answers may differ a little.

    ``counts`` are those over all questions; without them the pairs are counted.
    """
    from moe_eval_plugin.stats.paired import paired_difference

    counted = [
        (two.n_output_tokens, one.n_output_tokens, one)
        for one, two in pairs
        if two.n_output_tokens is not None and one.n_output_tokens is not None
    ]
    if not counted:
        reason = "the samples do not record the tokens of each answer"
        before, again = counts or (None, None)
        return Row(point, task, OUTPUT_TOKENS, before, again, NOT_JUDGED, reason)
    counts = counts or (sum(n for _, n, _ in counted), sum(n for n, _, _ in counted))
    tokens = [n for now, then, _ in counted for n in (now, then)]
    found = paired_difference(
        [float(n) for n, _, _ in counted],
        [float(n) for _, n, _ in counted],
        images_of(question for _, _, question in counted),
        bounds=(min(tokens), max(tokens)),
    )
    holds = found.interval.holds(0)
    reason = (
        f"{found.difference:+.3f} per answer, {found.interval.confidence:.0%} interval "
        f"{found.interval.low:+.3f} to {found.interval.high:+.3f} "
        f"{'contains' if holds else 'does not contain'} 0"
    )
    verdict = AGREES if holds else DIFFERS
    before, now = counts
    return Row(point, task, OUTPUT_TOKENS, before, now, verdict, reason, found.interval)
