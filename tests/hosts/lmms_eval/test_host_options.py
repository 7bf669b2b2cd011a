"""Every option of lmms-eval is used with our models, or refused before anything runs."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
from lmms_eval import evaluator
from lmms_eval.loggers import EvaluationTracker

from moe_eval_plugin.errors import DataError, InvalidArgumentError
from moe_eval_plugin.hosts.lmms_eval.host_options import (
    REFUSED,
    USED,
    check_fewshot,
    check_options,
    refuse_options,
)
from moe_eval_plugin.hosts.lmms_eval.registration import MODELS
from moe_eval_plugin.hosts.lmms_eval.running_command import (
    _raise_if_not_saved,
    check_command,
    check_tasks,
    fail_without_results,
    host_parser,
    running_options,
)

if TYPE_CHECKING:
    from pathlib import Path

EASY = ("--model", "moe_hf", "--model_args", "pretrained=demo", "--tasks", "easy_vqa")


def options_of(*arguments: str, **values: Any) -> argparse.Namespace:
    """The options of a command, with values as a file of ``--config`` may have them."""
    options = host_parser().parse_args([*EASY, *arguments])
    return argparse.Namespace(**{**vars(options), **values})


@pytest.fixture
def restored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restore what a checked command replaces in the host."""
    monkeypatch.setattr(evaluator, "simple_evaluate", evaluator.simple_evaluate)
    name = "save_results_aggregated"
    monkeypatch.setattr(EvaluationTracker, name, getattr(EvaluationTracker, name))


def test_every_option_of_the_host_is_in_one_of_the_lists() -> None:
    theirs = {action.dest for action in host_parser()._actions}
    assert USED.keys() | REFUSED.keys() == theirs
    assert not USED.keys() & REFUSED.keys()


@pytest.mark.parametrize(
    "arguments",
    [
        ("--limit", "8", "--log_samples", "--output_path", "new/folder"),
        ("--limit", "-1", "--offset", "3", "--seed", "7", "--batch_size", "auto"),
        ("--limit", "0.5", "--num_fewshot", "0", "--repeats", "2", "--timezone", "UTC"),
        ("--gen_kwargs", "temperature=0.5,do_sample=yes,top_p=0.9", "--reasoning_tags", "none"),
        ("--system_instruction", "Be brief.", "--predict_only", "--output_path", "out"),
    ],
)
def test_options_that_are_used_pass(arguments: tuple[str, ...]) -> None:
    check_options(options_of(*arguments), host_parser())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        *((f"--{name}", f"--{name} is not possible") for name in REFUSED if name[0] not in "cm"),
        ("--cache_requests true", "by the name of the task alone"),
        ("--max_tokens 100", "models behind an API"),
        ("--limit 0", "--limit=0.0 is not possible"),
        ("--limit nan", "--limit=nan is not possible"),
        ("--limit 1.5", "a share between 0 and 1"),
        ("--limit -3", "--limit=-3.0 is not possible"),
        ("--limit 0.5 --tasks easy_vqa,okvqa", "a share to one task only"),
        ("--offset -1", "--offset=-1 is not possible"),
        ("--num_fewshot -1", "--num_fewshot=-1 is not possible"),
        ("--repeats 0", "--repeats=0 is not possible"),
        ("--log_samples", "needs --output_path"),
        ("--predict_only", "needs --output_path"),
        ("--output_path 4", "does not read it as a path"),
        ("--output_path a,b", "does not read it as a path"),
        ("--output_path=", "--output_path has no value"),
        ("--output_path pyproject.toml/out", "pyproject.toml is a file"),
        ("--timezone Mars", "Europe/Paris"),
        ("--include_path nowhere", "Use a folder with task definitions"),
        ("--hf_hub_log_args push=1", "Known are:"),
        ("--reasoning_tags <think>", "a JSON list of pairs"),
        ("--gen_kwargs temperatur=1", "Did you mean temperature"),
        ("--gen_kwargs max_new_tokens=abc", "--gen_kwargs max_new_tokens=abc is not possible"),
        ("--gen_kwargs max_new_tokens=0", "Use a whole number from 1"),
        ("--gen_kwargs temperature=nan", "Use a number from 0"),
        ("--gen_kwargs top_p=2", "Use a number above 0 to 1"),
        ("--gen_kwargs do_sample=maybe", "Use true or false"),
        ("--gen_kwargs temperature=1,temperature=2", "temperature is given more than once"),
        ("--gen_kwargs temperature=", "temperature has no value"),
    ],
)
def test_options_that_cannot_be_used_are_refused(arguments: str, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        check_options(options_of(*arguments.split()), host_parser())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"log_samples": "no"}, "Use true or false, without quotes"),
        ({"offset": "3"}, "Use a whole number, without quotes"),
        ({"seed": 42}, "Use four whole numbers"),
        ({"seed": [0, 1, 2, "x"]}, "Use four whole numbers"),
        ({"output_path": ["out"]}, "Use a text"),
        ({"limit": "many"}, "--limit=many is not possible"),
        ({"num_fewshot": 1.5}, "--num_fewshot=1.5 is not possible"),
        ({"agentic_trace_mode": "all"}, "Use one of: basic, full"),
    ],
)
def test_values_of_a_file_are_checked_too(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        check_options(options_of(**values), host_parser())


def test_examples_that_no_prompt_would_have_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="Pass --num_fewshot 0"):
        check_fewshot("gsm8k", "generate_until", 5)
    check_fewshot("arc", "multiple_choice", 5)
    check_fewshot("gsm8k", "generate_until", 0)


