from __future__ import annotations

import json
import os
import subprocess

from tests.cli.moe_eval_script import SCRIPT, moe_eval


def test_doctor_prints_json_and_its_verdict_as_exit_code() -> None:
    run = moe_eval("doctor", "--json")
    checks = json.loads(run.stdout)
    assert run.returncode == int(any(check["status"] == "fail" for check in checks))
    assert {"torch", "torchvision", "demo model"} <= {check["name"] for check in checks}


def test_doctor_fails_when_something_is_wrong() -> None:
    environment = {**os.environ, "MOE_EVAL_DATA": "/no/such/folder"}
    run = subprocess.run(
        [str(SCRIPT), "doctor", "--network"],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert run.returncode == 1
    assert "MOE_EVAL_DATA" in run.stdout
    assert "warn  hub" in run.stdout
