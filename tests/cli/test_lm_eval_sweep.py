"""``moe-eval sweep --host lm-eval``: the host's own results at each k, resumed, and timed."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from lm_eval import tasks as host_tasks
from lm_eval.api.registry import get_model

from moe_eval_plugin.hosts.harness import harness
from moe_eval_plugin.hosts.shared.host_run import HostRun
from moe_eval_plugin.results.files import find_results, read_run
from moe_eval_plugin.results.timing.timed_pass import read_timed_passes
from tests.cli.programs import Ended, moe_eval
from tests.experts.schedules.tuned_files import record, write_file
from tests.hosts.lm_eval.local_tasks import N_QUESTIONS, evaluate, write_tasks
from tests.hosts.lm_eval.tiny_olmoe import PUBLISHED_K, save_olmoe

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from moe_eval_plugin.results.timing.timed_pass import TimedPass

TASKS = ["choices", "sums", "texts"]
K = 2
TUNED = "tuned-0.5"
# Contexts that are shared change the last digits of scores.
AS_THE_HOST = "dtype=float32,share_contexts=no"


@pytest.fixture(scope="module", autouse=True)
def _own_tasks_alone() -> Iterator[None]:
    """Leave the thousands of tasks of the host unread."""
    with pytest.MonkeyPatch.context() as patch:
        manager = partial(host_tasks.TaskManager, include_defaults=False)
        patch.setattr(host_tasks, "TaskManager", manager)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lm_eval_sweep")
    save_olmoe(folder / "model")
    (folder / "tasks").mkdir()
    write_tasks(folder / "tasks")
    write_file(folder, TUNED, k="4/0:2", doc_ids=(1, 7), task="choices")
    return folder


def sweep(folder: Path, *more: object) -> Ended:
    return moe_eval(
        *("sweep", "--model-args", f"pretrained={folder / 'model'},{AS_THE_HOST}"),
        *("--tasks", *TASKS, "--include-path", folder / "tasks", "--experts-k", K),
        f"@{folder / TUNED}.yaml",
        *("--device", "cpu", "--speed-budget", "0.01", "--output", folder / "sweep", *more),
    )


@pytest.fixture(scope="module")
def swept(folder: Path) -> Ended:
    return sweep(folder, "--host", "lm-eval")


def samples(folder: Path, point: str, task: str) -> list[dict[str, Any]]:
    (path,) = (folder / "sweep" / point).rglob(f"samples_{task}_*.jsonl")
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_each_point_has_the_results_of_the_host_on_a_rebuilt_model(
    folder: Path, swept: Ended, tmp_path: Path
) -> None:
    assert swept.returncode == 0, swept.stderr
    assert f"Added k={PUBLISHED_K}, the published k, as the baseline." in swept.stdout
    assert "Batch size 1, as --batch-size names none" in swept.stdout
    model = {"pretrained": str(save_olmoe(tmp_path, K)), "dtype": "float32"}
    expected = evaluate("hf", TASKS, folder / "tasks", model_args=model)["samples"]
    for task in TASKS:
        found = samples(folder, f"k{K}", task)
        assert [one["doc_id"] for one in found] == [one["doc_id"] for one in expected[task]]
        assert _texts(found) == _texts(expected[task])
        assert _texts(samples(folder, f"k{PUBLISHED_K}", task)) != _texts(found)


def _texts(found: list[dict[str, Any]]) -> list[Any]:
    """Return all responses; files hold their numbers as texts."""
    return [_text(one["resps"]) for one in found]


def _text(value: Any) -> Any:
    return [_text(one) for one in value] if isinstance(value, list | tuple) else str(value)


def test_a_sweep_is_read_with_its_host_and_k(folder: Path, swept: Ended) -> None:
    assert swept.returncode == 0, swept.stderr
    for k in (PUBLISHED_K, K):
        run = read_run(find_results(folder / "sweep" / f"k{k}"))
        assert run.host == "lm-eval"
        for task in run.tasks:
            assert task.record is not None
            assert task.record.experts is not None
            assert task.record.experts.observed == k
            assert task.record.speed.n_samples == N_QUESTIONS[task.task]


def test_a_tuned_schedule_is_named_and_recorded(folder: Path, swept: Ended) -> None:
    said = "2 of the 8 questions of choices took part in choosing tuned-0.5"
    assert said in swept.stdout
    assert said in (folder / "sweep" / "manifest.json").read_text("utf-8")
    run = read_run(find_results(folder / "sweep" / TUNED))
    assert {task.task for task in run.tasks} == {*TASKS}
    for task in run.tasks:
        assert task.setup.tuning == record(TUNED, doc_ids=(1, 7), task="choices")
        assert task.setup.values["experts_k"] == "4/0:2"
        assert task.record is not None
        assert task.record.experts is not None
        assert task.record.experts.observed == (PUBLISHED_K + K) / 2


def test_the_same_command_finds_everything_done_and_keeps_the_host(
    folder: Path, swept: Ended
) -> None:
    assert swept.returncode == 0, swept.stderr
    again = sweep(folder)
    assert again.returncode == 0, again.stderr
    assert "3 of 3 settings were done already." in again.stderr

    other = sweep(folder, "--host", "lmms-eval", "--limit", "3")
    assert other.returncode == 2
    shots = sweep(folder, "--num-fewshot", "1")
    assert shots.returncode == 2
    assert "num_fewshot: None -> 1" in shots.stderr


@pytest.fixture(scope="module")
def passes(folder: Path, swept: Ended) -> dict[str, TimedPass]:
    assert swept.returncode == 0, swept.stderr
    return {found.task: found for found in read_timed_passes(folder / "sweep")}


@pytest.mark.parametrize("task", TASKS)
def test_all_settings_are_timed_block_by_block_on_the_same_questions(
    task: str, passes: dict[str, TimedPass]
) -> None:
    found = passes[task]
    assert (found.method, found.batch_size) == ("interleaved", 1)
    assert found.settings == (f"k{PUBLISHED_K}", f"k{K}", TUNED)
    for block in found.blocks:
        for name in found.settings:
            assert sum(one.n_samples for one in block.batches[name]) == N_QUESTIONS[task]
    ratio = found.speed_up(f"k{K}")
    assert ratio is not None
    assert ratio.ratio > 0


def test_the_definition_of_a_task_does_not_depend_on_the_arguments_of_the_model(
    folder: Path,
) -> None:
    runs = [
        HostRun("moe_hf", args, ("choices",), include_path=str(folder / "tasks"))
        for args in ("pretrained=a,experts_k=2", "pretrained=b")
    ]
    first, second = (harness("lm-eval").load_tasks(run).settings() for run in runs)
    assert first == second
    assert first["task choices: version"] == "1.0"


def test_requests_of_chosen_questions_are_those_that_the_host_builds(folder: Path) -> None:
    run = HostRun(
        "moe_hf", "", ("sums",), include_path=str(folder / "tasks"), gen_kwargs="max_gen_toks=3"
    )
    host = harness("lm-eval").load_tasks(run)
    chosen = host.requests(None, "sums", (4, 1))
    everything = host.requests(None, "sums", range(N_QUESTIONS["sums"]))
    assert [one.doc_id for one in chosen] == [1, 4]
    # The examples of a question are those that it has among all others.
    assert [one.args for one in chosen] == [everything[1].args, everything[4].args]
    assert chosen[0].args[1]["max_gen_toks"] == 3
    assert chosen[0].args[0].count("=") == 1 + 2


def test_nothing_stays_replaced_in_the_host(folder: Path) -> None:
    run = HostRun("moe_hf", "", ("choices",), include_path=str(folder / "tasks"))
    host = harness("lm-eval").load_tasks(run)
    manager = host_tasks.TaskManager
    with host.resident(lambda *_: None):
        assert host_tasks.TaskManager is not manager
    assert host_tasks.TaskManager is manager
    assert get_model("hf").__name__ == "HFLM"