def test_a_program_is_refused_what_the_command_is_refused() -> None:
    refuse_options({"apply_chat_template": False, "task_dict": {}, "limit": 0.5})
    with pytest.raises(InvalidArgumentError, match="always applied"):
        refuse_options({"apply_chat_template": True})


@pytest.mark.parametrize(
    ("arguments", "repeated"),
    [
        ("--limit 4 --limit 8", "--limit"),
        ("--model_args dtype=auto", "--model_args"),
        ("--limit 4 --lim 4", "--limit"),
        ("--num_samples 2 -n 2", "--repeats"),
    ],
)
def test_an_option_given_twice_is_refused(
    monkeypatch: pytest.MonkeyPatch, arguments: str, repeated: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["lmms-eval", *EASY, *arguments.split()])
    with pytest.raises(InvalidArgumentError, match=f"{repeated} is given more than once"):
        check_command(options_of(), MODELS)


def test_a_file_with_a_key_twice_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("- model: moe_hf\n  model_args: {experts_k: 8, experts_k: 2}\n")
    monkeypatch.setattr(sys, "argv", ["lmms-eval", "--config", str(file)])
    with pytest.raises(InvalidArgumentError, match="experts_k is given more than once"):
        check_command(options_of(config=str(file)), MODELS)


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model_args": {"pretrained": "demo", "experts_k": 99}}, "Use 1 to 32"),
        ({"model_args": "pretrained=demo,experts_k=8,experts_k=2"}, "given more than once"),
        ({"model_args": "pretrained=demo,experts_k="}, "experts_k has no value"),
        ({"model_args": 4}, "Write name=value"),
        (
            {"model_args": "pretrained=demo,system_prompt=A", "system_instruction": "B"},
            "The system prompt is given more than once",
        ),
    ],
)
def test_arguments_of_the_model_are_checked_with_the_command(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    values: dict[str, Any],
    message: str,
) -> None:
    monkeypatch.setattr(sys, "argv", ["lmms-eval", *EASY])
    with pytest.raises(SystemExit) as ended:
        check_command(options_of(**values), MODELS)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.usefixtures("restored")
def test_a_mapping_of_arguments_and_other_models_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["lmms-eval", *EASY])
    assert check_command(options_of(model_args={"pretrained": "demo", "experts_k": 4}), MODELS)
    assert not check_command(options_of(model="qwen3_vl", apply_chat_template=True), MODELS)
    assert not check_command(options_of(tasks="list_groups"), MODELS)
    with pytest.raises(InvalidArgumentError, match="--tasks names no task"):
        check_command(options_of(tasks=None), MODELS)


def test_a_task_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    index = {"easy_vqa": {"yaml_path": str(tmp_path / "easy.yaml")}, "group": {"yaml_path": -1}}
    (tmp_path / "easy.yaml").write_text("task: easy_vqa\ndoc_to_text: !function utils.text\n")
    check_tasks(options_of("--tasks", "easy_vqa,group,vqa*"), index)
    with pytest.raises(InvalidArgumentError, match=r"No task is called easy_vq\. Did you mean"):
        check_tasks(options_of("--tasks", "easy_vq"), index)
    with pytest.raises(InvalidArgumentError, match="num_fewshot=2 has no effect on easy_vqa"):
        check_tasks(options_of("--num_fewshot", "2"), index)


def test_the_options_of_the_running_command_are_found() -> None:
    def cli_evaluate_single(args: argparse.Namespace) -> argparse.Namespace | None:
        assert args
        return running_options()

    given = argparse.Namespace(model="moe_hf")
    assert running_options() is None
    assert cli_evaluate_single(given) is given


@pytest.mark.usefixtures("restored")
def test_a_run_of_ours_that_fails_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise LookupError

    monkeypatch.setattr(evaluator, "simple_evaluate", fails)
    fail_without_results(MODELS)
    with pytest.raises(SystemExit) as ended:
        evaluator.simple_evaluate(model="moe_hf")
    assert ended.value.code == 1
    with pytest.raises(LookupError):
        evaluator.simple_evaluate(model="qwen3_vl")


# The host leaves the file that it wrote for the garbage collector to close.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("restored")
def test_results_that_are_not_written_end_the_process(tmp_path: Path) -> None:
    fail_without_results(MODELS)
    tracker = EvaluationTracker(output_path=str(tmp_path))
    tracker.general_config_tracker.log_experiment_args(
        "moe_hf", "pretrained=demo", None, None, None
    )
    tracker.save_results_aggregated({"results": {}}, {}, "20261128_000000")
    (file,) = tmp_path.rglob("*_results.json")
    assert json.loads(file.read_text())["model_source"] == "moe_hf"
    file.unlink()
    with pytest.raises(DataError, match="could not be written"):
        _raise_if_not_saved(tracker)
    tracker.output_path = str(tmp_path / "file" / "below")
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as ended:
        tracker.save_results_aggregated({"results": {}}, {}, "20261128_000000")
    assert ended.value.code == 2


def test_the_documentation_lists_the_options_from_the_tables_of_the_program(
    repository_root: Path,
) -> None:
    page = (repository_root / "docs/reference/options.md").read_text("utf-8")
    assert [part for part in ("used", "refused") if f"{{host-options}} {part}\n" in page] == [
        "used",
        "refused",
    ]
