"""The suite ``flame_moe``: six tasks of lm-eval with their own data, few-shot examples and seed."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import datasets
import lm_eval as host
import pytest
from huggingface_hub import HfApi, constants
from lm_eval import tasks as host_tasks
from lm_eval.tasks import TaskManager

from moe_eval_plugin.errors import DataError, InvalidArgumentError
from moe_eval_plugin.hosts.lm_eval.running_command.suite_seed import published_seed
from moe_eval_plugin.hosts.shared.hub_data import HubData, check_hub_data
from moe_eval_plugin.sweeps.early_checks import _definitions
from moe_eval_plugin.tasks import tasks_path
from moe_eval_plugin.tasks.hub_task import HubTask
from moe_eval_plugin.tasks.listing import list_tasks, read_definition
from tests.hosts.lm_eval.flame_suite_data import N_ASKED, TASKS, write_suite_data
from tests.hosts.lm_eval.running_command.command_runs import lm_eval
from tests.hosts.lm_eval.tiny_olmoe import save_olmoe

if TYPE_CHECKING:
    from tests.cli.programs import Ended

# The published evaluation: scripts/evaluate.sh of FLAME-MoE.
N_SHOT = {
    "openbookqa": 0,
    "winogrande": 0,
    "piqa": 10,
    "arc_easy": 10,
    "arc_challenge": 10,
    "hellaswag": 10,
}
SEED = 42
DATA_SETS = {
    "allenai/openbookqa",
    "allenai/winogrande",
    "baber/piqa",
    "allenai/ai2_arc",
    "Rowan/hellaswag",
}
K = 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the data, a small model, and the host's own five folders of tasks."""
    found = tmp_path_factory.mktemp("suite")
    write_suite_data(found / "data")
    save_olmoe(found / "olmoe", max_position_embeddings=4096)
    for name in ("openbookqa", "winogrande", "piqa", "arc", "hellaswag"):
        # In the place of all the tasks of the host, where `lm_eval` looks.
        shutil.copytree(Path(host_tasks.__file__).parent / name, found / "none" / name)
    return found


