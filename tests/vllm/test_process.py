"""What a user sees when it goes wrong: refused, too little memory, an engine that is killed."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.cli.lmms_eval_runs import assert_refused
from tests.cli.programs import TIME_LIMIT_S, lmms_eval
from tests.vllm.vllm_runs import EAGER, command, results_of, run

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.needs_vllm


def test_a_k_written_by_hand_is_refused_before_vllm_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "moe_eval_plugin.engines.vllm.running.start", lambda *_: pytest.fail("start")
    )
    by_hand = 'pretrained=demo,hf_overrides={"num_experts_per_tok": 2}'
    done = lmms_eval(*command(tmp_path, by_hand, "--limit", "4")[1:], cwd=tmp_path)
    assert_refused(tmp_path, done, "Write experts_k=2 instead")


def test_too_little_memory_at_the_start_gives_advice(tmp_path: Path) -> None:
    model_args = f"{EAGER},gpu_memory_utilization=1.0"
    done = run(tmp_path, model_args, "--limit", "4", VLLM_CPU_KVCACHE_SPACE="0")
    assert done.returncode in (2, 3)
    assert "a smaller max_model_len" in done.stderr
    assert not list((tmp_path / "out").rglob("*_results.json"))


def test_a_killed_worker_ends_the_run_and_the_answers_so_far_are_kept(tmp_path: Path) -> None:
    cache, log = tmp_path / "answers", tmp_path / "log"
    variables = {"VLLM_ENABLE_V1_MULTIPROCESSING": "1", "LMMS_CACHE_RUN_ID": "night"}
    options = (f"{EAGER},experts_k=2", "--batch_size", "2", "--use_cache", str(cache))
    enough = ("--limit", "2000")  # so that many are left when the engine is killed
    with log.open("w", encoding="utf-8") as out:
        process = subprocess.Popen(
            command(tmp_path, *options, *enough),
            env={**os.environ, **variables},
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
