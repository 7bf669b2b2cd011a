"""``moe-eval bench`` as a user runs it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from moe_eval_plugin.testing import tiny_config
from tests.cli.programs import moe_eval

if TYPE_CHECKING:
    from pathlib import Path

QUICK = ("--device", "cpu", "--prompt-tokens", "6", "--new-tokens", "4")


@pytest.fixture
def shape(tmp_path: Path) -> str:
    tiny_config().save_pretrained(tmp_path)
    return str(tmp_path / "config.json")


def test_the_demo_with_images(tmp_path: Path) -> None:
    output = tmp_path / "bench.json"
    options = ("--experts-k", "8", "1", "--batch-sizes", "1", "2", "--output", str(output))
    images = ("--images", "1", "--image-size", "32x32")
    run = moe_eval("bench", "demo", *QUICK, *options, *images)
    assert run.returncode == 0, run.stderr
    assert "demo (qwen3_vl_moe, trained, bfloat16)" in run.stdout
    stored = json.loads(output.read_text())
    points = stored["points"]
    assert [(p["num_experts_per_tok"], p["batch_size"]) for p in points] == [
        (k, batch) for k in (8, 1) for batch in (1, 2)
    ]
    assert [p["observed_num_experts_per_tok"] for p in points] == [8, 8, 1, 1]
    for point in points:
        assert point["repetitions"][0]["phases"]["vision_s"] > 0
        assert point["repetitions"][0]["n_input_tokens"] > 6 * point["batch_size"]
        assert point["decode"]["gain_efficiency"] > 0


def test_a_model_of_random_weights_from_a_file_with_changes(shape: str) -> None:
    options = ("--random-weights", "--config", "num_hidden_layers=2", "num_experts=16")
    routing = ("--routing", "skewed:1", "--dtype", "bfloat16", "--batch-sizes", "2")
    run = moe_eval("bench", shape, *QUICK, *options, *routing, "--json")
    assert run.returncode == 0, run.stderr
    report = json.loads(run.stdout)
    model = report["model"]
    assert (model["num_experts"], model["num_hidden_layers"]) == (16, 2)
    assert (model["routing"], model["dtype"], model["seed"]) == ("skewed:1", "bfloat16", 0)
    assert model["config_changes"] == {"num_hidden_layers": 2, "num_experts": 16}
    # The published k and its halves.
    assert report["plan"]["experts_k"] == [4, 2, 1]
    assert len(report["points"][0]["distinct_experts_per_decode_step_by_layer"]) == 2


def test_a_calibrated_device_gives_utilisation(shape: str) -> None:
    options = ("--random-weights", "--batch-sizes", "1", "--experts-k", "4", "--calibrate")
    run = moe_eval("bench", shape, *QUICK, *options, "--json")
    assert run.returncode == 0, run.stderr
    report = json.loads(run.stdout)
    assert report["device"]["source"] == "calibrated"
    assert report["points"][0]["decode"]["s_mbu"] > 0
    assert report["points"][0]["prefill"]["s_mfu"] > 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("demo", "--routing", "skewed:1"), "Add --random-weights"),
        (("demo", "--experts-k", "33"), "Use 1 to 32"),
        (("demo", "--repeats", "1"), "repeats=1 is not possible"),
        (("demo", "--prompt-tokens", "500"), "takes 512"),
        (("demo", "--output", "no/such/folder/a.json"), "its folder does not exist"),
        (("demo", "--dtype", "int8"), "dtype=int8 is not known"),
        (("demo", "--image-size", "large"), "large is not a size in pixels"),
        (("qwen3_moe", "--random-weights", "--config", "hidden=3"), "not a setting of qwen3_moe"),
        (("qwen3_moe", "--random-weights", "--routing", "even"), "routing=even is not known"),
    ],
)
def test_a_wrong_request_is_refused_with_what_to_do(arguments: tuple[str, ...], said: str) -> None:
    run = moe_eval("bench", *arguments, "--device", "cpu")
    assert run.returncode == 2
    assert said in run.stderr
    assert "Traceback" not in run.stderr
    assert run.stdout == ""
