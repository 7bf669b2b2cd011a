from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from tests.cli.json_docs import checked_json
from tests.cli.programs import MOE_EVAL, lmms_eval, moe_eval, start
from tests.experts.schedules.tuned_files import write_file
from tests.publish.bundle.finished_sweeps import change, members, rewrite
from tests.report.report_runs import TASK
from tests.sweeps.sweeps import numbers, results

if TYPE_CHECKING:
    import pytest


def test_a_sweep_is_reproduced_from_its_bundle_alone(bundle: Path, tmp_path: Path) -> None:
    archive = shutil.copy(bundle, tmp_path)
    run = start(MOE_EVAL, "reproduce", archive, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert "Packages and machine are equal to those of the bundle." in run.stdout
    assert "$ moe-eval sweep --model moe_hf --model-args pretrained=demo" in run.stdout
    assert "Accuracy: reproduced, 3 of 3 settings." in run.stdout
    again = tmp_path / "sweep-again"
    assert numbers(again / "run") == numbers(bundle.parent / "sweep")
    verdict = json.loads((again / "agreement.json").read_text("utf-8"))
    assert verdict["agrees"]
    judged = {
        (row["point"], row["number"]) for row in verdict["rows"] if row["verdict"] == "agrees"
    }
    kept = "schedules/tuned-0.5.yaml"
    assert f"--experts-k 8 1 @{again / 'bundle' / kept}" in run.stdout
    assert (again / "run" / kept).read_text() == (again / "bundle" / kept).read_text()
    tuning = results(again / "run", "tuned-0.5")["moe_eval"][TASK]["provenance"]["tuning"]
    assert tuning["questions"][0]["doc_ids"] == [0, 1]
    for point in ("k8", "k1", "tuned-0.5"):
        for number in ("equal answers", "exact_match", "observed_num_experts_per_tok"):
            assert (point, number) in judged


def test_a_run_of_lmms_eval_is_reproduced_from_its_bundle_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = write_file(tmp_path, "tuned-0.5", k="0-1:3/2-3:1", doc_ids=(0, 9))
    model = ("--model", "moe_hf", "--model_args", f"pretrained=demo,experts_k={file}")
    asked = ("--tasks", TASK, "--limit", "4", "--batch_size", "2")
    done = lmms_eval(*model, *asked, "--log_samples", "--output_path", "k2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (tmp_path / "tuned-0.5.yaml").unlink()
    (said,) = [one.getMessage() for one in caplog.records if "took part" in one.getMessage()]
    assert said.startswith("1 of the 4 questions of easy_vqa took part in choosing tuned-0.5; the")
    packed = moe_eval("bundle", "k2", "--json", cwd=tmp_path)
    assert packed.returncode == 0, packed.stderr
    assert checked_json("bundle", packed.stdout)["bundle"] == "k2.tar.gz"
    run = start(MOE_EVAL, "reproduce", "k2.tar.gz", "--output", "new", "--json", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    verdict = checked_json("reproduce", run.stdout)
    assert verdict["agrees"]
    assert verdict["environment"] == {"packages": [], "machine": [], "checkpoint": []}
    assert {row["point"] for row in verdict["rows"]} == {"run"}
    kept = tmp_path / "new" / "bundle" / "schedules" / "tuned-0.5.yaml"
    assert f"lmms-eval --model moe_hf --model_args pretrained=demo,experts_k=@{kept}" in run.stderr


def test_a_check_shows_what_would_be_run_and_leaves_nothing(bundle: Path, tmp_path: Path) -> None:
    run = moe_eval("reproduce", bundle, "--check-only", "--limit", "8", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert "all checksums agree" in run.stdout
    assert "--limit 8" in run.stdout
    shown = " ".join(run.stdout.replace("\\\n", " ").split())
    kept = tmp_path / "sweep-again" / "bundle" / "schedules" / "tuned-0.5.yaml"
    assert f"--experts-k 8 1 @{kept}" in shown
    assert "--output sweep-again/run" in shown
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_is_there_already_is_compared_and_a_changed_k_found(
    bundle: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    shutil.copytree(bundle.parent / "sweep", mine)
    run = moe_eval("reproduce", bundle, "--against", mine, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    (path,) = (mine / "k1").rglob("*_results.json")
    content = results(mine, "k1")
    content["moe_eval"][TASK]["experts"]["observed"] = 2
    change(path, lambda old: old.update(content))
    run = moe_eval("reproduce", bundle, "--against", mine, cwd=tmp_path)
    assert run.returncode == 1
    assert "Experts used: not reproduced: k=1 observed_num_experts_per_tok." in run.stdout
    assert not json.loads((tmp_path / "sweep-again" / "agreement.json").read_text())["agrees"]


def test_a_bundle_that_was_tampered_with_is_refused(bundle: Path, tmp_path: Path) -> None:
    archive = Path(shutil.copy(bundle, tmp_path))
    files = members(archive)
    name = next(name for name in files if name.endswith("_results.json"))
    rewrite(archive, {**files, name: files[name].replace(b"0.", b"1.", 1)})
    run = moe_eval("reproduce", archive, cwd=tmp_path)
    assert run.returncode == 2
    assert "was changed" in run.stderr
    assert "Traceback" not in run.stderr
    assert [path.name for path in tmp_path.iterdir()] == [archive.name]
