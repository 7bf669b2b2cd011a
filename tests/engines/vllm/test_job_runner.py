from __future__ import annotations

import pytest

from moe_eval_plugin.engines.generation import CheckpointSettings, read_settings
from moe_eval_plugin.engines.vllm.job_runner import sampling_arguments
from moe_eval_plugin.errors import (
    InvalidArgumentError,
)


def test_greedy_answers_end_where_the_task_says() -> None:
    settings = read_settings({"max_new_tokens": 7, "until": ["\n\n"], "top_p": 0.3}, 128)
    arguments = sampling_arguments(settings, CheckpointSettings(repetition_penalty=1.05), 5)
    assert arguments == {
        "max_tokens": 7,
        "min_tokens": 0,
        "repetition_penalty": 1.05,
        "stop": ["\n\n"],
        "temperature": 0.0,
    }


def test_sampling_takes_the_settings_of_the_task_and_the_seed_of_the_run() -> None:
    settings = read_settings({"temperature": 0.7, "top_p": 0.9, "do_sample": True}, 128)
    arguments = sampling_arguments(settings, CheckpointSettings(), 5)
    assert (arguments["temperature"], arguments["top_p"], arguments["seed"]) == (0.7, 0.9, 5)
    assert "top_k" not in arguments


@pytest.mark.parametrize(
    "given", [{"num_beams": 4}, {"no_repeat_ngram_size": 2}, {"temperature": 9}]
)
def test_what_vllm_does_not_have_is_refused(given: dict[str, int]) -> None:
    with pytest.raises(InvalidArgumentError, match="is not possible"):
        sampling_arguments(read_settings(given, 128), CheckpointSettings(), 0)
