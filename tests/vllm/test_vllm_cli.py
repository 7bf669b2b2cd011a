"""The real ``lmms-eval`` command with ``moe_vllm``, started as a user starts it."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

pytestmark = pytest.mark.needs_vllm
LMMS_EVAL = Path(sys.executable).with_name("lmms-eval")
MOE_EVAL = Path(sys.executable).with_name("moe-eval")
TIME_LIMIT_S = 900
N_QUESTIONS = 100
SMALL = "pretrained=demo,dtype=float32,max_model_len=128,max_num_seqs=8"
EAGER = f"{SMALL},enforce_eager=True"


def command(tmp_path: Path, model_args: str, *more: str) -> list[str]:
    return [
        str(LMMS_EVAL),
        *("--model", "moe_vllm", "--model_args", model_args, "--tasks", "easy_vqa"),
        *("--batch_size", "auto", "--output_path", str(tmp_path / "out"), "--log_samples", *more),
    ]


def surroundings(tmp_path: Path, **variables: str) -> dict[str, str]:
    own = {"HF_DATASETS_CACHE": str(tmp_path / "data"), "VLLM_CACHE_ROOT": str(tmp_path / "vllm")}
    return {**os.environ, **own, **variables}


def run(
    tmp_path: Path, model_args: str, *more: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(tmp_path, model_args, *more),
        env=surroundings(tmp_path, **variables),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT_S,
        check=False,
    )


def results_of(tmp_path: Path, done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr[-3000:]
    newest = max((tmp_path / "out").rglob("*_results.json"), key=lambda path: path.stat().st_mtime)
    content: dict[str, Any] = json.loads(newest.read_text(encoding="utf-8"))
    return content


def answers_of(folder: Path) -> list[str]:
    """Read the answers of the newest run in a folder, in the order of the questions."""
    newest = max(folder.rglob("*_samples_*"), key=lambda path: path.stat().st_mtime)
    rows = [json.loads(line) for line in newest.read_text(encoding="utf-8").splitlines()]
    return [row["filtered_resps"] for row in sorted(rows, key=lambda row: row["doc_id"])]


def assert_refused(
    tmp_path: Path, done: subprocess.CompletedProcess[str], message: str, code: int = 2
) -> None:
    assert done.returncode == code, (done.returncode, done.stderr[-3000:])
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "out").rglob("*_results.json"))


def test_a_task_gets_its_accuracy_its_speed_and_its_observed_k(tmp_path: Path) -> None:
    """Prompts of these questions have 43 to 47 tokens, so that some do not fit."""
    model_args = EAGER.replace("max_model_len=128", "max_model_len=46")
    done = run(tmp_path, f"{model_args},experts_k=4", "--limit", "48")
    results = results_of(tmp_path, done)
    rows = results["results"]["easy_vqa"]
    assert rows["exact_match,none"] > 0.5
    assert rows["observed_num_experts_per_tok,none"] == 4
    assert rows["baseline_num_experts_per_tok,none"] == 8
    assert rows["samples_per_s,none"] > 0
    record = results["moe_eval"]["easy_vqa"]
    n_errors = record["provenance"]["n_errors"]
    assert 0 < n_errors < 24
    assert answers_of(tmp_path / "out").count("") == n_errors
    assert f"{n_errors} of 48 questions could not be asked" in done.stdout + done.stderr
    n_asked = 48 - n_errors
    assert record["speed"]["n_samples"] == n_asked
    assert record["speed"]["ttft_s"]["n"] == n_asked
    assert record["provenance"]["request_times"]["queue_s"]["n"] == n_asked
    assert record["provenance"]["prefix_caching"] is False
    assert record["hardware"]["peak_memory"]["process_bytes"] > 2**28
    assert record["provenance"]["hardware"]["kind"] == "cpu"
    assert record["provenance"]["hardware"]["n_devices"] == 1
    assert {"source", "reasons"} <= record["provenance"]["energy"].keys()


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a sweep over k = 8 and 1, by one eager engine for each."""
    folder = tmp_path_factory.mktemp("sweep")
    points = ("--model", "moe_vllm", "--model-args", EAGER, "--experts-k", "1")
    questions = ("--tasks", "easy_vqa", "--limit", str(N_QUESTIONS), "--batch-size", "auto")
    done = subprocess.run(
        [str(MOE_EVAL), "sweep", *points, *questions, "--output", str(folder / "out")],
        env=surroundings(folder),
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder / "out"


def test_a_sweep_starts_an_engine_for_each_k(swept: Path) -> None:
    manifest = json.loads((swept / "manifest.json").read_text(encoding="utf-8"))
    rows = {}
    for name, point in manifest["points"].items():
        content = json.loads((swept / point["results"]).read_text(encoding="utf-8"))
        rows[name] = content["results"]["easy_vqa"]
    assert rows["k8"]["observed_num_experts_per_tok,none"] == 8
    assert rows["k1"]["observed_num_experts_per_tok,none"] == 1
    assert rows["k8"]["exact_match,none"] > 0.9 > rows["k1"]["exact_match,none"]


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
    assert answers[1] == answers_of(swept / "k1")
    assert answers[8] == answers_of(swept / "k8")
    assert answers[8] != answers[1]
    assert list((tmp_path / "vllm").rglob("torch_compile_cache/*")), "nothing was compiled"


def test_a_k_written_by_hand_is_refused_before_vllm_starts(tmp_path: Path) -> None:
    done = run(tmp_path, 'pretrained=demo,hf_overrides={"num_experts_per_tok": 2}', "--limit", "4")
    assert_refused(tmp_path, done, "Write experts_k=2 instead")
    assert "Initializing a V1 LLM engine" not in done.stdout + done.stderr


def test_too_little_memory_at_the_start_gives_advice(tmp_path: Path) -> None:
    model_args = f"{EAGER},gpu_memory_utilization=1.0"
    done = run(tmp_path, model_args, "--limit", "4", VLLM_CPU_KVCACHE_SPACE="0")
    assert done.returncode in (2, 3)
    assert "a smaller max_model_len" in done.stderr
    assert not list((tmp_path / "out").rglob("*_results.json"))


def test_a_killed_worker_ends_the_run_and_the_answers_so_far_are_kept(tmp_path: Path) -> None:
    cache, log = tmp_path / "answers", tmp_path / "log"
    variables = {"VLLM_ENABLE_V1_MULTIPROCESSING": "1", "LMMS_CACHE_RUN_ID": "night"}
    options = (f"{EAGER},experts_k=2,batch_size=2", "--use_cache", str(cache))
    with log.open("w", encoding="utf-8") as out:
        process = subprocess.Popen(
            command(tmp_path, *options),
            env=surroundings(tmp_path, **variables),
            cwd=tmp_path,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        _kill_engine_while_it_answers(process, log)
        assert process.wait(TIME_LIMIT_S) == 3
    text = log.read_text(encoding="utf-8")
    assert "EngineFailedError: vLLM died while it was answering" in text
    assert not list((tmp_path / "out").rglob("*_results.json"))
    (database,) = cache.rglob("rank_0.db")
    with sqlite3.connect(database) as connection:
        kept = connection.execute("SELECT response FROM responses").fetchall()
    assert len(kept) > 10
    assert all(json.loads(response) for (response,) in kept)
    again = run(tmp_path, options[0], *options[1:], "--limit", "24", **variables)
    results_of(tmp_path, again)
    assert "cache hits" in again.stdout + again.stderr


def _kill_engine_while_it_answers(process: subprocess.Popen[bytes], log: Path) -> None:
    """Kill vLLM's engine with SIGKILL once some questions are answered."""
    give_up = time.monotonic() + TIME_LIMIT_S
    while "moe_vllm:   2%" not in log.read_text(encoding="utf-8", errors="replace"):
        assert process.poll() is None, log.read_text(encoding="utf-8")[-3000:]
        assert time.monotonic() < give_up
        time.sleep(0.05)
    children = psutil.Process(process.pid).children(recursive=True)
    engines = [child for child in children if "EngineCore" in "".join(child.cmdline())]
    os.kill(engines[0].pid, signal.SIGKILL)
