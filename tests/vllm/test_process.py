"""What a user sees when it goes wrong: refused, too little memory, an engine that is killed."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import psutil
import pytest

from moe_eval_plugin.engines.vllm.engine import VLLMEngine
from moe_eval_plugin.errors import EngineFailedError
from tests.cli.lmms_eval_runs import assert_refused
from tests.vllm.vllm_runs import EAGER, results_of, run

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from moe_eval_plugin.engines.vllm.engine import Answer, Prompt

pytestmark = pytest.mark.needs_vllm
answer_all = VLLMEngine.run
# Of 48 questions, before the engine is killed.
N_ANSWERED = 20


def test_a_k_written_by_hand_is_refused_before_vllm_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "moe_eval_plugin.engines.vllm.running.start", lambda *_: pytest.fail("start")
    )
    by_hand = 'pretrained=demo,hf_overrides={"num_experts_per_tok": 2}'
    assert_refused(tmp_path, run(tmp_path, by_hand, "--limit", "4"), "Write experts_k=2 instead")


def test_too_little_memory_at_the_start_gives_advice(tmp_path: Path) -> None:
    model_args = f"{EAGER},gpu_memory_utilization=1.0"
    done = run(tmp_path, model_args, "--limit", "4", VLLM_CPU_KVCACHE_SPACE="0")
    assert done.returncode in (2, 3)
    assert "a smaller max_model_len" in done.stderr
    assert not list((tmp_path / "out").rglob("*_results.json"))


def test_a_killed_worker_ends_the_run_and_the_answers_so_far_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine that is killed has a process of its own; its command, and the next, have none."""
    cache = tmp_path / "answers"
    asked = (f"{EAGER},experts_k=2", "--batch_size", "2", "--use_cache", str(cache), "--limit")
    with monkeypatch.context() as patched:
        # With a variable of the environment, vLLM for CPUs starts a worker besides.
        patched.setattr("vllm.envs.VLLM_ENABLE_V1_MULTIPROCESSING", True, raising=False)
        patched.setattr(VLLMEngine, "run", run_until_killed)
        done = run(tmp_path, *asked, "48", LMMS_CACHE_RUN_ID="night")
    assert done.returncode == 3, done.stderr[-3000:]
    assert "EngineFailedError: vLLM died while it was answering" in done.stderr
    assert not list((tmp_path / "out").rglob("*_results.json"))
    (database,) = cache.rglob("rank_0.db")
    with closing(sqlite3.connect(database)) as connection:
        kept = connection.execute("SELECT response FROM responses").fetchall()
    # Two questions are under way at a time.
    assert N_ANSWERED <= len(kept) <= N_ANSWERED + 2
    assert all(json.loads(response) for (response,) in kept)
    again = run(tmp_path, *asked, "24", LMMS_CACHE_RUN_ID="night")
    record = results_of(tmp_path, again)["moe_eval"]["easy_vqa"]
    assert record["experts"]["observed"] == 2
    assert record["n_answers_from_cache"] == len(kept)


def run_until_killed(
    engine: VLLMEngine, prompts: Iterable[Prompt], at_once: int | None
) -> Iterator[tuple[int, Answer]]:
    """Answer prompts, and kill the engine once some of those of the task are answered."""
    try:
        for n, found in enumerate(answer_all(engine, prompts, at_once), 1):
            yield found
            # Prompts of the verification are asked one at a time.
            if n == N_ANSWERED and at_once != 1:
                kill_engine()
    except EngineFailedError:
        engine.close()  # as the end of the command's process would
        raise


def kill_engine() -> None:
    """Kill vLLM's engine with SIGKILL."""
    children = psutil.Process().children(recursive=True)
    (engine,) = [child for child in children if "EngineCore" in "".join(child.cmdline())]
    engine.kill()
