from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.errors import (
    UserError,
)
from tests.commands.command_lines import bench

if TYPE_CHECKING:
    from pathlib import Path


needs_vllm = pytest.mark.needs_vllm


@needs_vllm
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--images", "1"), "--images is not possible with --backend vllm"),
        (("--experts-implementation", "eager"), "moe_backend=triton"),
        (("--device", "cpu"), "the type of device that it was built for"),
        (("--random-weights", "--routing", "skewed:1"), "--routing is not possible"),
        (("--engine-args", "dtype=float32"), "pass it as --dtype"),
        (("--engine-args", "tensor_paralel_size=2"), "Did you mean tensor_parallel_size?"),
        (("--engine-args", "worker_extension_cls"), "cannot be read. Write KEY=VALUE"),
        (("--engine-args", 'hf_overrides={"num_experts_per_tok": 2}'), "is refused"),
        (("--experts-k", "33"), "Use 1 to 32"),
    ],
)
def test_a_wrong_request_is_refused_before_vllm_starts(
    arguments: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_start(*_: object) -> None:
        pytest.fail("vLLM was started")

    monkeypatch.setattr("moe_eval_plugin.engines.vllm.running.start", no_start)
    with pytest.raises(UserError, match=re.escape(said)):
        bench("--backend", "vllm", *arguments)


@needs_vllm
def test_the_command_with_random_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "bench.json"
    sizes = ("--batch-sizes", "1", "2", "--prompt-tokens", "8", "--new-tokens", "4")
    more = ("--experts-k", "4", "1", "--enforce-eager", "--random-weights", "--output", str(output))
    assert bench("--backend", "vllm", *sizes, *more) == 0
    report = json.loads(output.read_text())
    model = report["model"]
    assert (model["backend"], model["weights"], model["num_experts"]) == ("vllm", "random", 32)
    ran = model["engine"]
    assert (ran["enforce_eager"], ran["prefix_caching"], ran["max_num_seqs"]) == (True, False, 2)
    assert ran["load_format"] == "dummy"
    assert ran["version"]
    assert ran["kernels"]
    points = [
        (p["num_experts_per_tok"], p["observed_num_experts_per_tok"]) for p in report["points"]
    ]
    assert points == [(4, 4), (4, 4), (1, 1), (1, 1)]
    for point in report["points"]:
        assert point["prefill"]["flops"] > 0
        assert point["repetitions"][0]["request_times"]["queue_s"]["median"] >= 0
    printed = capsys.readouterr().out
    assert "demo (qwen3_vl_moe, random weights, bfloat16)" in printed
    assert "Note: Prefix caching is off" in printed
