"""What ends a command of lm-eval with one message, before its tasks or any weight are read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.hosts.lm_eval import names
from moe_eval_plugin.hosts.lm_eval.running_command import checks
from tests.hosts.lm_eval.running_command.command_runs import lm_eval

if TYPE_CHECKING:
    from pathlib import Path


def refused(folder: Path, *arguments: object, model: str = "moe_hf") -> str:
    """Return the message that ends a command, for a task of choices unless it names others."""
    tasks = () if "--tasks" in arguments else ("--tasks", "choices")
    paths = () if "--include_path" in arguments else ("--include_path", folder / "tasks")
    model_args = (
        () if "--model_args" in arguments else ("--model_args", f"pretrained={folder}/olmoe")
    )
    given = (*tasks, *paths, *model_args, *arguments)
    ended = lm_eval("run", "--model", model, *given, folder=folder, reads_tasks=False)
    assert ended.returncode == 2
    assert ended.stdout == ""
    (message,) = [line for line in ended.stderr.splitlines() if line.startswith("moe-eval: ")]
    assert "Traceback" not in ended.stderr
    return message.removeprefix("moe-eval: ")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--tasks", "choises"), "No task is called choises. Did you mean choices?"),
        (("--include_path", "nowhere"), "--include_path=nowhere is not possible. Use a folder"),
        (("--limit", "2", "-L", "3"), "--limit is given more than once"),
        (("--limit", "-2"), "--limit=-2.0 is not possible. Use a number above 0"),
        (("--limit", "2.5"), "--limit=2.5 is not possible. Use a whole number of questions"),
        (("--num_fewshot", "-1"), "--num_fewshot=-1 is not possible"),
        (("--log_samples",), "lm-eval: Specify --output_path"),
        (("--fewshot_as_multiturn",), "lm-eval: When `fewshot_as_multiturn` is True"),
        (("--config", "none.yaml"), "lm-eval: Config file not found"),
        (("--output_path", __file__), f"--output_path={__file__} is not possible"),
        (("--cache_requests", "--seed", "3"), "--seed [3, 3, 3, 3] is not possible with"),
        (("--device", "cuda:9"), "device=cuda:9 is not possible: PyTorch"),
        (("--device", "cuda:0"), "device=cuda:0 is not possible: PyTorch"),
        (("--gen_kwargs", "a=1,a=2"), "a is given more than once in --gen_kwargs"),
    ],
    ids=lambda one: " ".join(one) if isinstance(one, tuple) else "",
)
def test_an_option_that_cannot_work_is_refused(
    folder: Path, arguments: tuple[str, ...], expected: str
) -> None:
    assert refused(folder, *arguments).startswith(expected)


@pytest.mark.parametrize(
    ("model_args", "expected"),
    [
        ("experts_k=9", "olmoe has 8 experts per layer (4 used as published)"),
        ("experts_k=0", "experts_k=0"),
        ("expert_k=2", "expert_k is not an argument of moe_hf. Did you mean experts_k?"),
        ("experts_k=2,experts_k=4", "experts_k is given more than once in --model_args"),
        ("num_experts_per_tok=2", "num_experts_per_tok=2"),
        ("profile=most", "profile=most is not known. Use one of: off, basic, full"),
    ],
)
def test_an_argument_of_the_model_that_cannot_work_is_refused(
    folder: Path, model_args: str, expected: str
) -> None:
    given = f"pretrained={folder}/olmoe,{model_args}"
    assert expected in refused(folder, "--model_args", given)


def test_arguments_in_parts_are_checked_together(folder: Path) -> None:
    given = (
        "--model_args",
        f"pretrained={folder}/olmoe",
        "experts_k=2",
        "--model_args=experts_k=4",
    )
    assert refused(folder, *given).startswith("experts_k is given more than once")


def test_an_unknown_model_is_refused_with_the_nearest_name(folder: Path) -> None:
    assert refused(folder, model="moe_fh").startswith("--model moe_fh is not known. Did you mean")


def test_a_model_of_another_package_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"group": "lm_eval.models", "name": "theirs"}
    monkeypatch.setattr(names, "entry_points", lambda **asked: [1] if asked == found else [])
    names.check_model("theirs")
    with pytest.raises(InvalidArgumentError) as refused:
        names.check_model("others")
    assert str(refused.value).startswith("--model others is not known.")


def test_a_command_without_a_task_is_refused(folder: Path) -> None:
    ended = lm_eval("run", "--model", "moe_hf", "--limit", "2", folder=folder, reads_tasks=False)
    assert (ended.returncode, ended.stderr.count("--tasks names no task")) == (2, 1)


def test_a_list_may_hold_a_text_twice_and_options_that_are_lists_may_be_repeated() -> None:
    checks._refuse_repeated(["run", "--gen_kwargs", "until=[b,b,c]", "top_k=(b,b,c)"])
    checks._refuse_repeated(
        ["--tasks", "a", "--tasks", "b", "--model_args", "x=1", "--model_args=y=1"]
    )
    checks._refuse_repeated(["--metadata", '{"a": 1, "b": 1}', "--a_later_option", "1"])
    with pytest.raises(InvalidArgumentError) as refused:
        checks._refuse_repeated(["--limit", "1", "--limit", "2"])
    assert "limit" in str(refused.value)
