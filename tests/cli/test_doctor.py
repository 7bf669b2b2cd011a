from __future__ import annotations

from tests.cli.json_docs import checked_json
from tests.cli.programs import MOE_EVAL, moe_eval, start


def test_doctor_prints_json_and_its_verdict_as_exit_code() -> None:
    run = start(MOE_EVAL, "doctor", "--json")
    checks = checked_json("a check", run.stdout)
    assert run.returncode == int(any(check["status"] == "fail" for check in checks))
    assert {"torch", "torchvision", "demo model"} <= {check["name"] for check in checks}


def test_doctor_fails_when_something_is_wrong() -> None:
    run = moe_eval("doctor", "--network", MOE_EVAL_DATA="/no/such/folder")
    assert run.returncode == 1
    assert "MOE_EVAL_DATA" in run.stdout
    assert "warn  hub" in run.stdout
