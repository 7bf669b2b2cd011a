from __future__ import annotations

from moe_eval_plugin.doctor.check import Check, exit_code, render, summary


def test_only_failures_change_the_exit_code() -> None:
    fine, note = Check("a", "ok", "x"), Check("b", "warn", "y")
    assert exit_code([fine, note]) == 0
    assert exit_code([fine, Check("c", "fail", "z", "fix")]) == 1


def test_each_fix_is_below_its_fault() -> None:
    checks = [Check("a", "ok", "x"), Check("long", "fail", "z", "fix")]
    lines = "\n".join(map(render, checks)).splitlines()
    assert [" ".join(line.split()) for line in lines] == ["ok a x", "fail long z", "-> fix"]
    assert lines[2].index("->") == lines[0].index("x") == lines[1].index("z")
    assert summary(checks) == "1 ok, 0 warnings, 1 failed"
