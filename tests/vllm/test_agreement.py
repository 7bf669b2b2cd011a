"""The two backends answer alike: hundreds of questions about images, in float32.

At each k, and at a schedule by layer from a file, which vLLM gets by the command that is exported.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import pytest

from moe_eval_plugin.publish.deployment.setting import read_setting
from moe_eval_plugin.publish.deployment.vllm_command import vllm_command
from tests.hosts.lmms_eval.easy_requests import questions
from tests.publish.deployment.tuned_files import BY_LAYER, tuned_file
from tests.vllm.vllm_prompts import GREEDY, conversation, conversations

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from moe_eval_plugin.engines.transformers.engine import HFEngine
    from moe_eval_plugin.engines.vllm.engine import VLLMEngine

    Start = Callable[..., VLLMEngine]

pytestmark = pytest.mark.needs_vllm
N_QUESTIONS = 500
N_FEWER = 200
BATCH_SIZE = 20
LEAST_SHARE = 0.99
EXTENSION = "moe_eval_plugin.engines.vllm.worker_extension.WorkerExtension"
SMALL = {"dtype": "float32", "max_model_len": 128, "max_num_seqs": 8, "enforce_eager": True}


@pytest.fixture(scope="module")
def transformers_engine() -> HFEngine:
    from moe_eval_plugin.engines.transformers.engine import HFEngine
    from moe_eval_plugin.engines.transformers.options import EngineOptions

    return HFEngine(EngineOptions("demo", dtype="float32"))


def test_answers_are_those_of_transformers_at_each_k(
    start_engine: Start, transformers_engine: HFEngine
) -> None:
    engine = start_engine(8)
    answers = {}
    for k in (8, 4, 2, 1):
        engine.set_k(k)
        assert engine.verify(conversations()).observed == k
        ours = by_vllm(engine)
        transformers_engine.set_experts(k)
        theirs = by_transformers(transformers_engine)
        share = sum(a == b for a, b in zip(ours, theirs, strict=True)) / N_QUESTIONS
        assert share >= LEAST_SHARE, f"k={k}: {share:.1%} of the answers are equal"
        answers[k] = ours
    # Were k without effect on both, they would agree as well.
    changed = sum(a != b for a, b in zip(answers[8], answers[1], strict=True)) / N_QUESTIONS
    assert changed > 1 - LEAST_SHARE


def test_an_exported_schedule_has_its_k_in_each_layer_and_the_answers_of_transformers(
    start_engine: Start,
    transformers_engine: HFEngine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tuned_file(tmp_path)
    exported = as_vllm_reads(vllm_command(read_setting(str(path))))

    def arguments(_options: object, _request: object, source: str) -> dict[str, Any]:
        assert exported["model"] == source
        return {**exported, **SMALL, "worker_extension_cls": EXTENSION, "disable_log_stats": False}

    monkeypatch.setattr("moe_eval_plugin.engines.vllm.engine.engine_arguments", arguments)
    engine = start_engine(f"@{path}")
    experts = engine.verify(conversations())
    observed = [
        layer["observed_num_experts_per_tok"]["prefill"]["image"]
        for layer in experts.routing["layers"].values()
    ]
    assert observed == [*BY_LAYER.values()]
    assert (experts.requested, experts.observed) == (None, 2)
    assert engine.request.tuning == read_setting(str(path)).tuning
    transformers_engine.set_experts(f"@{path}")
    ours, theirs = by_vllm(engine, N_FEWER), by_transformers(transformers_engine, N_FEWER)
    equal = sum(a == b for a, b in zip(ours, theirs, strict=True)) / N_FEWER
    assert equal >= LEAST_SHARE, f"{equal:.1%} of the answers are equal"


def as_vllm_reads(command: str) -> dict[str, Any]:
    """Return what vLLM's own parser of ``vllm serve`` makes of a command line."""
    from vllm.engine.arg_utils import EngineArgs
    from vllm.entrypoints.cli.serve import cmd_init
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    parser = FlexibleArgumentParser()
    (verb,) = cmd_init()
    verb.subparser_init(parser.add_subparsers())
    program, *words = shlex.split(command)
    assert program == "vllm"
    read = parser.parse_args(words)
    read.model = read.model_tag  # as the verb does it
    engine = EngineArgs.from_cli_args(read)
    return {"model": engine.model, "hf_overrides": engine.hf_overrides}


def by_vllm(engine: VLLMEngine, n: int = N_QUESTIONS) -> list[str]:
    from moe_eval_plugin.engines.vllm.messages import Prompt

    docs = questions(n)
    prompts = (Prompt(lambda doc=doc: conversation(doc), GREEDY) for doc in docs)
    answers = dict(engine.run(prompts, at_once=None))
    return [answers[place].text for place in range(n)]


def by_transformers(engine: HFEngine, n: int = N_QUESTIONS) -> list[str]:
    docs, texts = questions(n), []
    for begin in range(0, n, BATCH_SIZE):
        encoded = engine.encode([conversation(doc) for doc in docs[begin : begin + BATCH_SIZE]])
        generated = engine.generate(encoded, {"max_new_tokens": 4, "do_sample": False})
        texts += [answer.text for answer in generated]
    return texts
