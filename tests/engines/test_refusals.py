"""Which errors are of one question, which jobs are at fault, and how long a prompt may be."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from moe_eval_plugin.engines.generation import read_settings
from moe_eval_plugin.engines.refusals import (
    RefusedJobsError,
    check_length,
    find_refused,
    reason_of,
)
from moe_eval_plugin.engines.request import Job
from moe_eval_plugin.errors import DataError, EngineFailedError, InvalidArgumentError


def job(index: int) -> Job:
    return Job(index, "vqa", index, "", list, read_settings({}, 4))


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (DataError("it has no image."), "it has no image"),
        (ValueError("ratio of 400"), "ValueError: ratio of 400"),
        (IndexError(), "IndexError"),
        (EngineFailedError("it died"), None),
        (InvalidArgumentError("no beam search"), None),
        (MemoryError(), None),
    ],
)
def test_errors_of_one_question(error: Exception, reason: str | None) -> None:
    assert reason_of(error) == reason


def test_the_reason_is_that_of_the_cause() -> None:
    cause = ValueError("ratio of 400")
    error = RuntimeError("it failed for " + "x" * 1000)
    error.__cause__ = cause
    reason = reason_of(error)
    assert reason is not None
    assert reason.startswith("ValueError: ratio of 400 (RuntimeError: it failed for xxx")
    assert len(reason) < 300


def test_the_jobs_that_made_the_error_of_a_batch() -> None:
    jobs = [job(index) for index in range(3)]

    def attempt(one: Job) -> None:
        if one.index != 1:
            message = f"{one.index} is broken"
            raise ValueError(message)

    with pytest.raises(RefusedJobsError) as refused:
        find_refused(jobs, ValueError("0 is broken"), attempt)
    assert {one.index: reason for one, reason in refused.value.reasons.items()} == {
        0: "ValueError: 0 is broken",
        2: "ValueError: 2 is broken",
    }
    assert refused.value.others(jobs) == [jobs[1]]


def test_a_batch_that_fails_though_each_job_does_not_has_no_culprit() -> None:
    tried: list[Job] = []
    jobs = [job(0), job(1)]

    find_refused(jobs, ValueError("no room"), tried.append)

    assert tried == jobs


@pytest.mark.parametrize(
    ("settings", "longest"),
    [
        ({"max_position_embeddings": 8}, 8),
        ({"max_position_embeddings": 8, "rope_parameters": {"factor": 4.0}}, 32),
        (
            {
                "max_position_embeddings": 20,
                "rope_scaling": {"factor": 4.0, "original_max_position_embeddings": 4},
            },
            20,
        ),
    ],
)
def test_the_longest_prompt(settings: dict[str, Any], longest: int) -> None:
    text = SimpleNamespace(**settings)
    config = SimpleNamespace(get_text_config=lambda: text)
    check_length(config, longest)
    with pytest.raises(DataError, match=f"{longest + 1} tokens at least, .* takes {longest}"):
        check_length(config, longest + 1)


def test_a_model_without_a_limit_takes_any_prompt() -> None:
    unlimited, limited = SimpleNamespace(), SimpleNamespace(max_position_embeddings=10)
    check_length(SimpleNamespace(get_text_config=lambda: unlimited), 10**6)
    with pytest.raises(DataError, match="takes 10"):
        check_length(SimpleNamespace(get_text_config=lambda: limited), 10**6)


def test_a_question_is_named_by_its_data() -> None:
    named = Job(3, "vqa", 3, "", list, read_settings({}, 4), read_id=lambda: 42)
    assert named.describe() == "Question 42 of vqa"
    assert job(3).describe() == "Document 3 of vqa, counted from 0,"
