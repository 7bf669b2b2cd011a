from __future__ import annotations

import json
import sys

from tests.cli.programs import moe_eval, start


def test_families_prints_a_table() -> None:
    run = moe_eval("families", "--wide")
    assert run.returncode == 0, run.stderr
    rows = {line.split()[0]: line for line in run.stdout.splitlines() if line}
    assert "text_config.num_experts_per_tok" in rows["qwen3_vl_moe"]
    assert rows["phimoe"].endswith("no: its router takes two arg-max rounds and ignores k")


def test_families_prints_json_and_nothing_else() -> None:
    families = json.loads(moe_eval("families", "--json").stdout)
    proofs = {family["model_type"]: family["proof"] for family in families}
    assert (proofs["qwen3_vl_moe"], proofs["mixtral"]) == ("image", "text")


def test_one_family_is_shown_in_full() -> None:
    run = moe_eval("families", "llama4")
    assert "warning                another k changes the output and not the cost" in run.stdout
    assert json.loads(moe_eval("families", "llama4", "--json").stdout)["kind"] == "vision-language"


def test_an_unknown_family_is_one_line_with_close_names() -> None:
    run = moe_eval("families", "qwen3_vl")
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.startswith(
        "moe-eval: No family is called qwen3_vl. Did you mean qwen3_vl_moe?"
    )


def test_families_imports_nothing_heavy() -> None:
    program = (
        "import sys; from moe_eval_plugin.cli import main; main(['families']); "
        "print([m for m in ('torch', 'transformers', 'lmms_eval') if m in sys.modules])"
    )
    assert start(sys.executable, "-c", program).stdout.splitlines()[-1] == "[]"
