"""The command line of lmms-eval: its own parser reads back what was written."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lmms_eval.__main__ import parse_eval_args

from moe_eval_plugin.hosts.lmms_eval.command import RunSettings, pinned_model_args, settings_of
from moe_eval_plugin.hosts.shared.arguments import read_model_args
from moe_eval_plugin.results.run import Run, TaskRun
from tests.results.sample_records import record

SEEDS = ("random_seed", "numpy_seed", "torch_seed", "fewshot_seed")
TEXT = st.text("abc ='\"\\-$", min_size=1).filter(lambda text: not text.startswith("-"))
SETTINGS = st.builds(
    RunSettings,
    model=st.sampled_from(["moe_hf", "qwen3_vl"]),
    model_args=st.sampled_from(["", "pretrained=a/b,experts_k=8/image:2"]),
    tasks=st.sampled_from([("easy_vqa",), ("okvqa", "vqav2*")]),
    batch_size=st.sampled_from(["1", "16", "auto"]),
    device=st.sampled_from([None, "cuda:1"]),
    limit=st.sampled_from([None, 40, 0.5]),
    gen_kwargs=st.sampled_from([None, "temperature=0,do_sample=False"]),
    seed=st.sampled_from(["0,1,2,3", "None,1,2,3"]),
    offset=st.integers(0, 9),
    num_fewshot=st.sampled_from([None, 0, 2]),
    include_path=st.none() | TEXT,
    system_instruction=st.none() | TEXT,
    apply_chat_template=st.booleans(),
    fewshot_as_multiturn=st.booleans(),
    max_tokens=st.sampled_from([None, 100]),
    predict_only=st.booleans(),
    process_with_media=st.booleans(),
    force_simple=st.booleans(),
    trust_remote_code=st.booleans(),
    reasoning_tags=st.sampled_from(['[["<a>", "</a>"]]']),
    repeats=st.integers(1, 3),
    log_samples=st.booleans(),
)


def parsed(arguments: list[str]) -> dict[str, Any]:
    """Return what lmms-eval reads from a command line."""
    with patch.object(sys, "argv", ["lmms-eval", *arguments]):
        return vars(parse_eval_args()[1])


def run_of(resolved: dict[str, Any], revision: str | None = None) -> Run:
    """Make the run that a results file with these options holds."""
    seeds = dict(zip(SEEDS, resolved["seed"], strict=True))
    known = record("easy_vqa", provenance={"revision": revision})
    return run_with({**resolved, **seeds}, TaskRun("easy_vqa", (), None, known, None))


def run_with(options: dict[str, Any], *tasks: TaskRun) -> Run:
    """Make a run with these options of the host."""
    return Run(Path("r"), tasks, str(options["model"]), "a/b", "lmms-eval", options=options)


@given(SETTINGS)
def test_lmms_eval_reads_what_was_written_and_a_results_file_gives_the_same_settings(
    settings: RunSettings,
) -> None:
    options = parsed(shlex.split(settings.shell_text("out put"))[1:])
    assert options["output_path"] == "out put"
    assert settings_of(run_of(options), log_samples=settings.log_samples) == settings


def test_defaults_are_those_of_lmms_eval_and_are_not_written() -> None:
    options = parsed([])
    for name in ("offset", "repeats", "reasoning_tags", "num_fewshot", "max_tokens", "limit"):
        assert getattr(RunSettings("hf"), name) == options[name], name
    assert RunSettings("hf").command("out") == [
        *("lmms-eval", "--model", "hf", "--output_path", "out")
    ]


def test_a_whole_limit_has_no_fraction_and_no_examples_are_not_the_default() -> None:
    settings = RunSettings("hf", limit=24.0, num_fewshot=0)
    assert settings.arguments("out")[2:6] == ["--limit", "24", "--num_fewshot", "0"]


def test_the_commit_that_was_used_is_pinned() -> None:
    resolved = parsed(["--model", "moe_hf", "--model_args", "pretrained=a/b"])
    assert settings_of(run_of(resolved, "c0ffee")).model_args == "pretrained=a/b,revision=c0ffee"
    assert settings_of(run_of(resolved)).model_args == "pretrained=a/b"
    assert pinned_model_args("moe_hf", "revision=main", "c0ffee") == "revision=main"
    assert pinned_model_args("qwen3_vl", "pretrained=a/b", "c0ffee") == "pretrained=a/b"
    assert pinned_model_args("moe_vllm", "", "c0ffee") == "revision=c0ffee"


def test_tables_that_lmms_eval_stores_become_the_text_of_their_option() -> None:
    config = {"model": "hf", "model_args": {"pretrained": "a/b", "k": 4}, "gen_kwargs": {"n": 1}}
    settings = settings_of(run_with(config))
    assert (settings.model_args, settings.gen_kwargs) == ("pretrained=a/b,k=4", "n=1")


def test_an_argument_that_is_an_object_stays_json() -> None:
    arguments = {"enable_thinking": False, "revision": "a,b"}
    given = {"chat_template_kwargs": arguments, "max_pixels": None}
    config = {"model": "moe_hf", "model_args": given}
    text = settings_of(run_with(config)).model_args
    assert read_model_args(text) == {"chat_template_kwargs": json.dumps(arguments)}
    assert read_model_args(pinned_model_args("moe_hf", text, "c0ffee"))["revision"] == "c0ffee"


@pytest.mark.parametrize("missing", SEEDS)
def test_seeds_that_were_not_all_recorded_are_left_to_lmms_eval(missing: str) -> None:
    config = {"model": "hf", **dict.fromkeys(SEEDS, 0)}
    assert settings_of(run_with(config)).seed == "0,0,0,0"
    without = {name: value for name, value in config.items() if name != missing}
    assert settings_of(run_with(without)).seed is None
