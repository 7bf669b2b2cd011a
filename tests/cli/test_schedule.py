"""``moe-eval schedule``: what it prints, writes and refuses."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from tests.cli.json_docs import checked_json, documented
from tests.cli.programs import moe_eval
from tests.publish.deployment.tuned_files import tuned_file

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "deploy-a-schedule.md"
SHOWN = re.compile(r"```console\nmoe-eval (.*)\n```\n\n```text\n((?:.*\n)*?)```")


def test_show_prints_a_table_or_json(tmp_path: Path) -> None:
    path = tuned_file(tmp_path)
    shown = moe_eval("schedule", "show", path)
    assert shown.returncode == 0, shown.stderr
    assert "tuned-0.25" in shown.stdout
    found = checked_json("schedule show", moe_eval("schedule", "show", f"@{path}", "--json").stdout)
    (token,) = found["tokens"]
    assert set(token) == documented("a kind of token")
    assert token["k_by_layer"] == {"0": 3, "1": 2, "2": 1, "3": 2}


def test_export_prints_writes_and_names_the_tools(tmp_path: Path) -> None:
    path, output = tuned_file(tmp_path), tmp_path / "new" / "run.py"
    printed = moe_eval("schedule", "export", path, "--for", "all")
    assert printed.returncode == 0, printed.stderr
    for words in ("experts_k(model, ", "vllm serve ", "# Not possible: llama.cpp", "can run it"):
        assert words in printed.stdout
    written = moe_eval(
        "schedule", "export", path, "--for", "transformers", "-o", output, cwd=tmp_path
    )
    assert "Written: new/run.py" in written.stdout
    assert output.read_text("utf-8") in printed.stdout + "\n"
    as_json = moe_eval("schedule", "export", path, "--for", "vllm", "--json")
    found = checked_json("schedule export", as_json.stdout)
    assert set(found["exports"][0]) == documented("an export")
    assert set(found["tools"][0]) == documented("a tool")


def test_what_a_tool_cannot_run_is_exit_code_2(tmp_path: Path) -> None:
    for arguments in (
        ("export", "text:8/image:2", "--for", "vllm", "--model", "demo"),
        ("export", "4", "--for", "all"),
        ("show", tmp_path / "none.yaml"),
        ("show", "99", "--model", "demo"),
        ("show", "9-12:4", "--model", "demo"),
    ):
        ended = moe_eval("schedule", *arguments)
        assert (ended.returncode, ended.stdout) == (2, ""), arguments
        assert ended.stderr.splitlines()[-1].startswith("moe-eval: ")


def test_the_page_shows_what_the_command_prints() -> None:
    ((command, expected),) = SHOWN.findall(PAGE.read_text("utf-8"))
    shown = moe_eval(*shlex.split(command), COLUMNS=80)
    assert shown.stdout == expected


def test_shells_complete_the_verbs_and_the_files() -> None:
    script = moe_eval("completion", "bash").stdout
    assert re.search(r"_schedule_show_pos_0_COMPGEN=\S*compgen_files", script)
    assert "_schedule_export_option_strings=" in script
