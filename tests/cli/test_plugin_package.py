"""A plugin of a third party, really installed: each thing that it adds is used."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.results.run_files import write_run

PACKAGE = Path(__file__).parents[1] / "plugin_package"
LMMS_EVAL = Path(sys.executable).with_name("lmms-eval")
DESCRIBE_ITS_MODEL = """
from moe_eval_example.model import PickyConfig
from moe_eval_plugin.models.families import describe
from moe_eval_plugin.plugins.manager import task_folders

found = describe(PickyConfig(choices=12, picks=5))
print(found.family, found.num_experts, found.num_experts_per_tok, found.norm_topk_prob)
print(*(folder.name for folder in task_folders("lm-eval")))
"""
OVERRIDE_ITS_MODEL = """
import torch
from moe_eval_example.model import PickyConfig, PickyModel
from moe_eval_plugin.models.families import describe
from moe_eval_plugin.override.apply import apply
from moe_eval_plugin.override.observe import observe
from moe_eval_plugin.experts.schedules.parser import parse_experts_k
from moe_eval_plugin.experts.verification import verify

model = PickyModel(PickyConfig())
tokens = torch.arange(12).reshape(2, 6)
before = model(tokens)
resolved = parse_experts_k(3).resolve(describe(model.config))
with apply(model, resolved), observe(model) as pending:
    model(tokens)
verified = verify(resolved, 5, pending.result())
print(verified.baseline, verified.observed, verified.n_layers, torch.equal(model(tokens), before))
"""

CALIBRATE_ITS_POLICY = """
import torch
from moe_eval_plugin.experts.schedules.parser import parse_experts_k
from moe_eval_plugin.experts.schedules.routing_rule import RoutingRule
from moe_eval_plugin.models.families import describe
from moe_eval_plugin.override.apply import apply
from moe_eval_plugin.override.observe import observe
from moe_eval_plugin.plugins import MeasuredPolicy, PolicyCalibration
from moe_eval_plugin.testing import tiny_moe
from moe_eval_plugin.tuning.policies.calibrate import calibrate_policy

model = tiny_moe("qwen3_moe")
tokens = torch.arange(24).reshape(2, 12)
k = describe(model.config).num_experts_per_tok
resolved = parse_experts_k(k).resolve(describe(model.config))

@torch.no_grad()
def measure(parameters):
    rule = RoutingRule("above", tuple(parameters))
    with apply(model, resolved, rule), observe(model) as pending:
        model(tokens)
    return MeasuredPolicy(0.0, pending.result().mean_k())

layers = tuple(range(model.config.num_hidden_layers))
calibration = PolicyCalibration("above", 0.5, k, layers, measure, 2, False, {}, {})
(number,) = calibrate_policy("above", calibration)
print(measure([number - 0.02]).mean_k > k / 2 >= measure([number]).mean_k >= 1)
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install a copy of the plugin into a folder of its own."""
    folder = tmp_path_factory.mktemp("plugin")
    copy, target = folder / "source", folder / "installed"
    shutil.copytree(PACKAGE, copy)
    options = ("--no-deps", "--no-build-isolation", "--quiet", "--target", str(target))
    command = [sys.executable, "-m", "pip", "install", *options, str(copy)]
    subprocess.run(command, check=True, cwd=folder)
    return target


def test_its_task_runs_with_our_model_and_its_row_is_in_the_results(
    installed: Path, tmp_path: Path
) -> None:
    command = [
        *(
            str(LMMS_EVAL),
            "--model",
            "moe_hf",
            "--model_args",
            "pretrained=demo,experts_k=2,share_images=no",
        ),
        *("--tasks", "easy_vqa_shout", "--limit", "8", "--batch_size", "4"),
        *("--output_path", str(tmp_path / "out")),
    ]
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": str(installed)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (file,) = (tmp_path / "out").rglob("*_results.json")
    results = json.loads(file.read_text(encoding="utf-8"))
    rows, record = results["results"]["easy_vqa_shout"], results["moe_eval"]["easy_vqa_shout"]
    assert rows["observed_num_experts_per_tok,none"] == 2
    slowest_s, wall_s = rows["slowest_batch_s,none"], record["speed"]["wall_s"]
    assert wall_s / 2 <= slowest_s < wall_s
    assert record["extra"] == {"slowest_batch_s": slowest_s}
    assert record["provenance"]["plugin_failures"] == []
    assert results["higher_is_better"]["easy_vqa_shout"]["slowest_batch_s"] is False
    assert "|slowest_batch_s" in done.stdout


def run_python(installed: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def shown(installed: Path) -> list[str]:
    """What two programs print, run in one process."""
    return run_python(installed, "-c", DESCRIBE_ITS_MODEL + OVERRIDE_ITS_MODEL).splitlines()


def test_its_family_is_listed_with_ours(installed: Path) -> None:
    listed = run_python(installed, "-m", "moe_eval_plugin", "families")
    assert "\npicky_moe " in listed
    assert "\nqwen3_vl_moe " in listed


def test_its_family_tells_where_k_is_and_each_host_has_a_folder(
    installed: Path, shown: list[str]
) -> None:
    described, folders, _ = shown
    assert described.split() == ["picky_moe", "12", "5", "True"]
    assert set(folders.split()) == {"lm_eval", "lm_eval_tasks"}
    assert (installed / "moe_eval_example" / "lm_eval_tasks" / "easy_vqa_shout.yaml").is_file()


@pytest.mark.filterwarnings("default")
def test_its_task_is_one_of_lm_eval_too() -> None:
    from lm_eval.tasks import TaskManager

    folder = PACKAGE / "src" / "moe_eval_example" / "lm_eval_tasks"
    manager = TaskManager(include_path=str(folder), include_defaults=False)
    task = manager.load(["easy_vqa_shout"])["tasks"]["easy_vqa_shout"]
    text = task.doc_to_text(task.eval_docs[0])
    assert text.startswith("<image>Look! what is the red shape?")


def test_the_k_of_its_model_is_set_observed_and_restored(shown: list[str]) -> None:
    assert shown[-1].split() == ["5", "3", "1", "True"]


def test_its_policy_is_calibrated_by_its_own_hook(installed: Path) -> None:
    assert run_python(installed, "-c", CALIBRATE_ITS_POLICY).split() == ["True"]


def test_its_format_is_listed_and_written_with_ours(installed: Path, tmp_path: Path) -> None:
    export = ("-m", "moe_eval_plugin", "export", "--format")
    listed = run_python(installed, *export)
    assert "\nshout " in listed
    assert "evalai " in listed
    run = write_run(tmp_path / "run", {"okvqa": []})
    written = run_python(installed, *export, "shout", str(run))
    assert "was that loud enough?" in written
    text = run.with_name("SHOUT.txt").read_text(encoding="utf-8")
    assert text == "OKVQA VQA_ACCURACY: 0.5\nOKVQA SAMPLES_PER_S: 7.0\n"
