"""Commands that run vLLM: an evaluation, a sweep, and compiled code."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from moe_eval_plugin.results.timing.timed_pass import read_timed_passes
from tests.cli.programs import moe_eval
from tests.vllm.vllm_runs import EAGER, SMALL, answers_of, results_of, run

pytestmark = pytest.mark.needs_vllm
N_QUESTIONS = 100
TRANSFORMERS = "pretrained=demo,dtype=float32"


def test_a_task_gets_its_accuracy_its_speed_and_its_observed_k(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Prompts of these questions have 43 to 47 tokens, so that some do not fit."""
    model_args = EAGER.replace("max_model_len=128", "max_model_len=46")
    done = run(tmp_path, f"{model_args},experts_k=4,unanswerable=count", "--limit", "48")
    results = results_of(tmp_path, done)
    rows = results["results"]["easy_vqa"]
    assert rows["exact_match,none"] > 0.5
    assert rows["observed_num_experts_per_tok,none"] == 4
    assert rows["baseline_num_experts_per_tok,none"] == 8
    assert rows["task_samples_per_s,none"] > 0
    record = results["moe_eval"]["easy_vqa"]
    n_errors = record["provenance"]["n_errors"]
    assert 0 < n_errors < 24
    assert record["provenance"]["n_unanswered"] == n_errors
    assert "maximum" in record["provenance"]["unanswered"][0]["reason"]
    assert answers_of(tmp_path / "out").count("") == n_errors
    assert any(f"{n_errors} of 48 questions could not be asked" in one for one in caplog.messages)
    n_asked = 48 - n_errors
    assert record["speed"]["n_samples"] == n_asked
    # vLLM's caches are on: no time is that of one request.
    assert record["provenance"]["prefix_caching"] is record["speed"]["is_shared"] is True
    assert record["speed"]["ttft_s"] is record["provenance"]["request_times"]["queue_s"] is None
    assert record["hardware"]["peak_memory"]["process_bytes"] > 2**28
    assert record["provenance"]["hardware"]["kind"] == "cpu"
    assert record["provenance"]["hardware"]["n_devices"] == 1
    assert {"source", "reasons"} <= record["provenance"]["energy"].keys()


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a sweep over k = 8 and 1 on both backends.

    With vLLM each point is a process, which runs the command of lmms-eval as a user does.
    vLLM has an engine for each k that answers, and one whose k is changed to time them.
    """
    folder = tmp_path_factory.mktemp("sweep")
    models = ("--model", "moe_hf", "moe_vllm", "--model-args", TRANSFORMERS, EAGER)
    points = (*models, "--experts-k", "1")
    questions = ("--tasks", "easy_vqa", "--limit", str(N_QUESTIONS), "--speed-budget", "1")
    done = moe_eval("sweep", *points, *questions, "--output", folder / "out")
    assert done.returncode == 0, done.stderr[-3000:]
    return folder / "out"


@pytest.mark.parametrize("model", ["moe_hf", "moe_vllm"])
def test_a_sweep_over_both_backends_has_the_k_of_each_point(swept: Path, model: str) -> None:
    manifest = json.loads((swept / model / "manifest.json").read_text(encoding="utf-8"))
    rows = {}
    for name, point in manifest["points"].items():
        content = json.loads((swept / model / point["results"]).read_text(encoding="utf-8"))
        rows[name] = content["results"]["easy_vqa"]
    assert rows["k8"]["observed_num_experts_per_tok,none"] == 8
    assert rows["k1"]["observed_num_experts_per_tok,none"] == 1
    assert rows["k8"]["exact_match,none"] > 0.9 > rows["k1"]["exact_match,none"]


def test_both_k_are_timed_on_one_engine_of_vllm_without_its_caches(swept: Path) -> None:
    (found,) = read_timed_passes(swept / "moe_vllm")
    assert (found.method, found.settings, found.batch_size) == ("interleaved", ("k8", "k1"), 8)
    assert [block.is_warm_up for block in found.blocks[:2]] == [True, False]
    for k in found.settings:
        speed = found.speed(k)
        assert speed is not None
        assert (speed.is_shared, speed.latency_from) == (False, "queue")
        assert speed.ttft_s is not None
        assert speed.ttft_s.n == speed.n_samples >= 16
        peak = found.hardware(k).peak_memory
        assert peak is not None
        assert peak.process_bytes is not None
        assert peak.process_bytes > 2**28


def test_compiled_code_of_another_k_in_the_same_cache_is_not_used(
    swept: Path, tmp_path: Path
) -> None:
    answers, observed = {}, {}
    for k in (8, 1):
        done = run(tmp_path, f"{SMALL},experts_k={k}", "--limit", str(N_QUESTIONS))
        record = results_of(tmp_path, done)["moe_eval"]["easy_vqa"]
        observed[k] = record["experts"]["observed"]
        answers[k] = answers_of(tmp_path / "out")
    assert observed == {8: 8, 1: 1}
    assert answers[1] == answers_of(swept / "moe_vllm" / "k1")
    assert answers[8] == answers_of(swept / "moe_vllm" / "k8")
    assert answers[8] != answers[1]
    cache = Path(os.environ["VLLM_CACHE_ROOT"])
    assert list(cache.rglob("torch_compile_cache/*")), "nothing was compiled"
