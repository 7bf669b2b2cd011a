"""lm-eval's own command with our models: its options, its results, and how it ends."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from moe_eval_plugin.commands.lm_eval import HOSTS_HELP
from moe_eval_plugin.experts.verification import OverrideNotEffectiveError
from moe_eval_plugin.model_adapters.lm_eval_hf import MoEHFLM
from moe_eval_plugin.results.files import find_run
from tests.cli.programs import MOE_EVAL, moe_eval, start
from tests.hosts.lm_eval.local_tasks import N_QUESTIONS
from tests.hosts.lm_eval.running_command.command_runs import lm_eval

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.programs import Ended

K = 2


def run(folder: Path, *arguments: object, k: int = K, verb: tuple[str, ...] = ("run",)) -> Ended:
    """Run a task of choices at k on the CPU."""
    model_args = f"pretrained={folder / 'olmoe'},dtype=float32,experts_k={k}"
    tasks = ("--tasks", "choices", "--include_path", folder / "tasks", "--device", "cpu")
    given = ("--model", "moe_hf", "--model_args", model_args, *tasks)
    return lm_eval(*verb, *given, *arguments, folder=folder)


@pytest.fixture(scope="module")
def output(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a finished run, whose verb is left out."""
    found = tmp_path_factory.mktemp("output")
    more = ("--num_fewshot", 1, "--metadata", "size=7", "--limit", 4, "--log_samples")
    ended = run(folder, *more, "--output_path", found, verb=())
    assert ended.returncode == 0
    assert f"experts_k': {K}}}" in ended.stdout
    assert "observed_num_experts_per_tok" in ended.stdout
    return found


def results_in(output: Path) -> dict[str, Any]:
    (path,) = output.rglob("results_*.json")
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found


def test_results_hold_the_record_and_the_options_that_the_host_leaves_out(
    output: Path, folder: Path
) -> None:
    results = results_in(output)
    assert results["moe_eval"]["choices"]["experts"]["observed"] == K
    assert results["moe_eval_command"] == {
        "program": "moe-eval lm-eval run",
        "options": {
            "model": "moe_hf",
            "model_args": {"pretrained": str(folder / "olmoe"), "dtype": "float32", "experts_k": K},
            "tasks": ["choices"],
            "num_fewshot": 1,
            "device": "cpu",
            "limit": 4.0,
            "log_samples": True,
            "include_path": str(folder / "tasks"),
            "metadata": {"size": 7},
        },
    }
    assert find_run(output).options["num_fewshot"] == 1


def test_a_configuration_file_counts_as_the_options_in_it(folder: Path, tmp_path: Path) -> None:
    config = {
        "model": "moe_hf",
        "model_args": {"pretrained": str(folder / "olmoe"), "experts_k": K},
        "tasks": ["choices"],
        "include_path": str(folder / "tasks"),
        "device": "cpu",
        "seed": 3,
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config), "utf-8")
    arguments = ("--config", tmp_path / "run.yaml", "--output_path", tmp_path, "--limit", 2)
    assert lm_eval("run", *arguments, folder=folder).returncode == 0
    options = results_in(tmp_path)["moe_eval_command"]["options"]
    assert (options["seed"], options["limit"], options["tasks"]) == ([3] * 4, 2, ["choices"])
    assert "config" not in options


def test_a_failed_verification_ends_with_3(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise OverrideNotEffectiveError({"mlp": K}, {"mlp": {4: 10}}, ["mlp"])

    monkeypatch.setattr(MoEHFLM, "_observe", fails)
    ended = run(folder)
    assert ended.returncode == 3
    assert "mlp" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_errors_of_the_host_are_as_it_has_them(folder: Path) -> None:
    with pytest.raises(AssertionError, match="interval"):
        run(folder, "--samples", '{"choices": [99]}')


def test_the_verbs_of_the_host_are_passed_on(folder: Path) -> None:
    listed = lm_eval("ls", "subtasks", "--include_path", folder / "tasks", folder=folder)
    assert "choices" in listed.stdout
    asked = ("validate", "--tasks", "choices,none", "--include_path", folder / "tasks")
    ended = lm_eval(*asked, folder=folder)
    assert (ended.returncode, "Tasks not found: none" in ended.stdout) == (1, True)
    assert lm_eval("run", "--model_arg5", folder=folder).returncode == 2


@pytest.mark.parametrize("arguments", [(), ("-h",), ("run", "--help"), ("run",)])
def test_help_explains_our_models_and_then_the_host(arguments: tuple[str, ...]) -> None:
    ours, _, theirs = moe_eval("lm-eval", *arguments).stdout.partition(HOSTS_HELP)
    assert ("experts_k=4" in ours) == (arguments != ("run",))
    assert "lm-eval" in (theirs or ours)


def test_a_real_process_runs_our_model_beside_all_tasks_of_the_host(
    folder: Path, tmp_path: Path
) -> None:
    ended = start(
        *(MOE_EVAL, "lm-eval", "run", "--model", "moe_hf"),
        *("--model_args", f"pretrained={folder / 'olmoe'},experts_k={K}"),
        *("--tasks", "choices,words", "--include_path", folder / "tasks"),
        *("--output_path", tmp_path),
    )
    assert ended.returncode == 0, ended.stderr
    # Nothing is left open when the process ends.
    assert "Exception ignored" not in ended.stderr
    results = results_in(tmp_path)
    for task in ("choices", "words"):
        record = results["moe_eval"][task]
        assert (record["experts"]["requested"], record["experts"]["observed"]) == (K, K)
        assert record["speed"]["n_samples"] == N_QUESTIONS[task]
    assert "|observed_num_experts_per_tok|" in ended.stdout
    assert results["config"]["device"] == "cuda:0"
