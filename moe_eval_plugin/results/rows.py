"""The rows of the host's table: those that a record adds, and what the name of any row says."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

# These rows are facts of every score, and no scores themselves.
K_ROW = "num_experts_per_tok"
FROM_CACHE_ROW = "n_answers_from_cache"
PROPORTION = "proportion"
# Before the names of rates of a task whose questions shared their images.
OF_A_TASK = "task_"
# Rows that are counted or measured have their unit in their name; the others are scores.
UNITS = (
    (r"n_\w+", "count"),
    (r"speed_up", "times the published k"),
    (r"(?:\w+_)?([a-z]+)_per_s", r"\1/s"),
    (r"\w+_s(?:_\w+)?", "s"),
    (r"(?:task_)?seconds_per_\w+", "s"),
    (r"\w+_bytes", "bytes"),
    (r"\w+_gib", "GiB"),
    (r"(?:\w+_)?joules(?:_\w+)?", "J"),
)


@dataclass(frozen=True)
class Row:
    """A row that a record adds to the host's table."""

    name: str
    """Name of the row."""
    unit: str
    """Unit of its values."""
    better: Literal["higher", "lower"] | None
    """Which values are better; ``None`` where neither are."""
    meaning: str
    """What is counted or measured, and when the row is there: Markdown, for the reference."""


EXPERTS = "experts per token"
# In the order of the table. The reference is built from these.
ROWS = (
    Row("baseline_num_experts_per_tok", EXPERTS, None, "the published k"),
    Row(
        "num_experts_per_tok",
        EXPERTS,
        None,
        "the requested k, or the published k without a request. Absent for a schedule of several "
        "k. With a policy, the k from which the policy drops experts",
    ),
    Row(
        "observed_num_experts_per_tok",
        EXPERTS,
        None,
        "the k that tokens were observed to use, or its mean over tokens and layers",
    ),
    Row(
        "observed_num_ffn_experts_per_tok",
        "FFN experts per token",
        None,
        "the mean [FFN k](../glossary.md). Only in families with zero-computation experts",
    ),
    Row(
        "skipped_experts_share",
        "share, 0 to 1",
        None,
        "share of the chosen experts that the policy skipped. Only with a policy",
    ),
    Row(
        "observed_num_experts_per_tok_text",
        EXPERTS,
        None,
        "mean observed k of text tokens. Only if image tokens have another mean",
    ),
    Row(
        "observed_num_experts_per_tok_image",
        EXPERTS,
        None,
        "mean observed k of image tokens. Only if text tokens have another mean",
    ),
    Row(
        "n_answers_from_cache",
        "questions",
        None,
        "questions that the host's [cache](#answers-from-a-cache) answered. Only if there are any",
    ),
    Row(
        "samples_per_s",
        "questions/s",
        "higher",
        "answered questions of all processes, divided by wall time. A question of several "
        "requests, such as a multiple-choice question, counts once",
    ),
    Row(
        "task_samples_per_s",
        "questions/s",
        "higher",
        "the same rate, if [questions shared images](#rates-of-a-run-that-shares-images)",
    ),
    Row("output_tokens_per_s", "tokens/s", "higher", "tokens of all answers, divided by wall time"),
    Row(
        "task_output_tokens_per_s",
        "tokens/s",
        "higher",
        "the same rate, if [questions shared images](#rates-of-a-run-that-shares-images)",
    ),
    Row(
        "prefill_tokens_per_s",
        "tokens/s",
        "higher",
        "tokens of all prompts, image tokens included, divided by the time of prefill alone",
    ),
    Row(
        "ttft_s_median",
        "s",
        "lower",
        "median time from the start of a question's preprocessing to the first token of its batch",
    ),
    Row(
        "e2e_latency_s_median",
        "s",
        "lower",
        "median time from the start of a question's preprocessing to the end of its batch",
    ),
    Row(
        "ttft_from_queue_s_median",
        "s",
        "lower",
        "median time from a request's arrival in vLLM's queue, with its images read, to its first "
        "token",
    ),
    Row(
        "e2e_latency_from_queue_s_median",
        "s",
        "lower",
        "median time from a request's arrival in vLLM's queue, with its images read, to its last "
        "token",
    ),
    Row("n_output_tokens_per_sample", "tokens", None, "mean length of an answer"),
    Row(
        "seconds_per_correct_answer",
        "s",
        "lower",
        "wall time, divided by the sum of the scores",
    ),
    Row(
        "task_seconds_per_correct_answer",
        "s",
        "lower",
        "the same time, if [questions shared images](#rates-of-a-run-that-shares-images)",
    ),
    Row(
        "peak_memory_gib",
        "GiB (2^30 bytes)",
        "lower",
        "peak memory in tensors on the GPUs, or peak RAM of the process if no GPU is used. With "
        "several processes, the largest of their peaks",
    ),
    Row(
        "joules_per_sample",
        "J",
        "lower",
        "energy of the device per question, idle power included",
    ),
    Row(
        "steady_decode_tokens_per_s",
        "tokens/s",
        "higher",
        "decode rate at a fixed number of tokens, at the largest measured batch size that the "
        "run's batch size allows. Only with `profile=full`",
    ),
)
HIGHER_IS_BETTER = {row.name: row.better == "higher" for row in ROWS if row.better is not None}
_ORDER = {row.name: place for place, row in enumerate(ROWS)}


def in_order(values: Mapping[str, float | None]) -> dict[str, float | None]:
    """Return the values of rows in the order of the table; ``KeyError`` for an undeclared row."""
    return {name: values[name] for name in sorted(values, key=_ORDER.__getitem__)}


def is_fact(metric: str) -> bool:
    """Whether a row says how the scores came about."""
    return K_ROW in metric or metric == FROM_CACHE_ROW


def unit_of(metric: str) -> str | None:
    """Return the unit in the name of a count or a measured value; ``None`` for a score."""
    matches = ((re.fullmatch(pattern, metric), unit) for pattern, unit in UNITS)
    return next((match.expand(unit) for match, unit in matches if match), None)
