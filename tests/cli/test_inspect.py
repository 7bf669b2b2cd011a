from __future__ import annotations

import json

import pytest

from tests.cli.programs import moe_eval


def test_inspect_prints_a_table(model: str) -> None:
    run = moe_eval("inspect", model)
    assert run.returncode == 0, run.stderr
    assert "4 routed + 0 shared = 4" in run.stdout
    assert "2 of 2" in run.stdout


def test_inspect_prints_json_and_nothing_else(model: str) -> None:
    run = moe_eval("inspect", model, "--json")
    report = json.loads(run.stdout)
    assert (report["schema_version"], report["num_experts"], report["n_moe_layers"]) == (1, 8, 2)


@pytest.mark.parametrize("name", ["/no/such/folder", "somebody/not-in-the-cache"])
def test_unknown_model_is_one_line_and_exit_code_2(name: str) -> None:
    run = moe_eval("inspect", name)
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.splitlines()[-1].startswith(f"moe-eval: Cannot find {name}: ")
    assert "Traceback" not in run.stderr