@pytest.fixture(autouse=True)
def data(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOE_EVAL_DATA", str(folder / "data"))


def manager(folder: Path) -> TaskManager:
    """Return the host's list of these tasks, and ours."""
    paths = [str(folder / "none"), str(tasks_path("lm-eval"))]
    return TaskManager(include_path=paths, include_defaults=False)


def run(folder: Path, output: Path, *arguments: object) -> Ended:
    """Run the suite at k on the CPU."""
    model_args = f"pretrained={folder / 'olmoe'},dtype=float32,experts_k={K}"
    given = ("--model", "moe_hf", "--model_args", model_args, "--device", "cpu")
    where = ("--tasks", "flame_moe", "--output_path", output, "--batch_size", 8)
    return lm_eval("run", *given, *where, *arguments, folder=folder)


def written(output: Path, pattern: str) -> Path:
    (path,) = output.rglob(pattern)
    return path


@pytest.fixture(scope="module")
def ended(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Ended, Path]:
    """Return how the suite ended, and where its results are."""
    output = tmp_path_factory.mktemp("output")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("MOE_EVAL_DATA", str(folder / "data"))
        return run(folder, output, "--log_samples"), output


@pytest.fixture(scope="module")
def results(ended: tuple[Ended, Path]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(written(ended[1], "results_*.json").read_text("utf-8"))
    return found


def test_each_task_has_both_accuracies_and_the_published_examples(
    results: dict[str, Any], ended: tuple[Ended, Path]
) -> None:
    assert ended[0].returncode == 0
    assert {name: results["n-shot"][name] for name in TASKS} == N_SHOT
    for name in TASKS:
        rows = results["results"][name]
        assert 0 <= rows["acc,none"] <= 1
        assert ("acc_norm,none" in rows) == (name != "winogrande")
        assert results["n-samples"][name]["effective"] == N_ASKED
        assert results["moe_eval"][name]["experts"]["observed"] == K
        assert results["configs"][name]["metadata"]["origin"].startswith("files: ")
    accuracies = [results["results"][name]["acc,none"] for name in TASKS]
    assert results["groups"]["flame_moe"]["acc,none"] == pytest.approx(sum(accuracies) / 6)


def test_the_seed_is_the_published_one_and_is_recorded(
    results: dict[str, Any], ended: tuple[Ended, Path], folder: Path
) -> None:
    names = ("random_seed", "numpy_seed", "torch_seed", "fewshot_seed")
    assert [results["config"][name] for name in names] == [SEED] * 4
    assert results["moe_eval_command"]["options"]["seed"] == [SEED] * 4
    # The examples of the first question, drawn here as the host's sampler draws them.
    pool = datasets.Dataset.from_parquet(
        str(folder / "data/allenai/ai2_arc/ARC-Easy/train-00000-of-00001.parquet")
    )
    drawn = random.Random(SEED).sample(list(pool), 10)  # noqa: S311  (the host's generator)
    line = written(ended[1], "samples_arc_easy_*.jsonl").read_text("utf-8").splitlines()[0]
    prompt = json.loads(line)["arguments"]["gen_args_0"]["arg_0"]
    assert [part.split("\n")[0] for part in prompt.split("\n\n")[:-1]] == [
        f"Question: {one['question']}" for one in drawn
    ]


def test_a_seed_of_the_user_is_kept(folder: Path, tmp_path: Path) -> None:
    assert run(folder, tmp_path, "--seed", 7, "--limit", 1).returncode == 0
    found = json.loads(written(tmp_path, "results_*.json").read_text("utf-8"))
    assert found["config"]["fewshot_seed"] == 7
    assert found["moe_eval_command"]["options"]["seed"] == [7] * 4


def test_cached_requests_may_be_of_another_seed(folder: Path, tmp_path: Path) -> None:
    ended = run(folder, tmp_path, "--cache_requests", "true")
    assert ended.returncode == 2
    assert "--seed" in ended.stderr


def test_the_tasks_outside_of_the_suite_are_those_of_the_host(folder: Path) -> None:
    here = manager(folder)
    before = {name: dict(here.task_index[name].cfg or {}) for name in TASKS}
    loaded = here.load(["flame_moe"])["tasks"]
    assert all(isinstance(task, HubTask) for task in loaded.values())
    for name in TASKS:
        entry = here.task_index[name]
        assert entry.cfg == before[name]
        assert "num_fewshot" not in before[name]
        assert str(entry.yaml_path).startswith(str(folder / "none"))
        # The same questions, from the same data set, with the same scores.
        config = loaded[name].config
        assert config.dataset_path == before[name]["dataset_path"]
        assert config.dataset_name == before[name].get("dataset_name")
        assert config.metric_list == before[name]["metric_list"]


def test_missing_data_are_named_before_the_model_is_loaded(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOE_EVAL_DATA", str(tmp_path))
    with patch.object(host, "simple_evaluate", side_effect=AssertionError("the model is loaded")):
        ended = run(folder, tmp_path / "output")
    assert ended.returncode == 2
    assert all(name in ended.stderr for name in DATA_SETS)
    assert f"not in {tmp_path}, the folder that MOE_EVAL_DATA names" in ended.stderr
    assert not (tmp_path / "output").exists()


def test_a_sweep_asks_the_hub_once_where_it_cannot_be_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_: object, **__: object) -> None:
        asked.append(1)
        message = "[Errno -2] Name or service not known"
        raise ConnectionError(message)

    asked: list[int] = []
    monkeypatch.delenv("MOE_EVAL_DATA")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "prepared"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(HfApi, "dataset_info", unreachable)
    (tmp_path / "prepared/allenai___ai2_arc/ARC-Easy").mkdir(parents=True)
    (tmp_path / "hub/datasets--baber--piqa").mkdir(parents=True)
    wanted = [HubData.of_definition(*one) for one in _definitions(["flame_moe"], "lm-eval")]
    with pytest.raises(DataError) as refused:
        check_hub_data(one for one in wanted if one)
    said = str(refused.value)
    assert len(asked) == 1
    assert "allenai/ai2_arc (for arc_challenge), Rowan/hellaswag (for hellaswag). They" in said
    assert "piqa" not in said
    assert "Name or service not known. With a network they are downloaded" in said
    assert "hf download allenai/openbookqa --repo-type dataset --local-dir FOLDER/" in said


def test_data_sets_that_the_hub_does_not_have_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NotFoundError(ConnectionError):
        response = "404"

    def answer(_: HfApi, dataset: str, **__: object) -> None:
        if dataset == "baber/piqa":
            raise NotFoundError(dataset)

    monkeypatch.delenv("MOE_EVAL_DATA")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "prepared"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(HfApi, "dataset_info", answer)
    wanted = [HubData("piqa", "baber/piqa"), HubData("hellaswag", "Rowan/hellaswag")]
    with pytest.raises(DataError, match=r"missing: baber/piqa \(for piqa\)\. They"):
        check_hub_data(wanted)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "has no Parquet file of train, which arc_easy needs; it has"),
        (lambda path: path.write_bytes(b"PAR1"), "cannot be read"),
    ],
)
def test_a_copy_that_lacks_a_part_is_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Any, message: str
) -> None:
    shutil.copytree(folder / "data", tmp_path / "data")
    damage(tmp_path / "data/allenai/ai2_arc/ARC-Easy/train-00000-of-00001.parquet")
    monkeypatch.setenv("MOE_EVAL_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    ended = run(folder, tmp_path / "output")
    assert ended.returncode == 2
    assert message in ended.stderr


def test_files_are_found_in_the_layout_that_the_hub_converts(tmp_path: Path) -> None:
    where = tmp_path / "allenai/ai2_arc/ARC-Easy/train/0000.parquet"
    where.parent.mkdir(parents=True)
    where.touch()
    data = HubData("arc_easy", "allenai/ai2_arc", "ARC-Easy")
    assert data.files(tmp_path) == {"train": [str(where)]}


def test_suites_with_different_seeds_ask_for_one() -> None:
    class Entry:
        def __init__(self, seed: int) -> None:
            self.cfg = {"group": "one", "metadata": {"published_seed": seed}}

    index = {"a": Entry(42), "b": Entry(1), "c": Entry(42)}
    assert published_seed(["a", "c", "none", {"task": "own"}], index) == SEED
    with pytest.raises(InvalidArgumentError, match=r"a with 42, b with 1\. Set --seed"):
        published_seed(["a", "b"], index)


def test_the_suite_is_listed_with_its_tasks() -> None:
    (suite,) = (one for one in list_tasks("lm-eval") if one.name == "flame_moe")
    assert suite.members == TASKS
    assert read_definition(Path(suite.definition))["metadata"]["published_seed"] == SEED
