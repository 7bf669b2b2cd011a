from __future__ import annotations

import pytest

from moe_eval_plugin.engines.generation import read_settings
from moe_eval_plugin.engines.vllm.job_runner import sampling_arguments
from moe_eval_plugin.errors import (
    InvalidArgumentError,
)


def test_greedy_answers_end_where_the_task_says() -> None:
    settings = read_settings({"max_new_tokens": 7, "until": ["\n\n"], "top_p": 0.3}, 128)
    arguments = sampling_arguments(settings, {"repetition_penalty": 1.05, "top_k": 3}, 5)
    assert arguments == {
        "max_tokens": 7,
        "min_tokens": 0,
        "repetition_penalty": 1.05,
        "stop": ["\n\n"],
        "temperature": 0.0,
    }


def test_sampling_takes_the_settings_of_the_task_and_the_seed_of_the_run() -> None:
    settings = read_settings({"temperature": 0.7, "top_p": 0.9, "do_sample": True}, 128)
    arguments = sampling_arguments(settings, {}, 5)
    assert (arguments["temperature"], arguments["top_p"], arguments["seed"]) == (0.7, 0.9, 5)
    assert "top_k" not in arguments


def test_beam_search_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="no beam search"):
        sampling_arguments(read_settings({"num_beams": 4}, 128), {}, 0)
