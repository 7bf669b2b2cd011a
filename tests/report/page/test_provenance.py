from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

for name in ("altair", "jinja2", "vl_convert"):
    pytest.importorskip(name, reason="the extra report is not installed")

from moe_eval_plugin.report.build import Options, build  # noqa: E402
from moe_eval_plugin.report.page.provenance import origin_of  # noqa: E402
from moe_eval_plugin.report.read_series import read_series  # noqa: E402
from tests.report.report_runs import write_run, write_sweep, wrong_every  # noqa: E402
from tests.results.sample_runs import MODEL_REVISION  # noqa: E402
from tests.results.timing.timed_files import around  # noqa: E402
from tests.vqa.vqa_files import edit_json  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path


def test_provenance_has_a_command_that_lmms_eval_understands(tmp_path: Path) -> None:
    path = write_run(tmp_path, 4)
    arguments = {"model": "moe_hf", "model_args": "pretrained=demo,experts_k=4", "limit": 40.0}
    seeds = {"random_seed": 0, "numpy_seed": 1, "torch_seed": 2, "fewshot_seed": 3}
    edit_json(path, lambda content: content["config"].update(resolved_cli_args=arguments, **seeds))

    html = build([tmp_path], Options()).html

    assert (
        "lmms-eval --model moe_hf --model_args "
        f"pretrained=demo,experts_k=4,revision={MODEL_REVISION} --tasks easy_vqa "
        "--limit 40 --seed 0,1,2,3 --log_samples --output_path repeated"
    ) in html


def test_a_sweep_tells_its_command_and_what_is_not_done(tmp_path: Path) -> None:
    path = write_run(tmp_path / "k8", 8)
    results = str(path.relative_to(tmp_path))
    points = {
        "k8": {"point": {}, "digest": "", "state": "done", "results": results},
        "k4": {"point": {}, "digest": "", "state": "failed"},
    }
    command = ["moe-eval", "sweep", "--model", "moe_hf"]
    manifest = {"schema_version": 1, "kind": "sweep", "command": command, "settings": {}}
    (tmp_path / "manifest.json").write_text(json.dumps({**manifest, "points": points}))

    html = build([tmp_path], Options()).html

    assert "Command of the sweep: moe-eval sweep --model moe_hf" in html
    assert "Not done when this report was made: k4 (failed)." in html


def test_a_timed_pass_says_how_it_was_made(tmp_path: Path) -> None:
    seconds = {"k8": around(4), "k4": around(2)}
    write_sweep(tmp_path, {k: wrong_every(10) for k in (8, 4)}, seconds)
    (series,) = read_series([tmp_path])

    assert dict(origin_of(series).shared)["Timed pass, batch size 4"] == (
        "4 questions timed of 4 chosen with seed 0, interleaved, 8 blocks counted, precision 0.03, "
        "budget 60 s, ended by precision"
    )
