"""A folder of type ``deepseek`` in a real run of lm-eval, at a verified k."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from lm_eval.models.huggingface import HFLM
from transformers import AutoTokenizer

from moe_eval_plugin.model_adapters.lm_eval_hf import MoEHFLM
from moe_eval_plugin.models.demo import MODEL_PATH
from moe_eval_plugin.testing import tiny_moe
from tests.hosts.lm_eval.local_tasks import TASKS, evaluate, responses, write_tasks

if TYPE_CHECKING:
    from pathlib import Path

PUBLISHED_K, K = 6, 3
USED = ("choices", "sums", "texts")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tasks, and a model as published and with k in its configuration."""
    folder = tmp_path_factory.mktemp("deepseek")
    tokenizer = AutoTokenizer.from_pretrained(MODEL_PATH)
    sizes = {"vocab_size": len(tokenizer), "n_routed_experts": 8, "first_k_dense_replace": 1}
    ids = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    for k in (PUBLISHED_K, K):
        model = tiny_moe("deepseek", num_experts_per_tok=k, **sizes, **ids)
        model.save_pretrained(folder / f"k{k}")
        tokenizer.save_pretrained(folder / f"k{k}")
    return write_tasks(folder, {name: TASKS[name] for name in USED})


def test_moe_hf_answers_as_a_model_with_this_k_in_its_configuration(folder: Path) -> None:
    published = str(folder / f"k{PUBLISHED_K}")
    ours = MoEHFLM(published, experts_k=K, dtype="float32", device="cpu")
    found = evaluate(ours, [*USED], folder)
    theirs = evaluate(HFLM(str(folder / f"k{K}"), dtype="float32", device="cpu"), [*USED], folder)
    for task in USED:
        assert responses(found, task) == responses(theirs, task)
        results = found["results"][task]
        assert results["observed_num_experts_per_tok,none"] == K
        assert results["baseline_num_experts_per_tok,none"] == PUBLISHED_K
    ours.set_experts(PUBLISHED_K)
    again = evaluate(ours, ["texts"], folder)
    ours.close()
    assert again["results"]["texts"]["observed_num_experts_per_tok,none"] == PUBLISHED_K
    assert responses(again, "texts") != responses(found, "texts")
