"""The command line of lm-eval: its own parser reads back what was written."""

from __future__ import annotations

import json
import logging
import shlex
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lm_eval._cli.harness import HarnessCLI
from lm_eval.config.evaluate_config import EvaluatorConfig

from moe_eval_plugin.hosts.lm_eval.command import RunSettings, pinned_model_args, settings_of
from moe_eval_plugin.hosts.shared.command_line import SEEDS
from moe_eval_plugin.results.run import Run, TaskRun
from tests.results.sample_records import record

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

# Options that change nothing that is computed, and why settings leave them out.
LEFT_OUT = {
    "help": "it ends the program",
    "config": "it sets the other options",
    "output_path": "the folder is an argument of its own",
    "use_cache": "what is run again is computed again",
    "cache_requests": "prompts are equal with and without their cache",
    "check_integrity": "tests of tasks",
    "verbosity": "messages",
    "write_out": "messages",
    "show_config": "messages",
    "wandb_args": "trackers",
    "wandb_config_args": "trackers",
    "trackio_args": "trackers",
    "hf_hub_log_args": "trackers",
}
TEXT = st.text("abc ='\"\\-$", min_size=1).filter(lambda text: not text.startswith("-"))
ARGUMENTS = st.sampled_from(
    [
        '{"pretrained": "a,b", "chat_template_args": {"thinking": false}, "revision": "0004"}',
        "pretrained=a/b,experts_k=8/image:2,dtype=float32,n=0.5",
    ]
)
SETTINGS = st.builds(
    RunSettings,
    model=st.sampled_from(["moe_hf", "vllm"]),
    model_args=ARGUMENTS,
    tasks=st.sampled_from([("arc_easy",), ("mmlu", "arc_*")]),
    apply_chat_template=st.sampled_from([False, True, "rag"]),
    num_fewshot=st.sampled_from([None, 0, 2]),
    batch_size=st.sampled_from(["1", "16", "auto:4"]),
    max_batch_size=st.sampled_from([None, 64]),
    device=st.sampled_from([None, "cuda:1"]),
    gen_kwargs=st.sampled_from([None, "temperature=0.5,do_sample=True", '{"stop": ["a,b", "{"]}']),
    system_instruction=st.none() | TEXT,
    include_path=st.none() | TEXT,
    predict_only=st.booleans(),
    seed=st.sampled_from(["0,1,2,3", "None,1,2,3"]),
    trust_remote_code=st.booleans(),
    confirm_run_unsafe_code=st.booleans(),
    metadata=st.sampled_from([None, '{"max_seq_lengths": [4096]}', "tokenizer=gpt2"]),
    log_samples=st.booleans(),
)


def run_parser() -> argparse.ArgumentParser:
    """Return lm-eval's own parser of ``run``."""
    parser: argparse.ArgumentParser = HarnessCLI()._subparsers.choices["run"]
    return parser


def options_of(arguments: list[str]) -> dict[str, Any]:
    """Return the options that lm-eval's command evaluates with, as a results file holds them."""
    config = EvaluatorConfig.from_cli(run_parser().parse_args(arguments))
    options = {field.name: getattr(config, field.name) for field in fields(config)}
    return {**json.loads(json.dumps(options)), **dict(zip(SEEDS, config.seed, strict=True))}


def run_with(options: dict[str, Any], *tasks: TaskRun) -> Run:
    """Make a run with these options of the host."""
    return Run(Path("r"), tasks, str(options["model"]), "a/b", "lm-eval", options=options)


def run_of(options: dict[str, Any], revision: str | None = None) -> Run:
    """Make a run of one task with these options, whose checkpoint had a commit."""
    known = record("arc_easy", provenance={"revision": revision})
    return run_with(options, TaskRun("arc_easy", (), None, known, None))


def test_each_option_of_lm_eval_is_a_setting_or_changes_nothing() -> None:
    names = {action.dest for action in run_parser()._actions}
    ours = {field.name for field in fields(RunSettings)}
    assert ours | set(LEFT_OUT) == names
    assert not ours & set(LEFT_OUT)


@pytest.fixture(autouse=True, scope="module")
def _quiet() -> Iterator[None]:
    """Keep lm-eval's messages about each option out of the output."""
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    yield
    logging.getLogger("lm_eval").setLevel(logging.NOTSET)


@settings(max_examples=30)
@given(SETTINGS, st.sampled_from([{}, {"limit": 40}, {"limit": 0.5}, {"samples": '{"a": [0, 2]}'}]))
def test_a_run_repeated_from_its_results_has_the_same_options_in_lm_eval(
    chosen: RunSettings, which: dict[str, Any]
) -> None:
    written = RunSettings(**{**vars(chosen), **which})
    words = shlex.split(written.shell_text("out put"))
    assert words[:3] == ["moe-eval", "lm-eval", "run"]
    options = options_of(words[3:])
    assert options["output_path"] == "out put"
    again = settings_of(run_of(options), log_samples=written.log_samples)
    assert options_of(again.arguments("out put")) == options
    kept = ("tasks", "batch_size", "num_fewshot", "seed", "limit", "device", "include_path")
    assert [getattr(again, name) for name in kept] == [getattr(written, name) for name in kept]


def test_a_default_is_not_written() -> None:
    words = RunSettings("hf").command("out")
    assert words == ["moe-eval", "lm-eval", "run", "--model", "hf", "--output_path", "out"]


def test_a_whole_limit_has_no_fraction_and_no_examples_are_not_the_default() -> None:
    chosen = RunSettings("hf", limit=24.0, num_fewshot=0, fewshot_as_multiturn=False)
    assert chosen.arguments("out")[2:8] == [
        *("--limit", "24", "--num_fewshot", "0", "--fewshot_as_multiturn", "False")
    ]


def test_the_commit_that_was_used_is_pinned() -> None:
    options = options_of(["--model", "moe_hf", "--model_args", "pretrained=a/b", "--tasks", "x"])
    assert settings_of(run_of(options, "c0ffee")).model_args == "pretrained=a/b,revision=c0ffee"
    assert settings_of(run_of(options)).model_args == "pretrained=a/b"
    assert pinned_model_args("moe_vllm", '{"pretrained": "a,b"}', "0004") == (
        '{"pretrained": "a,b", "revision": "0004"}'
    )
    assert pinned_model_args("moe_hf", "revision=main", "c0ffee") == "revision=main"
    assert pinned_model_args("hf", "pretrained=a/b", "c0ffee") == "pretrained=a/b"


def test_tasks_that_lm_eval_leaves_out_of_its_file_are_those_that_were_run() -> None:
    config = {"model": "hf", "model_args": {"pretrained": "a/b"}, "gen_kwargs": None}
    tasks = [TaskRun(name, (), None, None, None) for name in ("one", "two")]
    found = settings_of(run_with(config, *tasks))
    assert found.tasks == ("one", "two")
    assert (found.gen_kwargs, found.seed, found.device) == (None, None, None)
